"""From files as a user holds them to ``Records``: ``read`` one record, ``read_folder`` all below a folder. One small
module a format decodes bytes into a ``recording.Recording``; ``discovery`` tells which formats there are and which
files belong together; ``reading`` checks, resamples, cuts and marks what it got, and writes the report."""

from tsgen.formats.reading import read, read_folder
from tsgen.formats.recording import UnreadableRecord

__all__ = ["UnreadableRecord", "read", "read_folder"]
