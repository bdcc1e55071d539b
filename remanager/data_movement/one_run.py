"""Tasks with one run: copy, move, inspect, repair."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remanager.data_movement.comparison import Comparison, compare
from remanager.data_movement.contents import (
    EVERYTHING,
    OWN,
    Contents,
    FileEntry,
    check_patterns,
    contents_of,
    entry_of,
    told,
)
from remanager.data_movement.files import (
    copy_file,
    digest_of,
    make_directories,
    path_of,
    remove_empty,
    sync_directory,
)
from remanager.data_movement.manifest import Journal, Known, Manifest, remove_manifest
from remanager.data_movement.places import allowed_run, apart
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
_LASTING = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST),
)


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
        if exc.errno in _LASTING:
            raise Permanent(f"{exc.strerror}: '{exc.filename}'") from exc
        if exc.errno in _PASSING:
            raise Retry(reason=f"{exc.strerror}: '{exc.filename}'") from exc
        raise


@task(domain="data", **_RETRIES)
def copy_run(
    source: str,
    target: str,
    patterns: Sequence[str] = EVERYTHING,
    verify: bool = False,
    overwrite: bool = False,
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Copy a run, with checksums; what is there already and the same is left as it is.

    A target that holds other content than an earlier copy of this run is refused.

    Parameters
    ----------
    source, target : str
        The run and its copy, absolute paths.
    patterns : sequence of str
        What of a directory: patterns of names, with ``**`` for any directories.
    verify : bool
        Read the copy again and compare, also what is there already.
    overwrite : bool
        Replace files of the target that differ from those of the run; others stay.

    Returns
    -------
    dict
        ``files``, ``bytes``, ``links`` (copied now), ``files_there``, ``manifest``.
    """
    with faults_of_disks():
        check_patterns(patterns)
        place, copy = allowed_run(source), allowed_run(target)
        apart(place, copy)
        done = _Copy(place, copy, ctx).run(patterns, verify=verify, overwrite=overwrite)
        if not done.changed:
            raise Skip("the copy is there already")
        return done.result()


@task(domain="data", **_RETRIES)
def move_run(source: str, target: str, overwrite: bool = False, *, ctx: Context) -> dict[str, Any]:
    """Move a run: copy it, compare the copy with the source, then delete the source.

    Nothing is deleted before all is there. A file of the source that has changed since it was copied is kept,
    and the task tries again. A target that holds other content than an earlier copy of this run is refused.

    Parameters
    ----------
    overwrite : bool
        Replace files of the target that differ from those of the run; others stay.
    """
    return _move(source, target, ctx, overwrite=overwrite)


@task(domain="data", **_RETRIES)
def drain_run(source: str, target: str, *, ctx: Context) -> dict[str, Any]:
    """Move a run as :func:`move_run` does: a child of ``drain_directory``."""
    return _move(source, target, ctx)


@task(domain="data", **_RETRIES)
def balance_run(source: str, target: str, *, ctx: Context) -> dict[str, Any]:
    """Move a run as :func:`move_run` does: a child of ``balance_directories``."""
    return _move(source, target, ctx)


def _move(source: str, target: str, ctx: Context, *, overwrite: bool = False) -> dict[str, Any]:
    with faults_of_disks():
        place, copy = allowed_run(source), allowed_run(target)
        apart(place, copy)
        if not os.path.lexists(place) and os.path.lexists(copy):
            manifest, there = Manifest.read(copy), contents_of(copy)
            if manifest and not manifest.missing(there) and not manifest.of_other_size(there):
                raise Skip("the run is there already and the source is gone")
        done = _Copy(place, copy, ctx).run(EVERYTHING, verify=True, overwrite=overwrite)
        left = delete_copied(place, copy)
        if left:
            done.discard(left)
            raise Retry(reason=f"'{place}' changed after it was copied, what changed is kept: {told(left)}")
        return {**done.result(), "deleted": True}


