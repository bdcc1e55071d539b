"""The write-ahead log as a file: its blocks are there before they are needed."""

from __future__ import annotations

import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

LOG_PAGES = 1000
"""Pages after which a commit writes the log back into the database."""

_PAGE_BYTES = 4096
_FRAME_BYTES = _PAGE_BYTES + 24
_HEADER_BYTES = 32
_SPARE_PAGES = 50  # the commit that reaches the limit goes beyond it

LOG_BYTES = _HEADER_BYTES + _FRAME_BYTES * (LOG_PAGES + _SPARE_PAGES)


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
