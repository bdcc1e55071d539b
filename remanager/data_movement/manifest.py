"""The manifest of a run: what must be in it.

While a run is copied, what is known of each file is added to a journal beside the manifest. When the copy is
complete, the manifest is written anew and the journal goes. So each file costs a line, however many they are.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from remanager.data_movement.contents import JOURNAL, LOCK, MANIFEST, OWN, Contents, FileEntry
from remanager.data_movement.files import ALGORITHM, PART, faults_named, lock, sync_directory
from remanager.tasks import Permanent

logger = logging.getLogger(__name__)

_NOT_MADE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Known:
    """What a file must be: size (bytes), time of the last change (ns since the epoch), checksum."""

    size: int
    mtime_ns: int
    digest: str

    def is_like(self, entry: FileEntry) -> bool:
        """Tell whether a file looks the same, without reading it."""
        return (self.size, self.mtime_ns) == (entry.size, entry.mtime_ns)


@dataclass(slots=True)
class Manifest:
    """What must be in a run, by name: files, what its links say, directories that may be empty.

    Attributes
    ----------
    moved_from : str
        Run that all of this was moved from; empty for a copy. Only this tells that a move was complete.
    """

    files: dict[str, Known] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    moved_from: str = ""

    def __bool__(self) -> bool:
        """Tell whether there is a manifest: one that was written knows something."""
        return bool(self.files or self.links or self.directories)

    @staticmethod
    def place(run: Path) -> Path:
        """Return the path of the manifest: in the run, or beside a run that is a single file."""
        return _place(run, MANIFEST)

    @classmethod
    def read(cls, run: Path) -> Manifest:
        """Read the manifest of a run and its journal; an empty one if there is none.

        Raises
        ------
        Permanent
            It cannot be understood.
        """
        path = cls.place(run)
        found = cls()
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            _check(path, data["algorithm"])
            found.files = {name: Known(*known) for name, known in data["files"].items()}
            found.links, found.directories = dict(data.get("links", {})), list(data.get("directories", []))
            found.moved_from = str(data.get("moved_from", ""))
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise Permanent(f"The manifest '{path}' is damaged: {exc}") from exc
        found.files |= _read_journal(_place(run, JOURNAL))
        return found

    def write(self, run: Path) -> None:
        """Write the manifest beside the data, at once or not at all; its journal is not needed any more."""
        path = self.place(run)
        new = path.with_name(path.name + ".new")
        data = {
            "algorithm": ALGORITHM,
            "files": {name: [k.size, k.mtime_ns, k.digest] for name, k in sorted(self.files.items())},
            "links": dict(sorted(self.links.items())),
            "directories": sorted(self.directories),
            "moved_from": self.moved_from,
        }
        with faults_named(new), new.open("w", encoding="utf-8") as file:
            json.dump(data, file, indent=0)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_directory(path.parent)
        _place(run, JOURNAL).unlink(missing_ok=True)

    def digest_of(self, entry: FileEntry) -> str | None:
        """Return the checksum that a file must have; None if it is not known, or was changed since."""
        known = self.files.get(entry.name)
        return known.digest if known is not None and known.is_like(entry) else None

    def has(self, contents: Contents) -> bool:
        """Tell whether everything that is in a run is known, and looks the same."""
        files = (name in self.files and self.files[name].is_like(e) for name, e in contents.files.items())
        links = (self.links.get(name) == to for name, to in contents.links.items())
        known = all(files) and all(links) and set(contents.empty) <= set(self.directories)
        return known and not contents.parts and not contents.others

    def missing(self, contents: Contents) -> list[str]:
        """Return the names of what is not in a run: files, and links and directories that are otherwise."""
        links = (name for name, to in self.links.items() if contents.links.get(name) != to)
        directories = (name for name in self.directories if name not in contents.directories)
        return sorted({*(self.files.keys() - contents.files.keys()), *links, *directories})

    def of_other_size(self, contents: Contents) -> list[str]:
        """Return the names of files that have another size."""
        files = contents.files
        return [
            name for name, known in self.files.items() if name in files and files[name].size != known.size
        ]


def remove_manifest(run: Path) -> None:
    """Remove what tells of a run that is not there any more."""
    for name in OWN:
        run.with_name(run.name + name).unlink(missing_ok=True)


def is_unfinished(run: Path, there: Contents) -> bool:
    """Tell whether a break has left a run as a copy that is not complete."""
    part = run.with_name(run.name + PART)
    return Journal.exists(run) or bool(there.parts) or ("." in there.files and os.path.lexists(part))


class Journal:
    """Keeps what is known of files until the manifest is written; the run must be there.

    It is not brought to disk: of what a power cut takes, the files are copied once more.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._fd: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @staticmethod
    def exists(run: Path) -> bool:
        """Tell whether a run has a journal that a break has left."""
        return _place(run, JOURNAL).exists()

    def add(self, name: str, known: Known) -> None:
        """Keep what is known of a file."""
        if self._fd is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(_place(self._run, JOURNAL), flags, 0o644)
            self._line(self._fd, ALGORITHM)
        self._line(self._fd, [name, known.size, known.mtime_ns, known.digest])

    def _line(self, fd: int, value: object) -> None:
        # With a line break on both sides, what a break has cut off spoils no other line.
        with faults_named(_place(self._run, JOURNAL)):
            os.write(fd, f"\n{json.dumps(value)}\n".encode())


@contextmanager
def writing(run: Path) -> Iterator[None]:
    """Keep other tasks from writing a run as long as this lasts, whatever name and mount they know it by.

    Where nothing can be made, as on a read-only disk, writing fails by itself.

    Raises
    ------
    Retry
        Another task does, or deletes it.
    """
    with deleting(run), _lock_file(run) if run.is_dir() else nullcontext():  # NFS does not lock directories
        yield


@contextmanager
def deleting(run: Path) -> Iterator[None]:
    """Keep other tasks from a run as long as this lasts; in a directory nothing is made for that.

    Raises
    ------
    Retry
        Another task writes or deletes it.
    """
    if not run.is_dir():
        with _lock_file(run):
            yield
        return
    path = Path(os.path.realpath(run))
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        lock(fd, path)
        yield
    finally:
        os.close(fd)


@contextmanager
def _lock_file(run: Path) -> Iterator[None]:
    path = _place(run, LOCK)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as exc:
        if exc.errno not in _NOT_MADE:
            raise
        logger.warning("Nothing is locked by '%s': %s", path, exc.strerror)
        yield
        return
    try:
        lock(fd, path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(fd)


def _read_journal(path: Path) -> dict[str, Known]:
    """Return what a journal tells of files; lines that make no sense were cut off."""
    found: dict[str, Known] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return found
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        match value:
            case str(algorithm):
                _check(path, algorithm)
            case [str(name), int(size), int(mtime_ns), str(digest)]:
                found[name] = Known(size, mtime_ns, digest)
    return found


def _place(run: Path, name: str) -> Path:
    return run / name if run.is_dir() else run.with_name(run.name + name)


def _check(path: Path, algorithm: object) -> None:
    if algorithm != ALGORITHM:
        raise Permanent(f"The manifest '{path}' has checksums of another kind: {algorithm}")
