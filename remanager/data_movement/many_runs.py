"""Tasks with all runs of a directory: drain, balance, delete."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remanager.data_movement.contents import contents_of, is_text, told, without_manifests
from remanager.data_movement.files import PART, remove_empty
from remanager.data_movement.manifest import Manifest
from remanager.data_movement.one_run import delete_copied, examine, faults_of_disks
from remanager.data_movement.places import allowed_directory, apart, roots
from remanager.data_movement.planning import Disk, Move, Run, may_be_deleted, plan_balance
from remanager.tasks import Context, Permanent, Skip, task

SAFE_AGE_S = 72 * 3600.0
"""A run stays at least so long after its last change, s."""


@task(domain="data", fail_fast=False)
def drain_directory(
    directory: str, target: str, one_at_a_time: bool = True, *, ctx: Context
) -> dict[str, Any]:
    """Move all runs of a directory to another one, each by a child task ``drain_run``.

    A directory with entries that are no runs is refused: symbolic links, special files, unfinished copies.

    Parameters
    ----------
    one_at_a_time : bool
        Move one run of the disk at a time.
    """
    with faults_of_disks():
        place, goal = allowed_directory(directory), allowed_directory(target)
        apart(place, goal)
        runs, others = entries_of(place)
        if others:
            raise Permanent(f"'{place}' has entries that are no runs: {told(others)}")
        if ctx.finishing:
            left = [run.name for run in runs]
            if left:
                raise Permanent(f"{len(left)} runs are still in '{place}': {left[:10]}")
            if place not in roots() and not place.is_mount():
                remove_empty(place)
            return {"moved": ctx.last_checkpoint}
        if not runs:
            raise Skip(f"'{place}' has no runs")
        ctx.checkpoint(len(runs))
        for run in runs:
            _move(ctx, "drain_run", Move(run.name, str(place), str(goal), run.size), one_at_a_time)
        return {"moved": len(runs)}


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
            raise Skip("the disks are filled alike")
        if not dry_run:
            ctx.checkpoint(told)
            for move in moves:
                _move(ctx, "balance_run", move, one_at_a_time)
        return {"moves": told}


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
    """Delete the runs of a directory that are old enough and have a good copy in the archive.

    Parameters
    ----------
    older_than_s : float
        A run that changed later than this ago stays, s.
    dry_run : bool
        Only tell what would be deleted.
    read_copies : bool
        Read the copies and compare checksums; else only names and sizes.

    Returns
    -------
    dict
        ``deleted`` (names), ``bytes``, ``kept`` (reason by name), ``dry_run``.
    """
    with faults_of_disks():
        place, copies = allowed_directory(directory), allowed_directory(archive)
        apart(place, copies)
        (runs, others), now = entries_of(place), time.time()
        old = [r for r in runs if now - r.changed >= older_than_s]
        good = [r.name for r in old if _has_good_copy(place / r.name, copies / r.name, read_copies, ctx)]
        delete, keep = may_be_deleted(runs, good, now=now, older_than_s=older_than_s)
        sizes = {r.name: r.size for r in runs}
        for name in () if dry_run else list(delete):
            ctx.check_cancelled()
            if delete_copied(place / name, copies / name):
                delete.remove(name)
                keep[name] = "it has changed meanwhile"
        return {
            "deleted": delete,
            "bytes": sum(sizes[name] for name in delete),
            "kept": keep | others,
            "dry_run": dry_run,
        }


def entries_of(directory: Path) -> tuple[list[Run], dict[str, str]]:
    """Return the runs of a directory, and what else is directly in it, except manifests."""
    runs, others = [], {}
    with os.scandir(directory) as entries:
        found = {entry.name: entry for entry in entries}
    for name in sorted(without_manifests(found)):
        entry = found[name]
        if not is_text(name):
            others[repr(name)] = "its name is not UTF-8"
        elif entry.is_symlink():
            others[name] = "it is a symbolic link"
        elif name.endswith(PART):
            others[name] = "it is an unfinished copy"
        elif not entry.is_dir() and not entry.is_file():
            others[name] = "it is a special file"
        else:
            files = contents_of(directory / name).files.values()
            changed = max((f.mtime_ns for f in files), default=entry.stat().st_mtime_ns)
            runs.append(Run(name, sum(f.size for f in files), changed / 1e9))
    return runs, others


def _has_good_copy(run: Path, copy: Path, read_it: bool, ctx: Context) -> bool:
    """Tell whether everything in a run is in the manifest of its copy as it is, and the copy is good.

    A link in place of the copy is none, nor is the run itself under another name.
    """
    if copy.is_symlink() or not copy.exists() or copy.samefile(run):
        return False
    manifest = Manifest.read(copy)
    if not manifest or not manifest.has(contents_of(run)):
        return False
    if read_it:
        return bool(examine(copy, ctx)["healthy"])
    there = contents_of(copy)
    return not manifest.missing(there) and not manifest.of_other_size(there)


def _disk(place: Path) -> Disk:
    usage = shutil.disk_usage(place)
    return Disk(str(place), usage.total, usage.free)


def _move(ctx: Context, name: str, move: Move, one_at_a_time: bool) -> None:
    source = Path(move.source)
    ctx.submit_child(
        name,
        str(source / move.run),
        str(Path(move.target) / move.run),
        options={
            "label": f"{move.run} from {source.name}",
            "key": f"{move.source}/{move.run}"[-256:],
            "tags": {"disk": move.source[-256:], "run": move.run[-256:]},
            "expected_io": {"disk_read": 2 * move.size, "disk_write": move.size},
            **({"resource_lock": f"disk:{move.source}"[-256:]} if one_at_a_time else {}),
        },
    )
