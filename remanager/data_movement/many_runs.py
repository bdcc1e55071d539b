"""Tasks with all runs of a directory: drain, balance, delete."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from remanager.data_movement.files import find_files, remove_empty
from remanager.data_movement.manifest import Manifest, is_manifest, missing_or_other, without_manifest
from remanager.data_movement.one_run import delete_copied, examine, faults_of_disks
from remanager.data_movement.places import allowed, apart
from remanager.data_movement.planning import Disk, Move, Run, may_be_deleted, plan_balance
from remanager.tasks import Context, Permanent, Skip, task

SAFE_AGE_S = 72 * 3600.0
"""A run stays at least so long after its last change, s."""


@task(domain="data", fail_fast=False)
def drain_directory(
    directory: str, target: str, one_at_a_time: bool = True, *, ctx: Context
) -> dict[str, Any]:
    """Move all runs of a directory to another one, each by a child task ``move_run``.

    Parameters
    ----------
    one_at_a_time : bool
        Move one run of the disk at a time.
    """
    with faults_of_disks():
        place, goal = allowed(directory), allowed(target)
        apart(place, goal)
        if ctx.finishing:
            left = [run.name for run in runs_of(place)]
            if left:
                raise Permanent(f"{len(left)} runs are still in '{place}': {left[:10]}")
            remove_empty(place)
            return {"moved": ctx.last_checkpoint}
        runs = runs_of(place)
        if not runs:
            raise Skip(f"'{place}' has no runs")
        ctx.checkpoint(len(runs))
        for run in runs:
            _move(ctx, Move(run.name, str(place), str(goal), run.size), one_at_a_time)
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
    """Move runs between directories until their disks are filled alike.

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
        places = [allowed(d) for d in directories]
        for n, place in enumerate(places):
            for other in places[n + 1 :]:
                apart(place, other)
        disks = [_disk(p) for p in places]
        moves = plan_balance(disks, {str(p): runs_of(p) for p in places}, tolerance=tolerance)
        told = [{"run": m.run, "source": m.source, "target": m.target, "size": m.size} for m in moves]
        if not moves:
            raise Skip("the disks are filled alike")
        if not dry_run:
            ctx.checkpoint(told)
            for move in moves:
                _move(ctx, move, one_at_a_time)
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
        place, copies = allowed(directory), allowed(archive)
        apart(place, copies)
        runs, now = runs_of(place), time.time()
        old = [r for r in runs if now - r.changed >= older_than_s]
        good = [r.name for r in old if _has_good_copy(place / r.name, copies / r.name, read_copies, ctx)]
        delete, keep = may_be_deleted(runs, good, now=now, older_than_s=older_than_s)
        sizes = {r.name: r.size for r in runs}
        for name in () if dry_run else delete:
            ctx.check_cancelled()
            delete_copied(place / name, copies / name)
        return {
            "deleted": delete,
            "bytes": sum(sizes[name] for name in delete),
            "kept": keep,
            "dry_run": dry_run,
        }


def runs_of(directory: Path) -> list[Run]:
    """Return the runs of a directory: what is directly in it, except symbolic links."""
    found = []
    for entry in sorted(os.scandir(directory), key=lambda e: e.name):
        if entry.is_symlink() or is_manifest(entry.name):
            continue
        files = find_files(Path(entry.path))
        changed = max((f.mtime_ns for f in files), default=entry.stat().st_mtime_ns)
        found.append(Run(entry.name, sum(f.size for f in files), changed / 1e9))
    return found


def _has_good_copy(run: Path, copy: Path, read_it: bool, ctx: Context) -> bool:
    """Tell whether every file of a run is in the manifest of its copy as it is, and the copy is good."""
    if not copy.exists():
        return False
    known = Manifest.read(copy).files
    entries = without_manifest(find_files(run))
    if not known or any(e.name not in known or not known[e.name].is_like(e) for e in entries):
        return False
    if read_it:
        return bool(examine(copy, ctx)["healthy"])
    return not missing_or_other(known, without_manifest(find_files(copy)))


def _disk(place: Path) -> Disk:
    usage = shutil.disk_usage(place)
    return Disk(str(place), usage.total, usage.free)


def _move(ctx: Context, move: Move, one_at_a_time: bool) -> None:
    source = Path(move.source)
    ctx.submit_child(
        "move_run",
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
