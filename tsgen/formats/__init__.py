"""From files as a user holds them to ``Records``: ``read`` one record, ``read_folder`` all below a folder.

One small module a format decodes bytes into a ``recording.Recording``; ``discovery`` tells which files belong
together; ``reading`` checks, resamples, cuts and marks what it got, and writes the report.
Read are AFAD .mat (EQ.anEQ, MATLAB 5) and its old .txt (columns N-S, E-W, U-D), AFAD and ESM .asc (DYNA header),
K-NET and KiK-net (the surface sensor), MiniSEED (StationXML beside it, or ``unit`` stated by the caller), PEER .AT2
(g) and .VT2 (velocity, differentiated), OpenEEW .jsonl (one device a file) and folders in the SeisBench layout."""

from tsgen.formats.reading import read, read_folder
from tsgen.formats.recording import UnreadableRecord

__all__ = ["UnreadableRecord", "read", "read_folder"]
