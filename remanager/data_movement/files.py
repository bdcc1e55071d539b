"""The files of a run: found, read with their checksums, copied so that a break does no harm."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from remanager.tasks import Retry

ALGORITHM = "blake2b"
CHUNK_BYTES = 1 << 20
PART = ".remanager-part"
"""Ending of the name of a file that is not complete yet."""

Step = Callable[[int], None]
"""Called with the number of bytes of each piece; it raises to stop."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A regular file of a run.

    Attributes
    ----------
    name : str
        Path relative to the run, with slashes; ``.`` for a run that is a single file.
    size : int
        Bytes.
    mtime_ns : int
        Time of the last change, ns since the epoch.
    """

    name: str
    size: int
    mtime_ns: int


def find_files(run: Path, patterns: Sequence[str] = ("**/*",)) -> list[FileEntry]:
    """Return the regular files of a run, sorted by name; symbolic links and unfinished copies are left out.

    Raises
    ------
    FileNotFoundError
        There is no such run.
    """
    info = os.lstat(run)
    if stat.S_ISREG(info.st_mode):
        return [FileEntry(".", info.st_size, info.st_mtime_ns)]
    found: dict[str, FileEntry] = {}
    for pattern in patterns:
        for path in run.glob(pattern):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and not path.name.endswith(PART):
                name = path.relative_to(run).as_posix()
                found[name] = FileEntry(name, status.st_size, status.st_mtime_ns)
    return [found[name] for name in sorted(found)]


def path_of(run: Path, name: str) -> Path:
    """Return the path of a file of a run."""
    return run if name == "." else run / name


def pieces(path: Path, start: int = 0) -> Iterator[bytes]:
    """Return what a file holds from a place on, in pieces."""
    with path.open("rb") as file:
        file.seek(start)
        while piece := file.read(CHUNK_BYTES):
            yield piece


def digest_of(path: Path, step: Step) -> str:
    """Return the checksum of a file, hexadecimal."""
    checksum = hashlib.new(ALGORITHM)
    for piece in pieces(path):
        step(len(piece))
        checksum.update(piece)
    return checksum.hexdigest()


def copy_file(source: Path, target: Path, step: Step) -> str:
    """Copy a file and return its checksum; an unfinished copy is continued if it agrees with the source.

    The target appears under its name only when it is complete and on disk. Times and mode are kept.

    Parameters
    ----------
    step : callable
        Called with the bytes of each piece, those that were there already included.

    Raises
    ------
    Retry
        The source changed meanwhile.
    """
    before = source.stat()
    part = target.with_name(target.name + PART)
    target.parent.mkdir(parents=True, exist_ok=True)
    checksum = hashlib.new(ALGORITHM)
    start = _continue_at(source, part, before.st_size, checksum, step)
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
        file.truncate(start)
        file.seek(start)
        for piece in pieces(source, start):
            step(len(piece))
            checksum.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    after = source.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        part.unlink()
        raise Retry(reason=f"'{source}' changed while it was copied")
    part.chmod(stat.S_IMODE(before.st_mode))
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    part.replace(target)
    sync_directory(target.parent)
    return checksum.hexdigest()


def _continue_at(source: Path, part: Path, size: int, checksum: hashlib._Hash, step: Step) -> int:
    """Return how many bytes of an unfinished copy are good, and take them into the checksum."""
    try:
        there = part.stat().st_size
    except FileNotFoundError:
        return 0
    good = 0
    if there <= size:
        for ours, theirs in zip(pieces(part), pieces(source), strict=False):
            if theirs[: len(ours)] != ours:
                break
            step(len(ours))
            checksum.update(ours)
            good += len(ours)
    return good


def sync_directory(directory: Path) -> None:
    """Bring the names of a directory to disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_empty(directory: Path) -> None:
    """Remove a directory and all directories in it, as far as nothing else is in them."""
    for path, _, _ in os.walk(directory, topdown=False):
        if not os.listdir(path):
            os.rmdir(path)
