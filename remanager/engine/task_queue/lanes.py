"""Pending tasks in lanes, and lanes behind gates.

Tasks of one lane are alike to every limit, switch and lock, and have one priority: the one submitted first
is the next of them. All lanes that the same limits and switches cover stand behind one gate, which is open
for all of them or for none. So what is held back is passed over at once, however many tasks it is.

Within a gate, lanes of one user and group at one priority form a share. Heaps are corrected when they are
read: an entry that no longer says the truth is dropped when it comes to the top.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from typing import NamedTuple

from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.limits import Limit
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


class Share(NumberHeap):
    """Lanes of one user and group at one effective priority, behind one gate."""

    __slots__ = ("gate", "group", "level", "user")

    def __init__(self, gate: Gate, level: int, user: str, group: str) -> None:
        super().__init__()
        self.gate = gate
        self.level = level
        self.user = user
        self.group = group

    def first_lane(self) -> Lane:
        """Return the lane with the smallest number."""
        lane = self.first()
        assert isinstance(lane, Lane)
        return lane


class Choice(NamedTuple):
    """A lane, and what it is compared by with others: smaller is better."""

    level: int
    user_share: float
    group_share: float
    number: int
    lane: Lane


class UserChanges:
    """Whose share has changed, the last one last: whoever has seen an earlier state asks what came after it.

    Attributes
    ----------
    number : int
        Of the last change.
    """

    __slots__ = ("_last", "number")

    def __init__(self) -> None:
        self.number = 0
        self._last: dict[str, int] = {}

    def note(self, user: str) -> None:
        """Take note that the share of a user has changed."""
        self.number += 1
        self._last.pop(user, None)
        self._last[user] = self.number

    def forget(self, user: str) -> None:
        """Let go of a user for whom nothing waits."""
        self._last.pop(user, None)

    def since(self, number: int) -> Iterator[str]:
        """Yield the users whose share has changed after a change."""
        for user, last in reversed(self._last.items()):
            if last <= number:
                return
            yield user


class _Level:
    """Shares of one priority, in turn.

    Attributes
    ----------
    by_user_share : dict
        Groups by share of the user, each with the shares (user, group) of users who have that share. It may
        say less than they have by now.
    by_group : dict of str to set of Share
        All shares of each group.
    """

    __slots__ = ("_heap", "by_group", "by_user_share")

    def __init__(self) -> None:
        self.by_user_share: dict[float, dict[str, _Filed]] = {}
        self.by_group: dict[str, set[Share]] = {}
        self._heap: list[float] = []

    def put(self, share: Share, user_share: float) -> None:
        """Take a share in."""
        by_group = self.by_user_share.get(user_share)
        if by_group is None:
            by_group = self.by_user_share[user_share] = {}
            heappush(self._heap, user_share)
            if len(self._heap) > 2 * len(self.by_user_share) + _SPARE:
                self._heap = sorted(self.by_user_share)
        heap = by_group.get(share.group)
        if heap is None:
            heap = by_group[share.group] = _Filed(user_share)
        heap.put(share)
        shares = self.by_group.get(share.group)
        if shares is None:
            self.by_group[share.group] = {share}
        else:
            shares.add(share)

    def remove(self, share: Share, heap: _Filed) -> None:
        """Give a share out."""
        heap.remove(share)
        if not heap.size:
            by_group = self.by_user_share[heap.user_share]
            del by_group[share.group]
            if not by_group:
                del self.by_user_share[heap.user_share]
        shares = self.by_group[share.group]
        shares.remove(share)
        if not shares:
            del self.by_group[share.group]

    def least(self) -> float:
        """Return the least share of a user; there must be one."""
        while self._heap[0] not in self.by_user_share:
            heappop(self._heap)
        return self._heap[0]


class Gate:
    """Lanes that the same limits and switches cover.

    Attributes
    ----------
    limits : tuple of Limit
        Limits that can hold its tasks back.
    closed : bool
        Whether a switch, or a limit as of the last look, holds its tasks.
    """

    __slots__ = ("_changes", "_levels", "_seen", "_shares", "closed", "limits", "where")

    def __init__(
        self, where: Where, limits: tuple[Limit, ...], closed: bool, *, changes: UserChanges
    ) -> None:
        self.where = where
        self.limits = limits
        self.closed = closed
        self._levels: dict[int, _Level] = {}
        self._changes = changes
        # By level: the last change as of which its shares are in their places.
        self._seen: dict[int, int] = {}
        self._shares: dict[tuple[int, str], dict[str, Share]] = {}

    def add(self, lane: Lane, user_share: float | None) -> Share:
        """Take a lane in at its level; return the share that it belongs to.

        ``user_share`` is None for a user who is held back: the lane is not in turn until :meth:`file`.
        """
        group = lane.key.group
        by_group = self._shares.setdefault((lane.level, lane.key.user), {})
        share = by_group.get(group)
        if share is not None:
            share.put(lane)
            return share
        share = by_group[group] = Share(self, lane.level, lane.key.user, group)
        share.put(lane)
        if user_share is not None:
            self.file(share, user_share)
        return share

    def drop(self, share: Share) -> None:
        """Let go of a share that is empty now."""
        self.unfile(share)
        key = share.level, share.user
        by_group = self._shares[key]
        del by_group[share.group]
        if not by_group:
            del self._shares[key]

    def file(self, share: Share, user_share: float) -> None:
        """Put a share in turn, or in another place after its user's share has changed."""
        level = self._levels.get(share.level)
        if level is None:
            level = self._levels[share.level] = _Level()
        heap = share.holder
        if heap is not None:
            assert isinstance(heap, _Filed)
            if heap.user_share == user_share:
                return
            level.remove(share, heap)
        level.put(share, user_share)

    def unfile(self, share: Share) -> None:
        """Take a share out of turn."""
        heap = share.holder
        if heap is None:
            return
        assert isinstance(heap, _Filed)
        level = self._levels[share.level]
        level.remove(share, heap)
        if not level.by_group:
            del self._levels[share.level]

    def best(
        self,
        user_share_of: Callable[[str], float],
        group_share: Callable[[str], float],
        groups: frozenset[str] | None,
    ) -> Choice | None:
        """Return the lane that is next in turn, of some groups or of all (None)."""
        if groups is not None:
            return self._best_of(groups, user_share_of, group_share)
        if not self._levels:
            return None
        number = min(self._levels)
        self._bring_up_to_date(number, user_share_of)
        level = self._levels[number]
        while True:
            user_share = level.least()
            by_group = level.by_user_share[user_share]
            least, first, share = min(
                [
                    (group_share(group), heap.first_number(), heap.first_share())
                    for group, heap in by_group.items()
                ]
            )
            if user_share_of(share.user) == user_share:
                return Choice(number, user_share, least, first, share.first_lane())
            self._file_user(number, share.user, user_share_of)

    def _best_of(
        self,
        groups: frozenset[str],
        user_share_of: Callable[[str], float],
        group_share: Callable[[str], float],
    ) -> Choice | None:
        for number in sorted(self._levels):
            by_group = self._levels[number].by_group
            shares = [share for group in groups.intersection(by_group) for share in by_group[group]]
            if shares:
                return min(
                    Choice(
                        number,
                        user_share_of(share.user),
                        group_share(share.group),
                        share.first_number(),
                        share.first_lane(),
                    )
                    for share in shares
                )
        return None

    def _bring_up_to_date(self, level: int, user_share_of: Callable[[str], float]) -> None:
        for user in self._changes.since(self._seen.get(level, 0)):
            self._file_user(level, user, user_share_of)
        self._seen[level] = self._changes.number

    def _file_user(self, level: int, user: str, user_share_of: Callable[[str], float]) -> None:
        for share in self._shares.get((level, user), {}).values():
            if share.holder is not None:  # otherwise its user is held back
                self.file(share, user_share_of(user))


class _Filed(NumberHeap):
    """Shares of one group whose users have the same share."""

    __slots__ = ("user_share",)

    def __init__(self, user_share: float) -> None:
        super().__init__()
        self.user_share = user_share

    def first_share(self) -> Share:
        """Return the share with the smallest number."""
        share = self.first()
        assert isinstance(share, Share)
        return share
