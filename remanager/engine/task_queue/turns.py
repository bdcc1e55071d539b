"""Whose turn it is: lanes behind gates, in the order of priority, slot time and submission.

All lanes that the same limits and switches cover stand behind one gate, which is open for all of them or for
none. So what is held back is passed over at once, however many tasks it is.

Within a gate, lanes of one user and group at one priority form a share, and the shares of one user a line.
Lines take turns by the key of their user, shares of a line by the key of their group
(:mod:`.slot_time`). Users with equal keys take turns as if they were one: by the keys of their groups. Keys
grow by themselves, so heaps are corrected when they are read; where a key has become less, it is noted in
:class:`Changes`. The cost of a choice behind a gate does not grow with the users, groups or tasks there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from heapq import heapify, heappop, heappush, heapreplace
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

from remanager.engine.task_queue.lanes import Lane, Node, NumberHeap
from remanager.engine.task_queue.limits import Limit
from remanager.engine.task_queue.slot_time import SlotTimes
from remanager.model.task_spec import Where

N = TypeVar("N", bound=Node)

_order = itertools.count()  # tells entries of a heap apart that are equal otherwise
_SPARE = 8  # outdated entries that a heap may hold beside as many as it has valid ones
_MANY_LINES, _FEW_LINES = 8, 4  # from more than so many on, and down to so many, a tie is ordered by group


class Changes:
    """Whose key has become less, the last one last: whoever has seen a state asks what came after it.

    Attributes
    ----------
    number : int
        Of the last change.
    """

    __slots__ = ("_last", "number")

    def __init__(self) -> None:
        self.number = 0
        self._last: dict[str, int] = {}

    def note(self, name: str) -> None:
        """Take note of a change."""
        self.number += 1
        self._last.pop(name, None)
        self._last[name] = self.number

    def forget(self, name: str) -> None:
        """Let go of a name for which nothing waits."""
        self._last.pop(name, None)

    def since(self, number: int) -> Iterator[str]:
        """Yield the names whose keys have changed after a change."""
        for name, last in reversed(self._last.items()):
            if last <= number:
                return
            yield name


class Keys:
    """Keys of the users and groups that wait.

    Attributes
    ----------
    user, group : callable
        Return the key of a name.
    users, groups : Changes
        Names whose keys have become less.
    """

    __slots__ = ("_slots", "group", "groups", "user", "users")

    def __init__(self, slots: SlotTimes) -> None:
        self._slots = slots
        self.user = slots.users.key
        self.group = slots.groups.key
        self.users = Changes()
        self.groups = Changes()

    def changed(self, user: str, group: str) -> None:
        """Take note that the keys of a user and of a group may be less now."""
        self.user_changed(user)
        self.group_changed(group)

    def user_changed(self, user: str) -> None:
        """Take note that the key of a user may be less now."""
        if self._slots.users.waits(user):
            self.users.note(user)

    def group_changed(self, group: str) -> None:
        """Take note that the key of a group may be less now."""
        if self._slots.groups.waits(group):
            self.groups.note(group)

    def lane_ended(self, user: str, group: str) -> None:
        """Let go of whoever waits no more."""
        if not self._slots.users.waits(user):
            self.users.forget(user)
        if not self._slots.groups.waits(group):
            self.groups.forget(group)


class Share(NumberHeap):
    """Lanes of one user and group at one effective priority, behind one gate."""

    __slots__ = ("group", "line")

    def __init__(self, line: Line, group: str) -> None:
        super().__init__()
        self.line = line
        self.group = group

    def sooner(self) -> None:
        """Say that the first number may be smaller now."""
        super().sooner()
        self.line.shares.sooner(self.group)

    def first_lane(self) -> Lane:
        """Return the lane with the smallest number."""
        lane = self.first()
        assert isinstance(lane, Lane)
        return lane


class _ByGroup(Generic[N]):
    """Something of each group, in the order of the keys of the groups, then of first numbers.

    Attributes
    ----------
    nodes : dict of str to N
        By group; none is empty.
    """

    __slots__ = ("_heap", "_keys", "_listed", "_seen", "nodes")

    def __init__(self, keys: Keys) -> None:
        self.nodes: dict[str, N] = {}
        self._keys = keys
        self._listed: dict[str, tuple[float, int]] = {}
        self._heap: list[tuple[tuple[float, int], int, str]] = []
        self._seen = keys.groups.number

    def put(self, group: str, node: N) -> None:
        """Take in what is of a group."""
        self.nodes[group] = node
        self._list(group, (self._keys.group(group), node.first_number()))

    def remove(self, group: str) -> None:
        """Let go of what is of a group."""
        del self.nodes[group]
        del self._listed[group]

    def sooner(self, group: str) -> None:
        """Say that the first number of a group may be smaller now, or its key."""
        node = self.nodes.get(group)
        if node is not None:
            place = self._keys.group(group), node.first_number()
            if place < self._listed[group]:
                self._list(group, place)

    def first(self) -> tuple[float, int, N]:
        """Return the least key of a group, its first number, and what is of the group."""
        nodes, group_key = self.nodes, self._keys.group
        if len(nodes) == 1:
            ((group, node),) = nodes.items()
            return group_key(group), node.first_number(), node
        for group in self._keys.groups.since(self._seen):
            self.sooner(group)
        self._seen = self._keys.groups.number
        while True:
            listed, _, group = self._heap[0]
            if self._listed.get(group) != listed:
                heappop(self._heap)
                continue
            node = nodes[group]
            place = group_key(group), node.first_number()
            if place <= listed:
                return *place, node
            self._listed[group] = place
            heapreplace(self._heap, (place, next(_order), group))

    def _list(self, group: str, place: tuple[float, int]) -> None:
        self._listed[group] = place
        heappush(self._heap, (place, next(_order), group))
        if len(self._heap) > 2 * len(self.nodes) + _SPARE:
            self._heap = [(place, next(_order), group) for group, place in self._listed.items()]
            heapify(self._heap)


class Line:
    """Shares of one user at one effective priority, behind one gate.

    Attributes
    ----------
    tie : Tie or None
        Where it is in turn; None if its user is held back.
    """

    __slots__ = ("gate", "level", "shares", "tie", "user")

    def __init__(self, gate: Gate, level: int, user: str, keys: Keys) -> None:
        self.gate = gate
        self.level = level
        self.user = user
        self.shares = _ByGroup[Share](keys)
        self.tie: Tie | None = None


class Tie:
    """Lines whose users have the same key, or had when they were put here: it may have grown.

    They take turns by their groups as if they were one. Of a few lines each is asked; the shares of many are
    ordered by group, which costs a line a step for each of its groups when it comes and goes.
    """

    __slots__ = ("_by_group", "_keys", "lines", "user_key")

    def __init__(self, user_key: float, keys: Keys) -> None:
        self.user_key = user_key
        self.lines: dict[str, Line] = {}
        self._keys = keys
        self._by_group: _ByGroup[_OfGroup] | None = None

    def put(self, line: Line) -> None:
        """Take a line in."""
        line.tie = self
        self.lines[line.user] = line
        if self._by_group is not None:
            self._put_shares(line)
        elif len(self.lines) > _MANY_LINES:
            self._by_group = _ByGroup(self._keys)
            for each in self.lines.values():
                self._put_shares(each)

    def remove(self, line: Line) -> None:
        """Give a line out."""
        line.tie = None
        del self.lines[line.user]
        if self._by_group is None:
            return
        for share in line.shares.nodes.values():
            self.remove_share(share)
        if len(self.lines) <= _FEW_LINES:
            self._by_group = None
            for each in self.lines.values():
                for share in each.shares.nodes.values():
                    share.holder = None

    def put_share(self, share: Share) -> None:
        """Take notice of a new share of a line."""
        if self._by_group is None:
            return
        heap = self._by_group.nodes.get(share.group)
        if heap is None:
            heap = _OfGroup(self._by_group, share.group)
            heap.put(share)
            self._by_group.put(share.group, heap)
        else:
            heap.put(share)

    def remove_share(self, share: Node) -> None:
        """Take notice that a share of a line is no more."""
        heap = share.holder
        if self._by_group is None or heap is None:
            return
        assert isinstance(heap, _OfGroup)
        heap.remove(share)
        if not heap.size:
            self._by_group.remove(heap.group)

    def first(self) -> tuple[float, int, Share]:
        """Return the key of the group that is next, the number of its first task, and the share of that."""
        if self._by_group is None:
            return min([line.shares.first() for line in self.lines.values()], key=itemgetter(0, 1))
        group_key, number, heap = self._by_group.first()
        share = heap.first()
        assert isinstance(share, Share)
        return group_key, number, share

    def _put_shares(self, line: Line) -> None:
        for share in line.shares.nodes.values():
            self.put_share(share)


class _OfGroup(NumberHeap):
    """Shares of one group in a tie."""

    __slots__ = ("_tie", "group")

    def __init__(self, tie: _ByGroup[_OfGroup], group: str) -> None:
        super().__init__()
        self._tie = tie
        self.group = group

    def sooner(self) -> None:
        """Say that the first number may be smaller now."""
        self._tie.sooner(self.group)


class _Level:
    """Lines of one effective priority, in turn."""

    __slots__ = ("_heap", "_keys", "seen", "ties")

    def __init__(self, keys: Keys) -> None:
        self.ties: dict[float, Tie] = {}
        self.seen = keys.users.number
        self._keys = keys
        self._heap: list[float] = []

    def put(self, line: Line) -> None:
        """Put a line in its place, also if it has another one."""
        key = self._keys.user(line.user)
        if line.tie is not None:
            if line.tie.user_key == key:
                return
            self.remove(line)
        tie = self.ties.get(key)
        if tie is None:
            tie = self.ties[key] = Tie(key, self._keys)
            heappush(self._heap, key)
            if len(self._heap) > 2 * len(self.ties) + _SPARE:
                self._heap = sorted(self.ties)
        tie.put(line)

    def remove(self, line: Line) -> None:
        """Take a line out of its place."""
        tie = line.tie
        assert tie is not None
        tie.remove(line)
        if not tie.lines:
            del self.ties[tie.user_key]

    def first(self) -> Tie:
        """Return the tie with the least key; there must be one."""
        while self._heap[0] not in self.ties:
            heappop(self._heap)
        return self.ties[self._heap[0]]


class Choice(NamedTuple):
    """A lane, and what it is compared by with others: smaller is better."""

    level: int
    user_key: float
    group_key: float
    number: int
    lane: Lane


class Gate:
    """Lanes that the same limits and switches cover.

    Attributes
    ----------
    limits : tuple of Limit
        Limits that can hold its tasks back.
    closed : bool
        Whether a switch, or a limit as of the last look, holds its tasks.
    group : str or None
        The group of all its tasks, if that has a minimum of slots.
    """

    __slots__ = ("_keys", "_levels", "_lines", "closed", "group", "limits", "where")

    def __init__(
        self, where: Where, limits: tuple[Limit, ...], closed: bool, group: str | None, *, keys: Keys
    ) -> None:
        self.where = where
        self.limits = limits
        self.closed = closed
        self.group = group
        self._keys = keys
        self._levels: dict[int, _Level] = {}
        self._lines: dict[tuple[int, str], Line] = {}

    def add(self, lane: Lane, *, is_held: bool) -> Line:
        """Take a lane in at its level; return the line that it belongs to.

        With ``is_held`` the user is held back: the line is not in turn until :meth:`file`.
        """
        key = lane.level, lane.key.user
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(self, *key, self._keys)
        share = line.shares.nodes.get(lane.key.group)
        if share is not None:
            share.put(lane)
            return line
        share = Share(line, lane.key.group)
        share.put(lane)
        line.shares.put(share.group, share)
        if line.tie is not None:
            line.tie.put_share(share)
        elif not is_held:
            self.file(line)
        return line

    def remove(self, lane: Lane) -> Line | None:
        """Give a lane out; return its line if that is empty now."""
        share = lane.holder
        assert isinstance(share, Share)
        share.remove(lane)
        if share.size:
            return None
        line = share.line
        if line.tie is not None:
            line.tie.remove_share(share)
        line.shares.remove(share.group)
        if line.shares.nodes:
            return None
        self.unfile(line)
        del self._lines[line.level, line.user]
        return line

    def file(self, line: Line) -> None:
        """Put a line in turn, or in another place after its user's key has changed."""
        level = self._levels.get(line.level)
        if level is None:
            level = self._levels[line.level] = _Level(self._keys)
        level.put(line)

    def unfile(self, line: Line) -> None:
        """Take a line out of turn."""
        if line.tie is not None:
            level = self._levels[line.level]
            level.remove(line)
            if not level.ties:
                del self._levels[line.level]

    def best(self) -> Choice | None:
        """Return the lane that is next in turn."""
        if not self._levels:
            return None
        number = min(self._levels)
        level = self._levels[number]
        changes = self._keys.users
        for user in changes.since(level.seen):
            line = self._lines.get((number, user))
            if line is not None and line.tie is not None:  # otherwise its user is held back
                level.put(line)
        level.seen = changes.number
        while True:
            tie = level.first()
            group_key, first, share = tie.first()
            if self._keys.user(share.line.user) == tie.user_key:
                return Choice(number, tie.user_key, group_key, first, share.first_lane())
            level.put(share.line)