class _Copy:
    """A run on its way to its copy."""

    def __init__(self, source: Path, target: Path, ctx: Context) -> None:
        self._source, self._target, self._ctx = source, target, ctx
        self._found = Comparison()
        self._entries: list[FileEntry] = []
        self._copied: list[str] = []
        self._made = 0
        self._links = 0

    @property
    def changed(self) -> bool:
        """Whether anything was copied."""
        return bool(self._copied or self._made)

    def run(self, patterns: Sequence[str], *, verify: bool, overwrite: bool) -> _Copy:
        """Copy what is not there yet, and write the manifest."""
        whole = contents_of(self._source)
        chosen = whole.matching(patterns)
        refused = chosen.immovable()
        if refused:
            raise Permanent(f"'{self._source}' has what cannot be copied: {told(refused)}")
        if Journal.exists(self._source):
            raise Permanent(f"'{self._source}' is itself an unfinished copy")
        if not (chosen.files or chosen.links or chosen.empty):
            raise Skip(f"'{self._source}' has nothing that matches {list(patterns)}")
        found = compare(self._source, whole, self._target, verify, self._check)
        found.refuse(self._source, self._target, overwrite)
        self._found, self._entries = found, list(chosen.files.values())
        before = Manifest(
            dict(found.manifest.files), dict(found.manifest.links), list(found.manifest.directories)
        )
        self._copy_files(verify)
        self._make_others(chosen)
        if found.manifest != before or Journal.exists(self._target):
            found.manifest.write(self._target)
        return self

    def result(self) -> dict[str, Any]:
        """Return what the task tells."""
        known = self._found.manifest.files
        return {
            "files": len(self._copied),
            "bytes": sum(known[name].size for name in self._copied),
            "links": self._links,
            "files_there": len(self._entries) - len(self._copied),
            "manifest": str(Manifest.place(self._target)),
        }

    def discard(self, names: Collection[str]) -> None:
        """Remove copies that this attempt has made of files that have changed since: the next one shall."""
        manifest = self._found.manifest
        for name in self._copied:
            if name in names and name not in self._found.contents.files:
                path_of(self._target, name).unlink()
                del manifest.files[name]
        manifest.write(self._target)

    def _check(self, _size: int) -> None:
        self._ctx.check_cancelled()

    def _copy_files(self, verify: bool) -> None:
        meter, found = Meter(self._ctx, self._entries), self._found
        check = self._check if verify else None
        with Journal(self._target) as journal:
            for entry in self._entries:
                name = entry.name
                if name in found.there:
                    found.manifest.files[name] = found.there[name]
                else:
                    source = path_of(self._source, name)
                    now = entry_of(source, name)
                    taken = name in found.contents.files or name in found.other
                    goal = path_of(self._target, name)
                    digest = copy_file(source, goal, meter.piece, check=check, replace=taken)
                    found.manifest.files[name] = Known(now.size, now.mtime_ns, digest)
                    found.manifest.links.pop(name, None)
                    journal.add(name, found.manifest.files[name])
                    self._ctx.record_io(disk_read=now.size, disk_write=now.size)
                    self._copied.append(name)
                meter.file(entry)

    def _make_others(self, chosen: Contents) -> None:
        manifest, there = self._found.manifest, self._found.contents
        for name in chosen.empty:
            if name not in there.directories:
                make_directories(path_of(self._target, name))
                self._made += 1
        manifest.directories = sorted({*manifest.directories, *chosen.empty})
        for name, to in chosen.links.items():
            if there.links.get(name) != to:
                goal = path_of(self._target, name)
                make_directories(goal.parent)
                if name in self._found.other:
                    goal.unlink(missing_ok=True)
                goal.symlink_to(to)
                sync_directory(goal.parent)
                self._links, self._made = self._links + 1, self._made + 1
            manifest.links[name] = to
            manifest.files.pop(name, None)


def delete_copied(source: Path, copy: Path) -> dict[str, str]:
    """Delete a run if everything in it is in the manifest of its copy and has not changed.

    Returns
    -------
    dict
        What has changed or is new, and is kept; if it was so from the start, nothing is deleted.
    """
    known, there = Manifest.read(copy), contents_of(source)
    left = {name: "changed" for name, e in there.files.items() if not _is_known(known, e)}
    left |= {name: "changed" for name, to in there.links.items() if known.links.get(name) != to}
    left |= dict.fromkeys([*there.parts, *there.others], "not copied")
    left |= dict.fromkeys(set(there.empty) - set(known.directories), "not copied")
    if left:
        return left
    if "." in there.files:
        remove_manifest(source)
    for name, entry in there.files.items():
        path = path_of(source, name)
        if entry_of(path, name) == entry:
            path.unlink()
        else:
            left[name] = "changed"
    for name in there.links:
        path_of(source, name).unlink()
    if "." in there.directories and not left:
        for name in OWN:
            (source / name).unlink(missing_ok=True)
        remove_empty(source)
    if os.path.lexists(source) and not left:
        left["."] = "new"
    return left


