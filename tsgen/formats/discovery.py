"""Which reader a file needs, which files make one record, and which files are no records."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tsgen.formats import afad, dyna, miniseed, nied, openeew, peer, seisbench
from tsgen.formats.recording import Damaged
from tsgen.formats.source import Archive, Folder


@dataclass(frozen=True)
class Format:
    """A reader: its name for messages, decode(source, names, unit) and family(name) -> (key, component) or None."""

    name: str
    decode: callable
    family: callable = None

    def key(self, name):
        """What the component files of one record share; the name itself where files stand alone."""
        found = self.family and self.family(name)
        return found[0] if found else name


AFAD_MAT = Format("AFAD .mat", afad.decode_mat)
AFAD_TEXT = Format("AFAD .txt", afad.decode_text)
DYNA = Format("AFAD and ESM .asc (DYNA)", dyna.decode, dyna.family)
NIED = Format("K-NET and KiK-net ASCII (.EW .NS .UD, .EW2 .NS2 .UD2)", nied.decode, nied.family)
MINISEED = Format("MiniSEED with StationXML (.mseed, .xml)", miniseed.decode, miniseed.family)
PEER = Format("PEER .AT2 and .VT2", peer.decode, peer.family)
OPENEEW = Format("OpenEEW .jsonl", openeew.decode)
FORMATS = (AFAD_MAT, DYNA, AFAD_TEXT, NIED, MINISEED, PEER, OPENEEW)
SUPPORTED = f"supported are {', '.join(form.name for form in FORMATS)}, and folders in the SeisBench layout"

BY_SUFFIX = {".mat": AFAD_MAT, ".txt": AFAD_TEXT, ".asc": DYNA, ".at2": PEER, ".vt2": PEER, ".jsonl": OPENEEW}
BY_SUFFIX |= dict.fromkeys((".ew", ".ns", ".ud", ".ew2", ".ns2", ".ud2"), NIED)
BY_SUFFIX |= dict.fromkeys((".mseed", ".miniseed", ".msd", ".ms"), MINISEED)
BOREHOLE = (".ew1", ".ns1", ".ud1")
DOCUMENTS = (".md", ".csv", ".tsv", ".pdf", ".html", ".png", ".jpg", ".jpeg", ".json", ".yaml", ".yml", ".log", ".py")
# formats that a user may hold, by the name they know
KNOWN_BUT_UNSUPPORTED = {
    ".v1": "CSMIP/COSMOS volume 1",
    ".v1a": "GeoNet volume 1",
    ".v2": "CSMIP/COSMOS volume 2",
    ".v2a": "GeoNet volume 2",
    ".v3": "CSMIP/COSMOS volume 3",
    ".smc": "USGS SMC",
    ".sac": "SAC",
    ".evt": "Kinemetrics EVT",
    ".gcf": "Guralp GCF",
    ".sgy": "SEG-Y",
    ".segy": "SEG-Y",
    ".gse": "GSE",
    ".npz": "NumPy",
    ".npy": "NumPy",
    ".pkl": "pickle",
    ".hdf5": "HDF5 without metadata.csv",
    ".h5": "HDF5",
    ".gz": "gzip",
    ".tar": "tar",
    ".rar": "RAR",
    ".7z": "7-Zip",
}
PACKED = (".gz", ".tar", ".rar", ".7z")


@dataclass(frozen=True)
class FileJob:
    """Files of one source that make one record (MiniSEED: possibly several)."""

    source: Folder | Archive
    prefix: str  # where the source lies below what the user gave, as the report shows it
    format: Format
    names: tuple

    @property
    def files(self):
        return [self.prefix + name for name in self.names]

    def decode(self, unit):
        """[(waveform, native rate, row) or Damaged] of the records."""
        found = []
        for recording in self.format.decode(self.source, self.names, unit):
            try:
                settled = recording if isinstance(recording, Damaged) else recording.settled(self.files[0])
            except Damaged as error:
                settled = error
            found.append(settled)
        return found


@dataclass(frozen=True)
class TraceJob:
    """One trace of a collection in the SeisBench layout."""

    folder: Path
    prefix: str
    row: int
    trace_name: str

    @property
    def files(self):
        return [f"{self.prefix}{seisbench.FILES[1]}/{self.trace_name}"]

    def decode(self, unit):
        waveform, rate, row = seisbench.decode_row(self.folder, self.row, unit)
        return [(waveform, rate, row | {"file": self.files[0]})]


def suffix(name):
    return PurePosixPath(name).suffix.lower()


def is_noise(name):
    """Files that systems leave behind, not a user: .DS_Store, __MACOSX/._x, Thumbs.db."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") and part != ".." for part in parts)
    return hidden or "__MACOSX" in parts or parts[-1].lower() == "thumbs.db"


