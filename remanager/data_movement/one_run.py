"""Tasks with one run: copy, move, inspect, repair."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remanager.data_movement.files import FileEntry, copy_file, digest_of, find_files, path_of, remove_empty
from remanager.data_movement.manifest import Journal, Known, Manifest, is_manifest, without_manifest
from remanager.data_movement.places import allowed, apart
from remanager.tasks import Context, Permanent, Retry, Skip, task

CHECKPOINT_S = 2.0
"""After this time what was done is kept for the next attempt, s."""

MAX_NAMES = 50
"""Names of files that a result lists."""

_RETRIES: dict[str, Any] = {
    "max_retries": 5,
    "retry": {"strategy": "exponential", "initial_s": 10.0, "max_s": 600.0},
}
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY)


class Meter:
    """Reports how many bytes and files are done, and lets the task stop between two pieces."""

    def __init__(self, ctx: Context, entries: Sequence[FileEntry]) -> None:
        self._ctx = ctx
        self._kept_at = time.monotonic()
        self.done_count = 0
        self.done_size = 0
        self._size_of_files = 0
        ctx.progress(
            done_count=0, total_count=len(entries), done_size=0, total_size=sum(e.size for e in entries)
        )

    def piece(self, size: int) -> None:
        """Count a piece that was read."""
        self._ctx.check_cancelled()
        self.done_size += size
        self._ctx.progress(done_size=self.done_size)

    def file(self, entry: FileEntry) -> None:
        """Count a file as a whole, however much of it was read."""
        self.done_count += 1
        self._size_of_files += entry.size
        self.done_size = self._size_of_files
        self._ctx.progress(done_count=self.done_count, done_size=self.done_size, message=entry.name)

    def keep(self, value: Any) -> None:
        """Keep a value for the next attempt, not too often."""
        if time.monotonic() - self._kept_at >= CHECKPOINT_S:
            self._kept_at = time.monotonic()
            self._ctx.checkpoint(value)


@contextmanager
def faults_of_disks() -> Iterator[None]:
    """Let faults that pass lead to another attempt, and others to the end."""
    try:
        yield
    except FileNotFoundError as exc:
        raise Permanent(f"There is no '{exc.filename}'") from exc
    except OSError as exc:
        if exc.errno in _PASSING:
            raise Retry(reason=f"{exc.strerror}: '{exc.filename}'") from exc
        raise


@task(domain="data", **_RETRIES)
def copy_run(
    source: str, target: str, patterns: Sequence[str] = ("**/*",), verify: bool = False, *, ctx: Context
) -> dict[str, Any]:
    """Copy a run, with checksums; what is there already and the same is left as it is.

    Parameters
    ----------
    source, target : str
        The run and its copy, absolute paths.
    patterns : sequence of str
        Which files of a directory.
    verify : bool
        Read the copy again and compare.

    Returns
    -------
    dict
        ``files``, ``bytes`` (copied now), ``files_there``, ``manifest``.
    """
    with faults_of_disks():
        place, copy = allowed(source), allowed(target)
        apart(place, copy)
        return _copy(place, copy, patterns, verify, ctx)


@task(domain="data", **_RETRIES)
def move_run(source: str, target: str, *, ctx: Context) -> dict[str, Any]:
    """Move a run: copy it, compare the copy with the checksums, then delete the source.

    A file of the source that has changed since it was copied is kept, and the task tries again.
    """
    with faults_of_disks():
        place, copy = allowed(source), allowed(target)
        apart(place, copy)
        if not place.exists() and Manifest.read(copy).files:
            raise Skip("the run is there already and the source is gone")
        try:
            result = _copy(place, copy, ("**/*",), True, ctx)
        except Skip:
            result = {"files": 0, "bytes": 0, "files_there": len(Manifest.read(copy).files)}
        delete_copied(place, copy)
        return {**result, "deleted": True}


def _copy(source: Path, target: Path, patterns: Sequence[str], verify: bool, ctx: Context) -> dict[str, Any]:
    entries = without_manifest(find_files(source, patterns))
    if not entries:
        raise Skip(f"'{source}' has no files")
    manifest = Manifest.read(target)
    meter = Meter(ctx, entries)
    copied = copied_bytes = 0
    with Journal(target) as journal:
        for entry in entries:
            goal = path_of(target, entry.name)
            known = manifest.files.get(entry.name)
            if known is None or not known.is_like(entry) or _size(goal) != entry.size:
                digest = copy_file(path_of(source, entry.name), goal, meter.piece)
                if verify and digest_of(goal, lambda _size: ctx.check_cancelled()) != digest:
                    goal.unlink()
                    raise Retry(reason=f"the copy of '{entry.name}' differs from the source")
                known = manifest.files[entry.name] = Known(entry.size, entry.mtime_ns, digest)
                journal.add(entry.name, known)
                ctx.record_io(disk_read=entry.size, disk_write=entry.size)
                copied, copied_bytes = copied + 1, copied_bytes + entry.size
            meter.file(entry)
    if copied or Journal.exists(target):
        manifest.write(target)
    if not copied:
        raise Skip("the copy is there already")
    return {
        "files": copied,
        "bytes": copied_bytes,
        "files_there": len(entries) - copied,
        "manifest": str(Manifest.place(target)),
    }


def delete_copied(source: Path, copy: Path) -> None:
    """Delete the files of a run that are in the manifest of its copy and have not changed.

    Raises
    ------
    Retry
        A file has changed since it was copied, or is not copied.
    """
    known = Manifest.read(copy).files
    left = 0
    for entry in find_files(source):
        good = known.get(entry.name)
        if (good is not None and good.is_like(entry)) or is_manifest(entry.name):
            path_of(source, entry.name).unlink()
        else:
            left += 1
    if source.is_dir():
        remove_empty(source)
    if left:
        raise Retry(reason=f"{left} files of '{source}' changed after they were copied; they are kept")


@task(domain="data")
def inspect_run(run: str, fail: bool = True, *, ctx: Context) -> dict[str, Any]:
    """Read a run and compare it with its manifest; an interrupted inspection goes on where it was.

    Parameters
    ----------
    fail : bool
        Let the task fail if a file is missing or damaged.

    Returns
    -------
    dict
        ``files``, ``bytes``, ``missing``, ``damaged`` (names), ``unknown`` (number of files that the manifest
        does not have), ``healthy``.
    """
    with faults_of_disks():
        place = allowed(run)
        result = examine(place, ctx)
    if fail and not result["healthy"]:
        raise Permanent(f"'{place}' is not healthy: missing {result['missing']}, damaged {result['damaged']}")
    return result


def examine(run: Path, ctx: Context) -> dict[str, Any]:
    """Compare a run with its manifest."""
    known = Manifest.read(run).files
    if not known:
        raise Permanent(f"'{run}' has no manifest")
    entries = {e.name: e for e in without_manifest(find_files(run))}
    wanted = [FileEntry(n, k.size, k.mtime_ns) for n, k in sorted(known.items())]
    meter = Meter(ctx, wanted)
    kept = ctx.last_checkpoint if isinstance(ctx.last_checkpoint, dict) else {}
    seen = kept.get("seen", "")
    missing, damaged = list(kept.get("missing", ())), list(kept.get("damaged", ()))
    for entry in wanted:
        present = entries.get(entry.name)
        if entry.name > seen:
            if present is None:
                missing.append(entry.name)
            elif present.size != entry.size or _differs(run, entry, known[entry.name], meter, ctx):
                damaged.append(entry.name)
            meter.keep({"seen": entry.name, "missing": missing, "damaged": damaged})
        meter.file(entry)
    return {
        "files": len(wanted),
        "bytes": sum(e.size for e in wanted),
        "missing": missing[:MAX_NAMES],
        "damaged": damaged[:MAX_NAMES],
        "unknown": len(entries.keys() - known.keys()),
        "healthy": not missing and not damaged,
    }


def _differs(run: Path, entry: FileEntry, known: Known, meter: Meter, ctx: Context) -> bool:
    ctx.record_io(disk_read=entry.size)
    return digest_of(path_of(run, entry.name), meter.piece) != known.digest


@task(domain="data", **_RETRIES)
def repair_run(run: str, other: str, *, ctx: Context) -> dict[str, Any]:
    """Replace the missing and damaged files of a run by those of another copy that are good.

    What is good is what the manifest of the run says; without one, that of the other copy.

    Returns
    -------
    dict
        ``repaired``: names.
    """
    with faults_of_disks():
        place, source = allowed(run), allowed(other)
        apart(place, source)
        manifest = Manifest.read(place)
        if not manifest.files:
            manifest = Manifest.read(source)
            manifest.write(place)
        found = examine(place, ctx)
        bad = [*found["missing"], *found["damaged"]]
        if not bad:
            raise Skip("nothing is missing or damaged")
        known = manifest.files
        for name in bad:
            good = path_of(source, name)
            if not good.is_file() or digest_of(good, lambda _n: ctx.check_cancelled()) != known[name].digest:
                raise Permanent(f"'{name}' is not good in '{source}' either")
            part = path_of(place, name)
            part.unlink(missing_ok=True)
            copy_file(good, part, lambda _n: ctx.check_cancelled())
            ctx.record_io(disk_read=2 * known[name].size, disk_write=known[name].size)
        return {"repaired": bad}


def _size(path: Path) -> int | None:
    try:
        return os.lstat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