def _is_known(manifest: Manifest, entry: FileEntry) -> bool:
    known = manifest.files.get(entry.name)
    return known is not None and known.is_like(entry)


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
        place = allowed_run(run)
        result = examine(place, ctx)
        result |= {name: result[name][:MAX_NAMES] for name in ("missing", "damaged")}
    if fail and not result["healthy"]:
        raise Permanent(f"'{place}' is not healthy: missing {result['missing']}, damaged {result['damaged']}")
    return result


def examine(run: Path, ctx: Context) -> dict[str, Any]:
    """Compare a run with its manifest."""
    manifest = Manifest.read(run)
    if not manifest:
        raise Permanent(f"'{run}' has no manifest")
    there, known = contents_of(run), manifest.files
    wanted = [FileEntry(n, k.size, k.mtime_ns) for n, k in sorted(known.items())]
    meter = Meter(ctx, wanted)
    kept = ctx.last_checkpoint if isinstance(ctx.last_checkpoint, dict) else {}
    seen = kept.get("seen", "")
    damaged = list(kept.get("damaged", ()))
    for entry in wanted:
        present = there.files.get(entry.name)
        if entry.name > seen and present is not None:
            if present.size != entry.size or _differs(run, entry, known[entry.name], meter, ctx):
                damaged.append(entry.name)
            meter.keep({"seen": entry.name, "damaged": damaged})
        meter.file(entry)
    missing = manifest.missing(there)
    unknown = there.files.keys() | there.links.keys() | there.others.keys() | set(there.parts)
    return {
        "files": len(wanted),
        "bytes": sum(e.size for e in wanted),
        "missing": missing,
        "damaged": damaged,
        "unknown": len(unknown - known.keys() - manifest.links.keys()),
        "healthy": not missing and not damaged,
    }


def _differs(run: Path, entry: FileEntry, known: Known, meter: Meter, ctx: Context) -> bool:
    ctx.record_io(disk_read=entry.size)
    return digest_of(path_of(run, entry.name), meter.piece) != known.digest


@task(domain="data", **_RETRIES)
def repair_run(run: str, other: str, *, ctx: Context) -> dict[str, Any]:
    """Replace what is missing and damaged in a run by what is good in another copy.

    What is good is what the manifest of the run says. Without one, that of the other copy says it; then a
    file that was changed since (of another size or time) is refused, as it may be no damage.

    Returns
    -------
    dict
        ``repaired``: names.
    """
    with faults_of_disks():
        place, source = allowed_run(run), allowed_run(other)
        apart(place, source)
        manifest = Manifest.read(place)
        good = contents_of(source)
        if not manifest:
            manifest = Manifest.read(source)
            if not manifest:
                raise Permanent(f"Neither '{place}' nor '{source}' has a manifest")
            _refuse_changed(place, manifest)
            manifest.write(place)
        found = examine(place, ctx)
        bad = [*found["missing"], *found["damaged"]]
        if not bad:
            raise Skip("nothing is missing or damaged")
        for name in bad:
            if name in manifest.files:
                _repair_file(place, source, good, name, manifest.files[name], ctx)
            else:
                _repair_other(path_of(place, name), manifest.links.get(name))
        return {"repaired": bad}


def _refuse_changed(run: Path, manifest: Manifest) -> None:
    files = contents_of(run).files
    changed = {
        name: "changed, or of another run"
        for name, known in manifest.files.items()
        if name in files and not known.is_like(files[name])
    }
    if changed:
        raise Permanent(f"'{run}' has no manifest, and holds other content than the copy: {told(changed)}")


def _repair_file(run: Path, source: Path, there: Contents, name: str, known: Known, ctx: Context) -> None:
    def check(_size: int) -> None:
        ctx.check_cancelled()

    good = path_of(source, name)
    if name not in there.files or digest_of(good, check) != known.digest:
        raise Permanent(f"'{name}' is not good in '{source}' either")
    copy_file(good, path_of(run, name), check, check=check, replace=True)
    ctx.record_io(disk_read=2 * known.size, disk_write=known.size)


def _repair_other(path: Path, link: str | None) -> None:
    """Make a directory, or a link with what it shall say; a file that is there in its place stays."""
    if link is None:
        make_directories(path)
        return
    make_directories(path.parent)
    if path.is_symlink():
        path.unlink()
    path.symlink_to(link)
    sync_directory(path.parent)
