"""Slot time: who of several users (or groups) has had the least of the workers, by weight.

Each one has a key: the time that its executions have taken, by weight, with that of those that run and with
what each of these is expected to take. The least key is next in turn. Only differences of keys matter, so
whoever comes begins with the time that the one with the least key has had: absence earns nothing. Who is held
back by a limit may be far behind those who are in turn, so it is not less than what anyone has had who has
started at that priority, or at a worse one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace

from remanager.engine.task_queue.limits import Limits
from remanager.engine.task_queue.scopes import Scope

MEMORY_S = 3600.0
"""Whoever had to wait (limits, priorities of others) catches up on so much time of one slot at most."""

_FIRST_EXPECTED_S = 1.0
_SHORTEST_S = 1e-4  # an execution that takes no time takes a slot all the same
_AVERAGED = 16  # a duration has this part in the average; the first ones have more
_WEIGHTS = (1e-6, 1e6)  # beyond these, times by weight would be too large to add short ones to
_SPARE = 64  # names without tasks that may be remembered beside as many as there are with tasks
_OUTDATED = 8  # entries that the heap may hold beside as many as it has valid ones


@dataclass(slots=True)
class Use:
    """Use of a slot by an execution.

    Attributes
    ----------
    since : float
        When it was handed over; time of :class:`SlotTime`.
    reserved : float
        What it is expected to take, s.
    begun : float or None
        When it began, if that was told.
    """

    since: float
    reserved: float
    begun: float | None = None


class _Account:
    """What is known of one name; it waits while it has lanes, and is absent if nothing runs either."""

    __slots__ = ("base", "begun", "executing", "lanes", "listed", "reserved", "running", "weight")

    def __init__(self, base: float, weight: float) -> None:
        self.base = base
        self.weight = weight
        self.lanes = 0
        self.running = 0
        self.reserved = 0.0
        self.executing = 0
        self.begun = 0.0  # sum of the times at which what executes began
        self.listed = math.nan


class SlotTime:
    """Keys of users, or of groups.

    Time is that of :attr:`now`, which does not go back.

    Parameters
    ----------
    weight : callable
        Returns the weight of a name.
    """

    def __init__(self, weight: Callable[[str], float]) -> None:
        self._weight_of = weight
        self._accounts: dict[str, _Account] = {}
        self._busy: dict[str, _Account] = {}  # those of whom something runs
        self._waiting = 0
        self._heap: list[tuple[float, str]] = []
        self._turn = 0.0  # the most that anyone who has started had had
        self._turns: dict[int, float] = {}  # the same by priority, of those who were in turn
        self._measured = 0  # executions in the average, at most _AVERAGED
        self._log_expected = 0.0
        self._expected = _FIRST_EXPECTED_S
        self.now = 0.0

    def __len__(self) -> int:
        """Return how many names are remembered."""
        return len(self._accounts)

    def key(self, name: str) -> float:
        """Return the key of a name; until the next call for this name it only grows."""
        account = self._accounts.get(name)
        return self._turn if account is None else self._key(account)

    def waits(self, name: str) -> bool:
        """Tell whether there is a lane with tasks of a name."""
        account = self._accounts.get(name)
        return account is not None and account.lanes > 0

    def wait(self, name: str, priority: int) -> None:
        """Take notice of a lane with tasks of a name and a priority (less is better)."""
        account = self._accounts.get(name)
        if account is not None and account.lanes:
            account.lanes += 1
            return
        # Also if something of it runs: what others did meanwhile is no reason to come before them.
        begin = self._least(max((had for p, had in self._turns.items() if p >= priority), default=0.0))
        if account is None:
            account = self._accounts[name] = _Account(begin, self._weight(name))
        else:
            account.base += max(begin - self._had(account), 0.0)
        self._waiting += 1
        account.lanes = 1
        self._list(name, account)

    def wait_no_more(self, name: str) -> None:
        """Take notice that a lane has become empty."""
        account = self._accounts[name]
        account.lanes -= 1
        if not account.lanes:
            self._waiting -= 1
            self._forget()

    def start(self, name: str, priority: int, *, in_turn: bool = True) -> Use:
        """Count an execution that is handed over; in turn, if not for another reason than the keys."""
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = _Account(self._least(self._turn), self._weight(name))
        had = self._had(account)
        if in_turn:
            self._turns[priority] = max(self._turns.get(priority, 0.0), had)
        # The turn does not go back: the next one who had to wait would catch up on more than this one.
        self._turn = max(self._turn, had)
        account.base += max(self._turn - MEMORY_S - had, 0.0)
        account.running += 1
        account.reserved += self._expected
        self._busy[name] = account
        return Use(self.now, self._expected)

    def begin(self, name: str, use: Use, time: float) -> None:
        """Count the time of an execution from ``time`` on; a worker's clock may tell anything."""
        if use.begun is None:
            use.begun = min(time, self.now) if time > use.since else use.since
            account = self._accounts[name]
            account.executing += 1
            account.begun += use.begun

    def end(self, name: str, use: Use, used_s: float | None) -> None:
        """Charge what an execution has taken; None if it was given back."""
        account = self._accounts[name]
        account.running -= 1
        if account.running:
            account.reserved -= use.reserved
        else:
            account.reserved = 0.0
            del self._busy[name]
        if use.begun is not None:
            account.executing -= 1
            account.begun = account.begun - use.begun if account.executing else 0.0
        if used_s is not None:
            if not used_s > 0:  # its worker died, its clock was set, or it is broken
                used_s = self.now - (use.since if use.begun is None else use.begun)
            used_s = max(min(used_s, self.now - use.since), _SHORTEST_S)
            account.base += used_s / account.weight
            self._measured = min(self._measured + 1, _AVERAGED)
            self._log_expected += (math.log(used_s) - self._log_expected) / self._measured
            self._expected = math.exp(self._log_expected)
        if account.lanes:
            if self._key(account) < account.listed:
                self._list(name, account)
        elif not account.running:
            self._forget()

    def weight_changed(self, name: str) -> None:
        """Look at the weight of a name anew; what was charged stays as it is."""
        account = self._accounts.get(name)
        if account is not None:
            account.weight = self._weight(name)
            if account.lanes:
                self._list(name, account)

    def weights_changed(self) -> None:
        """Look at all weights anew; what was charged stays as it is."""
        for name, account in self._accounts.items():
            account.weight = self._weight(name)
        self._list_anew()

    def _weight(self, name: str) -> float:
        least, most = _WEIGHTS
        return min(max(self._weight_of(name), least), most)

    def _had(self, account: _Account) -> float:
        if not account.executing:
            return account.base
        return account.base + max(account.executing * self.now - account.begun, 0.0) / account.weight

    def _key(self, account: _Account) -> float:
        if not account.running:
            return account.base
        return self._had(account) + account.reserved / account.weight

    def _forget(self) -> None:
        """Forget who is absent and not ahead of the others; of many also those who are so by little."""
        if not (self._waiting or self._busy):
            self._accounts.clear()
            self._heap.clear()
            self._turn = 0.0
            self._turns.clear()
            return
        kept = self._waiting + len(self._busy) + _SPARE
        if len(self._accounts) <= 4 * kept:  # half of them go: ordering them is worth it
            return
        least = self._least(0.0)
        absent = [(a.base, name) for name, a in self._accounts.items() if not (a.lanes or a.running)]
        absent.sort()
        ahead = sum(base > least for base, _ in absent)
        for _, name in absent[: len(absent) - min(ahead, kept)]:
            del self._accounts[name]

    # --------------------------------------------------------------------------------------- the least key

    def _least(self, turn: float) -> float:
        """Return the time had by whoever has the least key and waits; if nobody waits, the least had.

        It is at least ``turn``.
        """
        while self._heap:
            listed, name = self._heap[0]
            account = self._accounts.get(name)
            if account is None or account.listed != listed or not account.lanes:
                heappop(self._heap)
                continue
            key = self._key(account)
            if key <= listed:
                return max(self._had(account), turn)
            account.listed = key
            heapreplace(self._heap, (key, name))
        return max(min(map(self._had, self._busy.values()), default=0.0), turn)

    def _list(self, name: str, account: _Account) -> None:
        account.listed = self._key(account)
        heappush(self._heap, (account.listed, name))
        if len(self._heap) > 2 * self._waiting + _OUTDATED:
            self._list_anew()

    def _list_anew(self) -> None:
        self._heap.clear()
        for name, account in self._accounts.items():
            if account.lanes:
                account.listed = self._key(account)
                self._heap.append((account.listed, name))
        heapify(self._heap)


