"""Which runs go where. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace


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


def widest_gap(disks: Collection[Disk]) -> tuple[float, Disk, Disk]:
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
    now = {d.name: d for d in disks}
    left = {name: sorted(found, key=lambda r: (-r.size, r.name)) for name, found in runs.items()}
    moves: list[Move] = []
    while len(moves) < most and len(disks) > 1:
        gap, full, empty = widest_gap(now.values())
        if gap <= tolerance:
            break
        run = _fitting(left.get(full.name, []), gap, full, empty)
        if run is None:
            break
        left[full.name].remove(run)
        now[full.name] = replace(full, free=full.free + run.size)
        now[empty.name] = replace(empty, free=empty.free - run.size)
        moves.append(Move(run.name, full.name, empty.name, run.size))
    return moves


def _fitting(runs: Iterable[Run], gap: float, full: Disk, empty: Disk) -> Run | None:
    """Return the first run that makes the gap smaller and fits; an empty one changes nothing."""
    for run in runs:
        change = run.size / full.total + run.size / empty.total if full.total and empty.total else 0.0
        if run.size and run.size < empty.free and abs(gap - change) < gap:
            return run
    return None
