"""Where bytes come from: a folder, or a zip archive read in place, both with a bound on what one file may hold."""

import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tsgen.formats.recording import Damaged

LARGEST_FILE_IN_BYTES = 512 * 2**20  # an hour of three components at 500 Hz as text is a tenth of it
LARGEST_TEXT_IN_BYTES = 64 * 2**20  # text takes some ten times its size while it is parsed
LARGEST_EXPANSION = 200  # accelerograms compress 3 to 20 times; a thousandfold is a bomb
MOST_MEMBERS = 200_000


class Folder:
    """Files below a folder; names are relative, with /."""

    def __init__(self, path):
        self.path = Path(path)

    def names(self):
        """Every file below the folder, in a fixed order."""
        found = (file.relative_to(self.path) for file in self.path.rglob("*"))
        return sorted(name.as_posix() for name in found if (self.path / name).is_file())

    def beside(self, name):
        """Names in the same folder as ``name``."""
        parent = (self.path / name).parent
        return sorted(file.relative_to(self.path).as_posix() for file in parent.iterdir() if file.is_file())

    def read(self, name, limit=LARGEST_FILE_IN_BYTES):
        with open(self.path / name, "rb") as file:
            return _bounded(file, limit)


class Archive:
    """Members of a zip archive; nothing is written to disk."""

    def __init__(self, path):
        self.path = Path(path)
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise Damaged(f"the archive cannot be opened ({error})") from None
        if len(members) > MOST_MEMBERS:
            raise Damaged(f"the archive declares {len(members)} members", "unpack it yourself and give the folder")
        self._members = {member.filename: member for member in members if not member.is_dir()}

    def names(self):
        return sorted(self._members)

    def beside(self, name):
        parent = PurePosixPath(name).parent
        return sorted(other for other in self._members if PurePosixPath(other).parent == parent)

    def read(self, name, limit=LARGEST_FILE_IN_BYTES):
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise Damaged("the archive names a path outside its folder", "do not trust this archive")
        member = self._members[name]
        if member.file_size > LARGEST_EXPANSION * max(member.compress_size, 1):
            raise Damaged(
                f"the member expands {member.file_size / max(member.compress_size, 1):.0f} times",
                "unpack the archive yourself if you trust it",
            )
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(member) as file:
                return _bounded(file, min(limit, member.file_size + 1))
        # RuntimeError is zipfile's word for a password, NotImplementedError for an unknown compression
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            if isinstance(error, Damaged):
                raise
            raise Damaged(f"the archive's member cannot be unpacked ({error})", "download the archive again") from None


def _bounded(file, limit):
    content = file.read(limit + 1)
    if len(content) > limit:
        raise Damaged(f"it is larger than {limit / 2**20:.0f} MB", "split it, or convert it to MiniSEED")
    return content


def text_of(content):
    """Text of header and samples; AFAD writes Turkish, others Latin-1, and no letter beyond ASCII matters here."""
    return content.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
