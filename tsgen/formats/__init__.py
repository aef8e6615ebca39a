"""From files as a user holds them to ``Records``: ``read`` one record, ``read_folder`` all below a folder.

One small module a format decodes bytes into a ``recording.Recording``; ``discovery`` tells which files belong
together; ``reading`` checks, resamples, cuts and marks what it got, and writes the report.

======================  ==========================================================================================
AFAD .mat               EQ.anEQ, MATLAB 5 (v6, v7)
AFAD and ESM .asc       DYNA header, one component a file
AFAD .txt               the old text file of three columns N-S, E-W, U-D
K-NET, KiK-net          .EW .NS .UD and the surface sensor's .EW2 .NS2 .UD2
MiniSEED                with StationXML (.xml) beside it, or with ``unit`` stated by the caller
PEER                    .AT2 (g) and .VT2 (velocity, differentiated)
OpenEEW .jsonl          one device a file
SeisBench layout        a folder with metadata.csv and waveforms.hdf5
======================  ==========================================================================================
"""

from tsgen.formats.reading import read, read_folder
from tsgen.formats.recording import UnreadableRecord

__all__ = ["UnreadableRecord", "read", "read_folder"]
