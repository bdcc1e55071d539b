"""Tasks with one run: copy, move, inspect, repair."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from remanager.data_movement.arguments import check_truths
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
from remanager.data_movement.copying import Copy, Meter, Traffic
from remanager.data_movement.files import (
    copy_file,
    digest_of,
    make_directories,
    make_directory_like,
    parent_of,
    path_of,
    remove_empty,
    sync_directory,
)
from remanager.data_movement.manifest import (
    Journal,
    Known,
    Manifest,
    deleting,
    is_unfinished,
    remove_manifest,
    writing,
)
from remanager.data_movement.places import allowed_run, apart
from remanager.tasks import Context, Permanent, Retry, Skip, task

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


@contextmanager
def faults_of_disks(run: str = "") -> Iterator[None]:
    """Let faults that pass lead to another attempt, and others to the end.

    Parameters
    ----------
    run : str
        Run whose files may be renamed or deleted meanwhile, if there is one.
    """
    try:
        yield
    except FileNotFoundError as exc:
        if run and _gone_from(Path(os.path.realpath(run)), exc.filename):
            raise Retry(reason=f"'{exc.filename}' has gone meanwhile") from exc
        raise Permanent(f"There is no '{exc.filename}'") from exc
    except OSError as exc:
        if exc.errno in _LASTING:
            raise Permanent(f"{exc.strerror}: '{exc.filename}'") from exc
        if exc.errno in _PASSING:
            raise Retry(reason=f"{exc.strerror}: '{exc.filename}'") from exc
        raise


def _gone_from(run: Path, missing: object) -> bool:
    """Tell whether what is missing is a part of a run that is there."""
    inside = isinstance(missing, str | os.PathLike) and run in Path(missing).parents
    return inside and os.path.lexists(run)


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
    check_truths(verify=verify, overwrite=overwrite)
    with faults_of_disks(source):
        check_patterns(patterns)
        place, copy = allowed_run(source), allowed_run(target)
        apart(place, copy)
        done = Copy(place, copy, patterns, ctx)
        with done.alone():
            done.run(verify=verify, overwrite=overwrite)
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
    check_truths(overwrite=overwrite)
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
    with faults_of_disks(source):
        place, copy = allowed_run(source), allowed_run(target)
        apart(place, copy)
        if not os.path.lexists(place) and os.path.lexists(copy):
            with writing(copy):
                _skip_what_was_moved(place, copy)
        done = Copy(place, copy, EVERYTHING, ctx)
        with done.alone(), deleting(place):  # nor does a task delete the copy for the sake of the source
            done.run(verify=True, overwrite=overwrite, moving=True)
            done.sync()
            left = delete_copied(place, copy)
            if left:
                done.discard(left)
        if left:
            raise Retry(reason=f"'{place}' changed after it was copied, what changed is kept: {told(left)}")
        return {**done.result(), "deleted": True}


def _skip_what_was_moved(source: Path, copy: Path) -> None:
    """Let a move end that was complete before; a source that is only out of reach was not moved."""
    manifest, there = Manifest.read(copy), contents_of(copy)
    complete = manifest.moved_from == str(source) and not is_unfinished(copy, there)
    if complete and not manifest.missing(there) and not manifest.of_other_size(there):
        raise Skip("the run is there already and the source is gone")
    raise Permanent(f"There is no '{source}', and it is not known that all of it was moved to '{copy}'")


def delete_copied(source: Path, copy: Path) -> dict[str, str]:
    """Delete a run if everything in it is in its copy, and in the manifest of that, and has not changed.

    Returns
    -------
    dict
        What has changed or is new, and is kept; if it was so from the start, nothing is deleted.
    """
    known, there, present = Manifest.read(copy), contents_of(source), contents_of(copy)
    left = {name: "changed" for name, e in there.files.items() if not _is_known(known, e)}
    left |= {name: "changed" for name, to in there.links.items() if known.links.get(name) != to}
    left |= dict.fromkeys([*there.parts, *there.others], "not copied")
    left |= dict.fromkeys(set(there.empty) - set(known.directories), "not copied")
    lost = {*known.missing(present), *known.of_other_size(present)}
    left |= dict.fromkeys(lost & {*there.files, *there.links, *there.empty}, "not in the copy any more")
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
        Let the task fail if the run is not healthy.

    Returns
    -------
    dict
        ``files``, ``bytes``, ``missing``, ``damaged``, ``changed`` (names; what has another content and
        another time was changed), ``unknown`` (number of files that the manifest does not have),
        ``unfinished`` (whether an interrupted task has left more to do), ``healthy`` (nothing of all that
        but unknown files).
    """
    check_truths(fail=fail)
    with faults_of_disks():
        place = allowed_run(run)
        result = examine(place, ctx)
        result |= {name: result[name][:MAX_NAMES] for name in ("missing", "damaged", "changed")}
    if fail and not result["healthy"]:
        unfinished = "an unfinished copy, " if result["unfinished"] else ""
        changed = f", changed {result['changed']}" if result["changed"] else ""
        raise Permanent(
            f"'{place}' is not healthy: {unfinished}missing {result['missing']}, damaged {result['damaged']}"
            f"{changed}"
        )
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
    damaged, changed = list(kept.get("damaged", ())), list(kept.get("changed", ()))
    for entry in wanted:
        present = there.files.get(entry.name)
        if entry.name > seen and present is not None:
            if present.size != entry.size or _differs(run, entry, known[entry.name], meter):
                # A disk that loses bits leaves the time as it is: whoever writes a file does not.
                (damaged if present.mtime_ns == entry.mtime_ns else changed).append(entry.name)
            meter.keep({"seen": entry.name, "damaged": damaged, "changed": changed})
        meter.file(entry)
    missing, unfinished = manifest.missing(there), is_unfinished(run, there)
    unknown = there.files.keys() | there.links.keys() | there.others.keys() | set(there.parts)
    return {
        "files": len(wanted),
        "bytes": sum(e.size for e in wanted),
        "missing": missing,
        "damaged": damaged,
        "changed": changed,
        "unknown": len(unknown - known.keys() - manifest.links.keys()),
        "unfinished": unfinished,
        "healthy": not (missing or damaged or changed or unfinished),
    }


