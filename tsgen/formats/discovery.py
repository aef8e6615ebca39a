"""Which reader a file needs, which files make one record, which files are no records, and where their bytes lie."""

import zipfile
import zlib
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tsgen.formats import afad, openeew, peer, seisbench, via_obspy
from tsgen.formats.recording import LARGEST_TEXT_IN_BYTES, Damaged

LARGEST_FILE_IN_BYTES = 512 * 2**20  # an hour of three components at 500 Hz as text is a tenth of it
LARGEST_EXPANSION = 200  # accelerograms compress 3 to 20 times; a thousandfold is a bomb


class Format(NamedTuple):
    """A reader: name for messages, endings, decode(source, names, unit) -> [Recording or Damaged]."""

    name: str
    ends: str
    decode: callable
    key: callable = lambda name: name  # what the names of one record's component files share


class Job(NamedTuple):
    """Files, as the report names them, that make one record (MiniSEED: several), or one trace of a collection."""

    files: list
    decode: callable  # decode(unit) -> what Format.decode gives, or [(waveform, native rate, row)]


_NIED = "K-NET and KiK-net ASCII (.EW .NS .UD, .EW2 .NS2 .UD2)"
_MINISEED = "MiniSEED with StationXML (.mseed, .xml)"
FORMATS = (
    Format("AFAD .mat", ".mat", afad.decode_mat),
    Format("AFAD and ESM .asc (DYNA)", ".asc", afad.decode_dyna, afad.dyna_key),
    Format("AFAD .txt", ".txt", afad.decode_text),
    Format(_NIED, ".ew .ns .ud .ew2 .ns2 .ud2", via_obspy.decode_nied, via_obspy.nied_key),
    Format(_MINISEED, ".mseed .miniseed .msd .ms", via_obspy.decode_miniseed, via_obspy.miniseed_key),
    Format("PEER .AT2 and .VT2", ".at2 .vt2", peer.decode, peer.key),
    Format("OpenEEW .jsonl", ".jsonl", openeew.decode),
)
BY_SUFFIX = {end: form for form in FORMATS for end in form.ends.split()}
SUPPORTED = f"supported are {', '.join(form.name for form in FORMATS)}, and folders in the SeisBench layout"

BOREHOLE = (".ew1", ".ns1", ".ud1")
DOCUMENTS = (".md", ".csv", ".tsv", ".pdf", ".html", ".png", ".jpg", ".jpeg", ".json", ".yaml", ".yml", ".log", ".py")
TERMS = ("license.txt", "licence.txt", "readme.txt")  # .txt is AFAD's ending too
REMEDIES = {  # what brings other formats here
    "convert it to MiniSEED with ObsPy, which reads it": (".sac", ".evt", ".gcf", ".gse", ".sgy", ".segy"),
    "convert it to MiniSEED with gmprocess of the USGS, which reads it": (".v1", ".v2", ".v3", ".v1a", ".v2a", ".smc"),
    "unpack it first": (".zip", ".gz", ".tar", ".rar", ".7z"),
}


class Folder:
    """Files below a folder, in a fixed order; names are relative, with /."""

    def __init__(self, path):
        self.path = Path(path)

    def names(self):
        return self._named(path for path in self.path.rglob("*") if path.is_file())

    def links(self):
        """Links below the folder that lead to no file: a linked folder could lead anywhere, and round in a circle."""
        return self._named(path for path in self.path.rglob("*") if path.is_symlink() and not path.is_file())

    def beside(self, name):
        return self._named(path for path in (self.path / name).parent.iterdir() if path.is_file())

    def _named(self, paths):
        return sorted(path.relative_to(self.path).as_posix() for path in paths)

    def read(self, name, limit=LARGEST_FILE_IN_BYTES):
        """The bytes of a file; raises Damaged where there are more than ``limit``."""
        if len(content := self._start(name, limit + 1)) > limit:
            raise Damaged(f"it is larger than {limit / 2**20:.0f} MB", "split it, or convert it to MiniSEED")
        return content

    def _start(self, name, size):
        with open(self.path / name, "rb") as file:
            return file.read(size)

    def text(self, name):
        """Text of a file; AFAD writes Turkish, others Latin-1, and no letter beyond ASCII matters here."""
        return self.read(name, LARGEST_TEXT_IN_BYTES).removeprefix(b"\xef\xbb\xbf").decode("latin-1")


class Archive(Folder):
    """Members of a zip archive in place of files; nothing is written to disk."""

    def __init__(self, path):
        self.path = Path(path)
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
            raise Damaged(f"the archive cannot be opened ({error})") from None
        self._members = {member.filename: member for member in members if not member.is_dir()}

    def names(self):
        return sorted(self._members)

    def beside(self, name):
        return [other for other in self.names() if PurePosixPath(other).parent == PurePosixPath(name).parent]

    def _start(self, name, size):
        path, member = PurePosixPath(name.replace("\\", "/")), self._members[name]
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise Damaged("the archive names a path outside its folder", "do not trust this archive")
        if (expansion := member.file_size / max(member.compress_size, 1)) > LARGEST_EXPANSION:
            raise Damaged(f"the member expands {expansion:.0f} times", "unpack the archive yourself if you trust it")
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(member) as file:
                return file.read(size)
        # RuntimeError is zipfile's word for a password, NotImplementedError for an unknown compression
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            raise Damaged(f"the archive's member cannot be unpacked ({error})", "download the archive again") from None


