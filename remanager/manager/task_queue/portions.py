"""Large selections are worked on a portion at a time: other requests are answered in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

PORTION = 100
"""Tasks that one turn deals with."""

MAX_SELECTED = 1_000_000
"""Tasks that one request can speak of."""


def portions(uids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Return the UIDs in portions."""
    for begin in range(0, len(uids), PORTION):
        yield uids[begin : begin + PORTION]
