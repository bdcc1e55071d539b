"""Ranks: integers with gaps whose order is the order of the plan queue.

An item's rank is its place in the stored queue. The gaps let an item be inserted or moved by writing one
rank; only where no gap is left are the neighbours spread out again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

GAP = 1 << 20
"""Distance between neighbours that were put at an end of the queue."""

_SPREAD = 1 << 12
"""Smallest distance that spreading out leaves, so that it is not needed again soon."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where new items go.

    Attributes
    ----------
    left, right : int
        How many items before and after the place of insertion get new ranks, too; 0 where there is a gap.
    ranks : list of int
        Ascending: ``left`` ranks, those of the new items, ``right`` ranks.
    """

    left: int
    right: int
    ranks: list[int]


def place(rank_at: Callable[[int], int], size: int, index: int, count: int) -> Placement:
    """Find ranks for items to be inserted into a sequence of ranks.

    Parameters
    ----------
    rank_at : callable
        Returns the rank at an index of the sequence, which ascends strictly.
    size : int
        Length of the sequence.
    index : int
        The new items go before the item that is at this index; ``size`` appends.
    count : int
        Number of new items.

    Returns
    -------
    Placement
        Ranks that fit between the neighbours.
    """
    left = right = 0
    while True:
        low = rank_at(index - left - 1) if index > left else None
        high = rank_at(index + right) if index + right < size else None
        ranks = _spread(low, high, left + count + right, minimum=_SPREAD if left or right else 1)
        if ranks is not None:
            return Placement(left, right, ranks)
        left = min(index, 2 * left + count)
        right = min(size - index, 2 * right + count)


def _spread(low: int | None, high: int | None, count: int, *, minimum: int) -> list[int] | None:
    """Return ``count`` ranks between two bounds, or None if their distance would be below ``minimum``."""
    if low is None:
        first = 0 if high is None else high - GAP * count
        return [first + GAP * i for i in range(count)]
    step = GAP if high is None else (high - low) // (count + 1)
    if step < minimum:
        return None
    return [low + step * (i + 1) for i in range(count)]
