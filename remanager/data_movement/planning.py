"""Which runs go where. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Disk:
    """A directory on a disk: bytes in all and free."""

    name: str
    total: int
    free: int

    @property
    def filled(self) -> float:
        """Filled part, 0 to 1; a disk without room is full."""
        return (self.total - self.free) / self.total if self.total else 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """A run in a directory: bytes, and the time of its last change (epoch seconds)."""

    name: str
    size: int
    changed: float


@dataclass(frozen=True, slots=True)
class Move:
    """A run that goes from one directory to another."""

    run: str
    source: str
    target: str
    size: int


def widest_gap(disks: Sequence[Disk]) -> tuple[float, Disk, Disk]:
    """Return the largest difference of filled parts, the fullest disk and the emptiest one."""
    full, empty = max(disks, key=lambda d: (d.filled, d.name)), min(disks, key=lambda d: (d.filled, d.name))
    return full.filled - empty.filled, full, empty


def plan_balance(
    disks: Sequence[Disk], runs: Mapping[str, Sequence[Run]], *, tolerance: float, most: int = 1000
) -> list[Move]:
    """Return moves after which the disks are filled alike.

    Each goes from the fullest disk to the emptiest, and makes their difference smaller. The largest run that
    does is taken, so that few are moved.

    Parameters
    ----------
    runs : mapping
        Runs by the name of their disk.
    tolerance : float
        Difference of the filled parts (0 to 1) that is left as it is.
    most : int
        At most so many moves.
    """
    sizes = {d.name: d.total for d in disks}
    used = {d.name: float(d.total - d.free) for d in disks}
    left = {name: sorted(found, key=lambda r: (-r.size, r.name)) for name, found in runs.items()}
    moves: list[Move] = []
    while len(moves) < most and len(disks) > 1:
        fill = {name: used[name] / sizes[name] if sizes[name] else 1.0 for name in used}
        full, empty = max(fill, key=lambda n: (fill[n], n)), min(fill, key=lambda n: (fill[n], n))
        gap = fill[full] - fill[empty]
        if gap <= tolerance:
            break
        run = _fitting(left.get(full, []), gap, sizes[full], sizes[empty], sizes[empty] - used[empty])
        if run is None:
            break
        left[full].remove(run)
        used[full] -= run.size
        used[empty] += run.size
        moves.append(Move(run.name, full, empty, run.size))
    return moves


def _fitting(runs: Iterable[Run], gap: float, full: int, empty: int, free: float) -> Run | None:
    """Return the first run that makes the gap smaller and fits; an empty one changes nothing."""
    for run in runs:
        change = run.size / full + run.size / empty if full and empty else 0.0
        if run.size and run.size < free and abs(gap - change) < gap:
            return run
    return None
