"""Tasks with all runs of a directory: drain, balance, delete."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from remanager.data_movement.arguments import check_number, check_truths
from remanager.data_movement.contents import (
    MAX_TOLD,
    FileEntry,
    contents_of,
    is_text,
    told,
    without_manifests,
)
from remanager.data_movement.copying import Meter
from remanager.data_movement.files import (
    PART,
    Step,
    digest_of,
    path_of,
    remove_empty,
    sync_directory,
    sync_file,
)
from remanager.data_movement.manifest import Known, Manifest, deleting, is_unfinished, writing
from remanager.data_movement.one_run import delete_copied, faults_of_disks
from remanager.data_movement.places import allowed_directory, apart, roots
from remanager.data_movement.planning import Disk, Move, Run, plan_balance, widest_gap
from remanager.tasks import Context, Permanent, Retry, Skip, task

FILE_SYSTEM = "lost+found"
"""Name of a directory that belongs to the file system."""

MAX_KEPT_CHARS = 500_000
"""Names of runs are kept until all have been moved if they are no longer than this together."""

SAFE_AGE_S = 72 * 3600.0
"""A run stays at least so long after its last change, s."""


@task(domain="data", fail_fast=False)
def drain_directory(
    directory: str, target: str, one_at_a_time: bool = True, *, ctx: Context
) -> dict[str, Any]:
    """Move all runs of a directory to another one, each by a child task ``drain_run``.

    A directory with entries that are no runs is refused: symbolic links, special files, unfinished copies,
    what cannot be read. ``lost+found`` stays.

    Parameters
    ----------
    one_at_a_time : bool
        Move one run of the disk at a time.
    """
    check_truths(one_at_a_time=one_at_a_time)
    with faults_of_disks():
        place, goal = allowed_directory(directory), allowed_directory(target)
        apart(place, goal)
        if ctx.finishing:
            kept = ctx.last_checkpoint  # that of an earlier release is a number
            return _finish_drain(place, goal, *(kept if isinstance(kept, list) else (kept, None)))
        runs, _ = _drainable(place)
        if not runs:
            raise Skip(f"'{place}' has no runs")
        names = [run.name for run in runs]
        ctx.checkpoint([len(names), names if sum(map(len, names)) <= MAX_KEPT_CHARS else None])
        for run in runs:
            _move(ctx, "drain_run", Move(run.name, str(place), str(goal), run.size), one_at_a_time)
        return {"moved": len(runs)}


def _drainable(place: Path) -> tuple[list[Run], bool]:
    """Return the runs of a directory that shall be drained, and whether nothing else is in it."""
    runs, others = entries_of(place)
    refused = {name: why for name, why in others.items() if name != FILE_SYSTEM}
    if refused:
        raise Permanent(f"'{place}' has entries that are no runs: {told(refused)}")
    return runs, not others


def _finish_drain(place: Path, goal: Path, count: int, names: Sequence[str] | None) -> dict[str, Any]:
    try:
        left, alone = _drainable(place)
        if left:
            raise Permanent(f"{len(left)} runs are still in '{place}': {[r.name for r in left[:MAX_TOLD]]}")
        if alone and place not in roots() and not place.is_mount():
            remove_empty(place)
    except FileNotFoundError:
        # Another drain has removed the directory, or its disk is gone.
        if names is None:
            raise
        faults = {name: fault for name in names if (fault := _fault_without_reading(goal / name))}
        if faults:
            raise Permanent(
                f"There is no '{place}' any more, and '{goal}' lacks runs: {told(faults)}"
            ) from None
    return {"moved": count}


@task(domain="data", fail_fast=False)
def balance_directories(
    directories: Sequence[str],
    tolerance: float = 0.1,
    dry_run: bool = True,
    one_at_a_time: bool = True,
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Move runs between directories until their disks are filled alike, each by a child ``balance_run``.

    Parameters
    ----------
    tolerance : float
        Difference of the filled parts of the disks (0 to 1) that is left as it is.
    dry_run : bool
        Only tell what would be moved.

    Returns
    -------
    dict
        ``moves``: list of ``{run, source, target, size}``.
    """
    check_truths(dry_run=dry_run, one_at_a_time=one_at_a_time)
    check_number("tolerance", tolerance, most=1.0)
    with faults_of_disks():
        if ctx.finishing:
            return {"moves": ctx.last_checkpoint}
        if not isinstance(directories, list | tuple):
            raise Permanent(f"The directories must be a list of paths, not {directories!r}")
        places = [allowed_directory(d) for d in directories]
        for n, place in enumerate(places):
            for other in places[n + 1 :]:
                apart(place, other)
        disks = [_disk(p) for p in places]
        moves = plan_balance(disks, {str(p): entries_of(p)[0] for p in places}, tolerance=tolerance)
        told = [{"run": m.run, "source": m.source, "target": m.target, "size": m.size} for m in moves]
        if not moves:
            _refuse_uneven(disks, tolerance)
            raise Skip("the disks are filled alike")
        if not dry_run:
            ctx.checkpoint(told)
            for move in moves:
                _move(ctx, "balance_run", move, one_at_a_time)
        return {"moves": told}