@dataclass(frozen=True, slots=True)
class Uses:
    """Use of a slot, for the account of the user and for that of the group."""

    user: str
    group: str
    of_user: Use
    of_group: Use


class SlotTimes:
    """Slot times of all users and all groups.

    Attributes
    ----------
    users, groups : SlotTime
        By name.
    """

    def __init__(self, limits: Limits) -> None:
        self.users = SlotTime(lambda user: limits.weight((Scope.USER, user)))
        self.groups = SlotTime(lambda group: limits.weight((Scope.GROUP, group)))
        self._origin: float | None = None

    def set_time(self, now: float) -> None:
        """Go on to a time, epoch seconds; nothing happens if the clock was set back a little."""
        if self._origin is None:
            self._origin = now
        self.users.now = self.groups.now = max(self.users.now, now - self._origin)

    def clock_set(self, step_s: float) -> None:
        """Go on as before though the clock was set by ``step_s`` (s)."""
        if self._origin is not None:
            self._origin += step_s

    def wait(self, user: str, group: str, priority: int) -> None:
        """Take notice of a lane with tasks of a priority."""
        self.users.wait(user, priority)
        self.groups.wait(group, priority)

    def wait_no_more(self, user: str, group: str) -> None:
        """Take notice that a lane has become empty."""
        self.users.wait_no_more(user)
        self.groups.wait_no_more(group)

    def start(self, user: str, group: str, priority: int, *, in_turn: bool = True) -> Uses:
        """Count an execution that is handed over; in turn, if not for another reason than the keys."""
        of_user = self.users.start(user, priority, in_turn=in_turn)
        return Uses(user, group, of_user, self.groups.start(group, priority, in_turn=in_turn))

    def begin(self, uses: Uses, time: float) -> None:
        """Count the time of an execution from ``time`` (epoch seconds) on."""
        assert self._origin is not None
        self.users.begin(uses.user, uses.of_user, time - self._origin)
        self.groups.begin(uses.group, uses.of_group, time - self._origin)

    def end(self, uses: Uses, used_s: float | None) -> None:
        """Charge what an execution has taken, s; None if it was given back."""
        self.users.end(uses.user, uses.of_user, used_s)
        self.groups.end(uses.group, uses.of_group, used_s)

    def weights_changed(self) -> None:
        """Look at all weights anew."""
        self.users.weights_changed()
        self.groups.weights_changed()
