"""The write-ahead log as a file: its blocks are there before they are needed."""

from __future__ import annotations

import logging
import os
import struct
from pathlib import Path

from remanager.store.errors import DatabaseUnusable

logger = logging.getLogger(__name__)

LOG_PAGES = 1000
"""Pages after which a commit writes the log back into the database."""

_PAGE_BYTES = 4096
_FRAME_BYTES = _PAGE_BYTES + 24
_HEADER_BYTES = 32
_MAGIC = 0x377F0682  # or one more: https://www.sqlite.org/fileformat2.html#walformat
_SPARE_PAGES = 50  # the commit that reaches the limit goes beyond it

LOG_BYTES = _HEADER_BYTES + _FRAME_BYTES * (LOG_PAGES + _SPARE_PAGES)


def check_log(database: Path) -> None:
    """Refuse a log that SQLite would pass over, or delete, without a word, though changes may be in it.

    Parameters
    ----------
    database : Path
        The database, which nobody has open.

    Raises
    ------
    DatabaseUnusable
        The log is damaged, or it is there without its database.
    """
    log = Path(f"{database}-wal")
    try:
        with log.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        return
    if len(header) < _HEADER_BYTES or not any(header):  # it was extended, and nothing was written
        return
    if not database.exists() or not database.stat().st_size:
        problem = f"is missing or empty, but there is its log {str(log)!r}"
    elif not _is_header(header):
        problem = f"is older than its log {str(log)!r}, which is damaged"
    else:
        return
    raise DatabaseUnusable(
        f"The database {str(database)!r} {problem}: the latest changes are in there. Restore a backup, what "
        "'remanager backup' made; or move the log away to do without them."
    )


def _is_header(header: bytes) -> bool:
    """Tell whether this is how a log begins: SQLite takes one without its checksum for empty."""
    magic = int.from_bytes(header[:4])
    if magic & ~1 != _MAGIC:
        return False
    words = struct.unpack(">6I" if magic & 1 else "<6I", header[:24])
    first = second = 0
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return (first, second) == struct.unpack(">2I", header[24:])


def extend_log(database: Path) -> None:
    """Let the log of a database be as long as it will get; call this while nobody writes.

    ``fdatasync`` is a quarter quicker when blocks are overwritten than when they are appended, since nothing
    but the blocks has to reach the disk. SQLite takes what follows the last valid frame for the rest of an
    older log, since the checksum of a frame of zeros is wrong
    (https://www.sqlite.org/fileformat2.html#the_write_ahead_log).

    Parameters
    ----------
    database : Path
        The database, open in WAL mode: SQLite deletes a log that is there before.
    """
    log = Path(f"{database}-wal")
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CLOEXEC)
        try:
            _extend(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:  # it is only about speed: a commit that does not fit will say so itself
        logger.info("The log %s cannot be extended: %s", log, exc)


def _extend(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if size >= LOG_BYTES:
        return
    try:
        written = os.pwrite(descriptor, bytes(LOG_BYTES - size), size)
        os.fdatasync(descriptor)
    except OSError:
        written = 0
    if size + written < LOG_BYTES:  # the disk is full: what is left of it is for what has to be kept
        os.ftruncate(descriptor, size)