def suffix(name):
    return PurePosixPath(name).suffix.lower()


def _is_noise(name):
    """Files that systems leave behind, not a user: .DS_Store, __MACOSX/._x, Thumbs.db."""
    parts = [part.lower() for part in PurePosixPath(name).parts if part != ".."]
    return any(part.startswith((".", "__macosx", "thumbs.db")) for part in parts)


def _no_record(name):
    """Damaged that says why a file of this name is not read, and names its format."""
    end = suffix(name)
    if end in BOREHOLE:
        return Damaged("it is KiK-net's borehole sensor", "give the surface sensor's files, .EW2 .NS2 .UD2")
    if end == ".xml":
        return Damaged("it is no record (StationXML serves MiniSEED)", "give the MiniSEED file beside it")
    remedy = next((how for how, ends in REMEDIES.items() if end in ends), "download or save it in a supported format")
    return Damaged(f"unsupported format {end or 'without an ending'}", f"{remedy}; {SUPPORTED}")


def job_of(path):
    """Job of one file, the file itself and the other components beside it; raises Damaged for what is not read."""
    if not (form := BY_SUFFIX.get(suffix(path.name))):
        raise _no_record(path.name)
    source, key = Folder(path.parent), form.key(path.name)
    names = [name for name in source.beside(path.name) if BY_SUFFIX.get(suffix(name)) is form and form.key(name) == key]
    return Job(names, partial(form.decode, source, names))


def jobs_below(path):
    """(jobs, lines of the report for everything that is no job) of a folder, a collection or a zip archive."""
    jobs, lines, folder = [], [], Folder(path)
    if path.is_file():
        places = [(_in_archive, path, path.name)]
    elif seisbench.is_collection(path):
        places = [(_in_collection, path, "")]
    else:
        names = folder.names()
        homes = [name.removesuffix(seisbench.FILES[0]) for name in names if name.endswith("/" + seisbench.FILES[0])]
        homes = [home for home in homes if seisbench.is_collection(path / home)]
        loose = [name for name in names if not name.startswith(tuple(homes))]
        archives = [name for name in loose if suffix(name) == ".zip" and not _is_noise(name)]
        places = [(_in_collection, path / home, home) for home in homes]
        places += [(_in_archive, path / name, name) for name in archives]
        places += [(partial(_sorted_out, [name for name in loose if name not in archives]), folder, "")]
        linked = "a link to a folder, or to nothing, which is not followed; give the folder that it leads to"
        lines = [(name, "left out", linked) for name in folder.links()]
    for look, place, name in places:
        try:
            found, told = look(place, name)
        except (ValueError, OSError, KeyError) as error:
            why = str(error) if isinstance(error, Damaged) else f"{error}; correct the files"
            found, told = [], [(name or seisbench.FILES[0], "refused", why)]
        jobs, lines = jobs + found, lines + told
    return jobs, lines


def _in_archive(path, name):
    archive = Archive(path)
    return _sorted_out(archive.names(), archive, name + "!")


def _in_collection(folder, prefix):
    names = seisbench.opened(folder)[0].table["trace_name"]
    files = [f"{prefix}{seisbench.FILES[1]}/{name}" for name in names]
    jobs = [Job([file], partial(seisbench.decode_row, folder, row, file)) for row, file in enumerate(files)]
    return jobs, [(prefix + name, "companion", "the collection's own file") for name in seisbench.FILES]


def _sorted_out(names, source, prefix):
    """(jobs, lines) of the files of one source, which lies at ``prefix`` below what the user gave."""
    families, lines = {}, []
    beside = {PurePosixPath(name).parent for name in names if BY_SUFFIX.get(suffix(name)) is BY_SUFFIX[".mseed"]}
    for name in names:
        end = suffix(name)
        if _is_noise(name) or end in DOCUMENTS or PurePosixPath(name).name.lower() in TERMS:
            told = ("left out", "not a record")
        elif end in BY_SUFFIX:
            families.setdefault((BY_SUFFIX[end], BY_SUFFIX[end].key(name)), []).append(name)
            continue
        elif end == ".xml" and PurePosixPath(name).parent in beside:
            told = ("companion", "read with the MiniSEED beside it")
        else:
            told = ("left out" if end in (*BOREHOLE, ".xml") else "refused", str(_no_record(name)))
        lines.append((prefix + name, *told))
    jobs = [
        Job([prefix + name for name in some], partial(form.decode, source, some))
        for (form, _), some in families.items()
    ]
    return jobs, lines