def _refuse_uneven(disks: Sequence[Disk], tolerance: float) -> None:
    """Fail if no run can be moved though the disks are not filled alike."""
    if not disks:
        return
    gap, full, empty = widest_gap(disks)
    if gap > tolerance:
        raise Permanent(
            f"No run can be moved: '{full.name}' is filled to {full.filled:.1%}, '{empty.name}' to "
            f"{empty.filled:.1%}, and no run there fits and brings them closer"
        )


@task(domain="data")
def delete_runs(
    directory: str,
    archive: str,
    older_than_s: float = SAFE_AGE_S,
    dry_run: bool = True,
    read_copies: bool = True,
    *,
    ctx: Context,
) -> dict[str, Any]:
    """Delete the runs of a directory that are old enough and all of which is in the archive.

    Each run is read, and its copy is read back. What differs, is damaged or cannot be read stays.

    Parameters
    ----------
    older_than_s : float
        A run that changed later than this ago stays, s.
    dry_run : bool
        Only tell what would be deleted.
    read_copies : bool
        False: compare only names, sizes and times. That is quick, and for a dry run only.

    Returns
    -------
    dict
        ``deleted`` (names), ``bytes``, ``kept`` (reason by name), ``dry_run``.
    """
    check_truths(dry_run=dry_run, read_copies=read_copies)
    check_number("older_than_s", older_than_s)
    with faults_of_disks():
        if not read_copies and not dry_run:
            raise Permanent("Nothing is deleted unless its copy was read: read_copies=False is for a dry run")
        place, copies = allowed_directory(directory), allowed_directory(archive)
        apart(place, copies)
        (runs, kept), now = entries_of(place), time.time()
        old = [run for run in runs if now - run.changed >= older_than_s]
        kept |= {run.name: "it is too young" for run in runs if run not in old}
        entries = [FileEntry(run.name, 2 * run.size if read_copies else 0, 0) for run in old]
        meter, deleted, freed = Meter(ctx, entries), [], 0
        step = meter.piece if read_copies else None

        for run, entry in zip(old, entries, strict=True):
            ctx.check_cancelled()
            reason = _delete(place / run.name, copies / run.name, step, dry_run)
            if reason:
                kept[run.name] = reason
            else:
                deleted.append(run.name)
                freed += run.size
            meter.file(entry)
        return {"deleted": deleted, "bytes": freed, "kept": kept, "dry_run": dry_run}


def entries_of(directory: Path) -> tuple[list[Run], dict[str, str]]:
    """Return the runs of a directory, and what else is directly in it, except manifests.

    What vanishes meanwhile is left out.
    """
    runs, others = [], {}
    with os.scandir(directory) as entries:
        found = {entry.name: entry for entry in entries}
    for name in sorted(without_manifests(found)):
        if not is_text(name):
            others[repr(name)] = "its name is not UTF-8"
            continue
        try:
            fault = _why_no_run(found[name])
            if fault:
                others[name] = fault
            else:
                runs.append(_run_of(directory / name))
        except FileNotFoundError:
            continue
        except OSError as exc:
            others[name] = _fault_of_disk(exc)
    return runs, others


