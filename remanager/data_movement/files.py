"""The files of a run: read with their checksums, copied so that a break does no harm."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from remanager.tasks import Permanent, Retry

logger = logging.getLogger(__name__)

ALGORITHM = "blake2b"
CHUNK_BYTES = 1 << 20
_ZEROS = bytes(CHUNK_BYTES)
MODE_BITS = 0o1777
PART = ".remanager-part"
"""Ending of the name of a file that is not complete yet."""

Step = Callable[[int], None]
"""Called with the number of bytes of each piece; it raises to stop."""


def path_of(run: Path, name: str) -> Path:
    """Return the path of an entry of a run."""
    return run if name == "." else run / name


def parent_of(name: str) -> str:
    """Return the name of the directory in which an entry of a run is."""
    return name.rpartition("/")[0] or "."


@contextmanager
def faults_named(path: Path) -> Iterator[None]:
    """Let faults of the disk name a path where they name none: those of a file that is open do not."""
    try:
        yield
    except OSError as exc:
        if exc.filename is None:
            exc.filename = str(path)
        raise


def pieces(path: Path, start: int = 0) -> Iterator[bytes]:
    """Return what a file holds from a place on, in pieces; a symbolic link is not followed."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with faults_named(path), os.fdopen(os.open(path, flags), "rb") as file:
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


def digest_if_begun_by(source: Path, other: Path, size: int, step: Step) -> str | None:
    """Return the checksum of another file if the source begins with all of it.

    Parameters
    ----------
    size : int
        Bytes of the source.
    """
    checksum = hashlib.new(ALGORITHM)
    good = _common_start(source, other, size, checksum, step)
    return checksum.hexdigest() if good == other.lstat().st_size else None


def copy_file(
    source: Path,
    target: Path,
    step: Step,
    *,
    kept: Step | None = None,
    check: Step | None = None,
    replace: bool = False,
    expected: str | None = None,
) -> str:
    """Copy a file and return its checksum; an unfinished copy is continued if it agrees with the source.

    The target appears under its name only when it is complete and on disk. Times and mode are kept, but not
    the bits that let a file run as its owner or group: these are others now.

    Parameters
    ----------
    step : callable
        Called with the bytes of each piece.
    kept : callable, optional
        Called in place of it with pieces that were there already, and were compared with the source.
    check : callable, optional
        If given, the copy is read again before it gets its name; called with the bytes of each piece.
    replace : bool
        A file that has the name already is replaced.
    expected : str, optional
        Checksum that the source must have.

    Raises
    ------
    Permanent
        The source has another checksum than expected.
    Retry
        The source changed meanwhile, the copy differs, the name is taken, or another task copies the same.
    """
    before = source.lstat()
    part = target.with_name(target.name + PART)
    make_directories(target.parent)
    with faults_named(target), _open_part(part) as file:
        digest = _fill(file, part, source, before.st_size, step, kept or step)
        after = source.lstat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            part.unlink()
            raise Retry(reason=f"'{source}' changed while it was copied")
        if expected is not None and digest != expected:
            part.unlink()
            raise Permanent(f"'{source}' is damaged: it is not what its manifest says")
        if check is not None and digest_of(part, check) != digest:
            part.unlink()
            raise Retry(reason=f"the copy of '{source}' differs from the source")
        os.chmod(part, before.st_mode & MODE_BITS)
        os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
        if not replace and os.path.lexists(target):
            raise Retry(reason=f"'{target}' has appeared while it was copied")
        part.replace(target)
    sync_directory(target.parent)
    return digest


def _fill(file: BinaryIO, part: Path, source: Path, size: int, step: Step, kept: Step) -> str:
    """Copy what an unfinished copy does not have yet, and bring it to disk; return the checksum of all."""
    checksum = hashlib.new(ALGORITHM)
    start = _common_start(source, part, size, checksum, kept)
    file.truncate(start)
    file.seek(start)
    for piece in pieces(source, start):
        step(len(piece))
        checksum.update(piece)
        if piece == _ZEROS[: len(piece)]:
            file.seek(len(piece), os.SEEK_CUR)  # leaves a hole: a sparse file stays one
        else:
            file.write(piece)
    file.truncate()
    os.fsync(file.fileno())
    return checksum.hexdigest()


def remove_part(part: Path) -> None:
    """Remove an unfinished copy.

    Raises
    ------
    Retry
        Another task writes it.
    """
    with _open_part(part):
        part.unlink()


def _open_part(part: Path) -> BinaryIO:
    """Open an unfinished copy, with what is in it, and keep other tasks from it until it is closed."""
    if part.is_file() and not part.is_symlink():
        part.chmod(0o600)  # a break just before the end has left it with the mode of the source
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.fdopen(os.open(part, flags, 0o600), "wb")
    try:
        lock(file.fileno(), part)
    except BaseException:
        file.close()
        raise
    return file


def lock(fd: int, path: Path) -> None:
    """Keep other tasks from a file as long as it is open; where a file system has no locks, the log says so.

    Raises
    ------
    Retry
        Another task has the lock, or had it and has renamed or removed the file since.
    """
    taken = Retry(reason=f"another task writes '{path}'")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno == errno.EWOULDBLOCK:
            raise taken from exc
        if exc.errno not in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        logger.warning("Nothing keeps two tasks from writing '%s' at the same time: %s", path, exc.strerror)
    if not (os.path.lexists(path) and os.path.samestat(os.fstat(fd), os.lstat(path))):
        raise taken


def _common_start(source: Path, other: Path, size: int, checksum: hashlib._Hash, step: Step) -> int:
    """Return how many bytes of another file the source begins with, and take them into the checksum."""
    good = 0
    if other.lstat().st_size <= size:
        for theirs, ours in zip(pieces(other), pieces(source), strict=False):
            if ours[: len(theirs)] != theirs:
                break
            step(len(theirs))
            checksum.update(theirs)
            good += len(theirs)
    return good


def make_directory_like(run: Path, copy: Path, name: str) -> None:
    """Make a directory of a run in its copy, with those above it in the run, and give them their modes.

    The owner may do everything there, or the copy could not go on. A directory that is there stays as it is.
    """
    directory = path_of(copy, name)
    if directory.is_dir():
        return
    if name != ".":
        make_directory_like(run, copy, parent_of(name))
    mode = path_of(run, name).lstat().st_mode
    make_directories(directory, stat.S_IRWXU)
    inherited = directory.stat().st_mode & stat.S_ISGID
    directory.chmod((mode & MODE_BITS) | stat.S_IRWXU | inherited)


def make_directories(directory: Path, mode: int = 0o777) -> None:
    """Make a directory, with this mode, and those above it, and bring their names to disk."""
    if directory.is_dir():
        return
    if os.path.lexists(directory):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(directory))
    make_directories(directory.parent)
    directory.mkdir(mode, exist_ok=True)
    sync_directory(directory.parent)


def sync_file(path: Path) -> None:
    """Bring what a file holds to disk."""
    _sync(path, os.O_NOFOLLOW)


def sync_directory(directory: Path) -> None:
    """Bring the names of a directory to disk, where its file system has a call for that."""
    try:
        _sync(directory, os.O_DIRECTORY)
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.EROFS):
            raise


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        with faults_named(path):
            os.fsync(fd)
    finally:
        os.close(fd)


def remove_empty(directory: Path) -> None:
    """Remove a directory and all directories in it, as far as nothing else is in them."""
    for path, _, _ in os.walk(directory, topdown=False):
        if not os.listdir(path):
            os.rmdir(path)