def format_of(name):
    """The Format of a file; raises Damaged, naming the format, for one that is not read."""
    form = BY_SUFFIX.get(suffix(name))
    if form is None:
        end = suffix(name)
        if end in BOREHOLE:
            raise Damaged("it is KiK-net's borehole sensor", "give the surface sensor's files, .EW2 .NS2 .UD2")
        if end == ".xml":
            raise Damaged("it is no record (StationXML serves MiniSEED)", "give the MiniSEED file beside it")
        told = f"{end} ({KNOWN_BUT_UNSUPPORTED[end]})" if end in KNOWN_BUT_UNSUPPORTED else end or "without an ending"
        convert = "unpack it first" if end in PACKED else "convert it, for example with ObsPy to MiniSEED"
        raise Damaged(f"unsupported format {told}", f"{convert}; {SUPPORTED}")
    return form


def job_of(path):
    """FileJob of one file: the file itself and the other components beside it."""
    source, name = Folder(path.parent), path.name
    form = format_of(name)
    key = form.key(name)
    names = [other for other in source.beside(name) if BY_SUFFIX.get(suffix(other)) is form and form.key(other) == key]
    return FileJob(source, "", form, tuple(names))


def jobs_below(path):
    """(jobs, lines of the report for everything that is no job) of a folder, a collection or a zip archive."""
    if path.is_file():
        return _attempt(_in_archive, path, path.name)
    if seisbench.is_collection(path):
        return _attempt(_in_collection, path, "")
    names = Folder(path).names()
    homes = {PurePosixPath(name).parent.as_posix() for name in names if PurePosixPath(name).name in seisbench.FILES}
    collections = sorted(home for home in homes if seisbench.is_collection(path / home))
    jobs, lines, loose = [], [], []
    for home in collections:
        _extend(jobs, lines, _attempt(_in_collection, path / home, home + "/"))
    for name in names:
        if any(name.startswith(home + "/") for home in collections):
            continue
        if suffix(name) == ".zip" and not is_noise(name):
            _extend(jobs, lines, _attempt(_in_archive, path / name, name))
        else:
            loose.append(name)
    _extend(jobs, lines, _sorted_out(Folder(path), "", loose))
    return jobs, lines


def _extend(jobs, lines, found):
    jobs += found[0]
    lines += found[1]


def _attempt(look, path, name):
    """What ``look`` finds, or one line of the report saying why an archive or a collection cannot be opened."""
    try:
        return look(path, name)
    except (Damaged, ValueError, OSError, KeyError) as error:
        remedy = getattr(error, "remedy", "correct the files")
        return [], [(name or seisbench.FILES[0], "refused", f"{error}; {remedy}")]


def _in_archive(path, name):
    archive = Archive(path)
    return _sorted_out(archive, name + "!", archive.names())


def _in_collection(folder, prefix):
    table, _, _ = seisbench.opened(folder)
    jobs = [TraceJob(folder, prefix, row, name) for row, name in enumerate(table["trace_name"])]
    return jobs, [(prefix + name, "companion", "the collection's own file") for name in seisbench.FILES]


def _sorted_out(source, prefix, names):
    """(jobs, lines) of the files of one source."""
    families, lines = {}, []
    for name in names:
        if is_noise(name) or suffix(name) in DOCUMENTS:
            lines.append((prefix + name, "left out", "not a record"))
        elif suffix(name) in BOREHOLE:
            lines.append((prefix + name, "left out", "KiK-net's borehole sensor; the surface sensor is read"))
        elif suffix(name) != ".xml":
            try:
                form = format_of(name)
                families.setdefault((form, form.key(name)), []).append(name)
            except Damaged as error:
                lines.append((prefix + name, "refused", f"{error}; {error.remedy}"))
    jobs = [FileJob(source, prefix, form, tuple(members)) for (form, _), members in families.items()]
    beside = {PurePosixPath(name).parent for job in jobs if job.format is MINISEED for name in job.names}
    for name in names:
        if suffix(name) == ".xml" and not is_noise(name):
            used = PurePosixPath(name).parent in beside
            told = ("companion", "read with the MiniSEED beside it") if used else ("left out", "no MiniSEED beside it")
            lines.append((prefix + name, *told))
    return jobs, lines