def _differs(run: Path, entry: FileEntry, known: Known, meter: Meter) -> bool:
    return digest_of(path_of(run, entry.name), meter.piece) != known.digest


@task(domain="data", **_RETRIES)
def repair_run(run: str, other: str, *, ctx: Context) -> dict[str, Any]:
    """Replace what is missing and damaged in a run by what is good in another copy.

    What is good is what the manifest of the run says. Without one, that of the other copy says it. A file
    that was changed since (it has another time, too) stays as it is, and the task fails, as that may be no
    damage.

    Returns
    -------
    dict
        ``repaired``: names.
    """
    with faults_of_disks():
        place, source = allowed_run(run), allowed_run(other)
        apart(place, source)
        place.lstat()
        with writing(place):
            return {"repaired": _repair(place, source, ctx)}


def _repair(place: Path, source: Path, ctx: Context) -> list[str]:
    manifest = Manifest.read(place)
    good = contents_of(source)
    if Journal.exists(place):
        raise Permanent(f"'{place}' is an unfinished copy: copy or move its run again")
    if not manifest:
        manifest = Manifest.read(source)
        manifest.moved_from = ""
        if not manifest:
            raise Permanent(f"Neither '{place}' nor '{source}' has a manifest")
        _refuse_changed(place, manifest)
        manifest.write(place)
    found = examine(place, ctx)
    bad = [*found["missing"], *found["damaged"]]
    if not bad and found["unfinished"]:
        raise Permanent(f"'{place}' is an unfinished copy: copy or move its run again")
    if not bad and not found["changed"]:
        raise Skip("nothing is missing or damaged")
    for name in bad:
        if name in manifest.files:
            _repair_file(place, source, good, name, manifest.files[name], ctx)
        else:
            _repair_other(place, source, name, manifest.links.get(name))
    if found["changed"]:
        changed = told(dict.fromkeys(found["changed"], "written since its manifest was"))
        raise Permanent(f"'{place}' has changed files, delete those that shall be replaced: {changed}")
    return bad


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
    good, traffic = path_of(source, name), Traffic(ctx)
    if name not in there.files or digest_of(good, traffic.piece) != known.digest:
        raise Permanent(f"'{name}' is not good in '{source}' either")
    if name != ".":
        _make_directory(run, source, parent_of(name))
    target = path_of(run, name)
    copy_file(good, target, traffic.copied, kept=traffic.kept, check=traffic.piece, replace=True)


def _repair_other(run: Path, source: Path, name: str, link: str | None) -> None:
    """Make a directory, or a link with what it shall say; a file that is there in its place stays."""
    if link is None:
        _make_directory(run, source, name)
        return
    _make_directory(run, source, parent_of(name))
    path = path_of(run, name)
    if path.is_symlink():
        path.unlink()
    path.symlink_to(link)
    sync_directory(path.parent)


def _make_directory(run: Path, source: Path, name: str) -> None:
    """Make a directory as it is in the other copy, if it is there."""
    if path_of(source, name).is_dir():
        make_directory_like(source, run, name)
    else:
        make_directories(path_of(run, name))
