"""Pending tasks in lanes.

Tasks of one lane are alike to every limit, switch and lock, and have one priority: the one submitted first
is the next of them. Heaps are corrected when they are read: an entry that no longer says the truth is dropped
when it comes to the top.
"""

from __future__ import annotations

import itertools
from heapq import heapify, heappop, heappush, heapreplace
from typing import NamedTuple

from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.scopes import scope_keys
from remanager.model.task_spec import Where

_order = itertools.count()  # tells entries of a heap apart that are equal otherwise
_SPARE = 8  # outdated entries that a heap may hold beside as many as it has valid ones


class Ticket:
    """A place in the queue of a pending task; ``lane`` is None while the task waits for its time."""

    __slots__ = ("alive", "card", "lane")

    def __init__(self, card: Card) -> None:
        self.card = card
        self.alive = True
        self.lane: Lane | None = None


class Node:
    """Something with a first number that is kept in a :class:`NumberHeap`."""

    __slots__ = ("holder", "listed")

    def __init__(self) -> None:
        self.holder: NumberHeap | None = None
        self.listed = 0

    def first_number(self) -> int:
        """Return the smallest number of a task in it; it must not be empty."""
        raise NotImplementedError

    def sooner(self) -> None:
        """Say that the first number may be smaller now."""
        if self.holder is not None:
            self.holder.relist(self)


class NumberHeap(Node):
    """Nodes ordered by their first numbers."""

    __slots__ = ("_heap", "size")

    def __init__(self) -> None:
        super().__init__()
        self._heap: list[tuple[int, int, Node]] = []
        self.size = 0

    def put(self, node: Node) -> None:
        """Take a node in; it must not be empty."""
        node.holder = self
        self.size += 1
        self._push(node)

    def remove(self, node: Node) -> None:
        """Give a node out."""
        node.holder = None
        self.size -= 1

    def relist(self, node: Node) -> None:
        """Order a node anew whose first number may be smaller now."""
        if node.first_number() < node.listed:
            self._push(node)

    def first(self) -> Node:
        """Return the node with the smallest number, listed under just that; there must be one."""
        while True:
            listed, _, node = self._heap[0]
            if node.holder is not self or node.listed != listed:
                heappop(self._heap)
                continue
            number = node.first_number()
            if number == listed:
                return node
            node.listed = number
            heapreplace(self._heap, (number, next(_order), node))

    def first_number(self) -> int:
        return self.first().listed

    def _push(self, node: Node) -> None:
        node.listed = node.first_number()
        heappush(self._heap, (node.listed, next(_order), node))
        if len(self._heap) > 2 * self.size + _SPARE:
            self._heap = list(
                {e[2]: e for e in self._heap if e[2].holder is self and e[2].listed == e[0]}.values()
            )
            heapify(self._heap)
        self.sooner()


class LaneKey(NamedTuple):
    """What the tasks of a lane have in common."""

    where: Where
    domain: str
    task_type: str
    group: str
    user: str
    schedule_uid: str | None
    lock: str | None
    priority: int


def lane_key(card: Card) -> LaneKey:
    """Return the key of the lane that a task belongs to."""
    spec = card.spec
    return LaneKey(
        spec.options.where,
        spec.domain,
        spec.name,
        spec.group,
        spec.user,
        spec.schedule_uid,
        spec.options.resource_lock,
        card.priority,
    )


class Lane(Node):
    """Tasks that are alike, ordered by number.

    Attributes
    ----------
    scopes : tuple of ScopeKey
        Scopes of its tasks.
    size : int
        Number of its tasks.
    level : int
        Effective priority of the first one, as of the last look.
    next_step : float or None
        When to look again, epoch seconds.
    """

    __slots__ = ("_heap", "key", "level", "next_step", "scopes", "size")

    def __init__(self, key: LaneKey, card: Card) -> None:
        super().__init__()
        self.key = key
        self.scopes = scope_keys(card.spec)
        self.size = 0
        self.level = key.priority
        self.next_step: float | None = None
        self._heap: list[tuple[int, int, Ticket]] = []

    def push(self, ticket: Ticket) -> None:
        """Add a task."""
        ticket.lane = self
        self.size += 1
        number = ticket.card.number
        heappush(self._heap, (number, next(_order), ticket))
        if number < self.listed:
            self.sooner()

    def discard(self, ticket: Ticket) -> None:
        """Take a task out."""
        ticket.alive = False
        ticket.lane = None
        self.size -= 1
        if len(self._heap) > 2 * self.size + _SPARE:
            self._heap = [entry for entry in self._heap if entry[2].alive]
            heapify(self._heap)

    def first(self) -> Ticket:
        """Return the next task; there must be one."""
        while not self._heap[0][2].alive:
            heappop(self._heap)
        return self._heap[0][2]

    def first_number(self) -> int:
        return self.first().card.number