def _why_no_run(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "it is a symbolic link"
    if entry.name.endswith(PART):
        return "it is an unfinished copy"
    if entry.is_dir() and entry.name == FILE_SYSTEM:
        return "it belongs to the file system"
    return "" if entry.is_dir() or entry.is_file() or not os.path.lexists(entry) else "it is a special file"


def _run_of(path: Path) -> Run:
    files = contents_of(path).files.values()
    changed = max((f.mtime_ns for f in files), default=None)
    if changed is None:
        changed = path.lstat().st_mtime_ns
    return Run(path.name, sum(f.size for f in files), changed / 1e9)


def _delete(run: Path, copy: Path, step: Step | None, dry_run: bool) -> str:
    """Delete a run if its copy is good; return why it stays, empty if it does not.

    Without a step nothing is read, and nothing is deleted.
    """
    try:
        fault = _fault_of_copy(run, copy, None)
        if fault or step is None:
            return fault
        with nullcontext() if dry_run else _alone(run, copy):
            fault = _fault_of_copy(run, copy, step)
            if not fault and not dry_run and delete_copied(run, copy):
                fault = "it has changed meanwhile"
    except (Permanent, Retry) as exc:  # a manifest that cannot be understood, or another task
        fault = str(exc)
    except OSError as exc:
        fault = _fault_of_disk(exc) if os.path.lexists(run) else "it has gone meanwhile"
    return fault


@contextmanager
def _alone(run: Path, copy: Path) -> Iterator[None]:
    """Keep other tasks from writing a run and its copy, or deleting one for the sake of the other."""
    with ExitStack() as locks:
        locks.enter_context(deleting(run))
        locks.enter_context(writing(copy))
        yield


def _fault_of_copy(run: Path, copy: Path, step: Step | None) -> str:
    """Tell what is the matter with the copy of a run; empty if all of the run is in it as it is.

    A link in place of the copy is none, nor is the run itself under another name.
    """
    fault = _fault_without_reading(copy)
    if fault:
        return fault
    if copy.samefile(run):
        return "its copy is the run itself under another name"
    manifest, there, here = Manifest.read(copy), contents_of(copy), contents_of(run)
    if not manifest.has(here):
        return "its copy does not have all of it as it is"
    if step is None:
        return ""
    for name, known in manifest.files.items():
        fault = _difference(run if name in here.files else None, copy, name, known, step)
        if fault:
            return fault
    for directory in (*(path_of(copy, name) for name in there.directories), copy.parent):
        sync_directory(directory)
    return "" if Manifest.read(copy) == manifest else "its copy has changed meanwhile"


def _fault_without_reading(copy: Path) -> str:
    """Tell what is the matter with a copy, except what only reading its files can tell."""
    if copy.is_symlink() or not copy.exists():
        return "it has no copy"
    manifest, there = Manifest.read(copy), contents_of(copy)
    if not manifest:
        return "its copy has no manifest"
    if is_unfinished(copy, there):
        return "its copy is unfinished"
    bad = [*manifest.missing(there), *manifest.of_other_size(there)]
    return f"its copy is damaged: {bad[:MAX_TOLD]}" if bad else ""


def _difference(run: Path | None, copy: Path, name: str, known: Known, step: Step) -> str:
    """Read a file of a copy and that of the run, and tell whether they are not the same; sync the copy."""
    theirs = path_of(copy, name)
    if digest_of(theirs, step) != known.digest:
        return f"its copy is damaged: '{name}'"
    sync_file(theirs)
    if run is None:
        return ""
    ours = path_of(run, name)
    if ours.samefile(theirs):
        return f"its copy is the run itself under another name: '{name}'"
    return "" if digest_of(ours, step) == known.digest else f"it differs from its copy: '{name}'"


def _fault_of_disk(exc: OSError) -> str:
    return f"{exc.strerror}: '{exc.filename}'"


def _disk(place: Path) -> Disk:
    usage = shutil.disk_usage(place)
    return Disk(str(place), usage.total, usage.free)


def _move(ctx: Context, name: str, move: Move, one_at_a_time: bool) -> None:
    """Submit the move of a run: a child that another attempt of this task does not submit once more.

    Another task has children of its own, as it waits for those only. One after the other moves a run.
    """
    source = Path(move.source)
    alone = f"disk:{source}" if one_at_a_time else f"run:{source / move.run}"
    ctx.submit_child(
        name,
        str(source / move.run),
        str(Path(move.target) / move.run),
        options={
            "label": f"{move.run} from {source.name}",
            "key": f"{source / move.run} {ctx.task_uid}"[-256:],
            "tags": {"disk": move.source[-256:], "run": move.run[-256:]},
            "expected_io": {"disk_read": 2 * move.size, "disk_write": move.size},
            "resource_lock": alone[-256:],
        },
    )
