"""Which pending task starts next.

The best effective priority goes first; among equals the user, then the group, that has had the least slot
time by weight (:mod:`.slot_time`), then the task submitted first. A group below its minimum of slots comes
before all others.

The cost of a choice grows with the combinations of limits whose tasks wait, not with tasks, users or groups.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.lanes import Lane, LaneKey, Ticket, lane_key
from remanager.engine.task_queue.limits import Limit, Limits, TokenBucket
from remanager.engine.task_queue.scopes import Scope, ScopeKey, scope_keys
from remanager.engine.task_queue.shares import Aging
from remanager.engine.task_queue.slot_time import SlotTimes, Uses
from remanager.engine.task_queue.switches import Switches
from remanager.engine.task_queue.turns import Choice, Gate, Keys, Line, Share
from remanager.model.task_spec import Where

DUE_PORTION = 1000
"""At most so many tasks whose time has come join the queue in one call; the others in the next ones."""

_order = itertools.count()


@dataclass(frozen=True, slots=True)
class _Charge:
    """What a running task occupies."""

    scopes: tuple[ScopeKey, ...]
    buckets: tuple[TokenBucket, ...]
    lock: str | None
    uses: Uses


class Dispatcher:
    """Chooses among pending tasks. Knows these and, for limits, the running ones.

    Parameters
    ----------
    aging : Aging, optional
        None: tasks keep their priority however long they wait.

    Attributes
    ----------
    limits : Limits
        To be changed at any time; a change counts from the next call of :meth:`pick` on.
    switches : Switches
        Likewise.
    delayed : Counter of str
        Number of pending tasks that wait for their ``run_after``, by type.
    """

    def __init__(self, *, aging: Aging | None = None) -> None:
        self.limits = Limits()
        self.switches = Switches()
        self._aging = aging
        self._slots = SlotTimes(self.limits)
        self._tickets: dict[str, Ticket] = {}
        self._delayed: list[tuple[float, int, Ticket]] = []
        self.delayed: Counter[str] = Counter()
        self._lanes: dict[Where, dict[LaneKey, Lane]] = {where: {} for where in Where}
        self._keys = Keys(self._slots)
        self._gates: dict[tuple[Where, tuple[Limit, ...], bool, str | None], Gate] = {}
        self._open: dict[Where, set[Gate]] = {where: set() for where in Where}
        self._closed: dict[Limit, list[Gate]] = {}
        self._held_users: set[str] = set()
        self._locked: dict[str, dict[LaneKey, Lane]] = {}
        self._lines_of: dict[str, set[Line]] = {}  # by user
        self._refills: list[tuple[float, int, Limit]] = []
        self._steps: list[tuple[float, int, Lane]] = []
        self._running: dict[str, _Charge] = {}
        self._seen = (0, 0)
        self._now = 0.0  # as of the last call that told it

    @property
    def aging(self) -> Aging | None:
        """How tasks gain priority by waiting."""
        return self._aging

    def __len__(self) -> int:
        """Return the number of pending tasks."""
        return len(self._tickets)

    def __contains__(self, card: Card) -> bool:
        """Tell whether a task is pending here."""
        return card.uid in self._tickets

    # -------------------------------------------------------------------------------------- pending tasks

    def add(self, card: Card, now: float) -> None:
        """Take a pending task in; it stays aside until its ``run_after``.

        Raises
        ------
        ValueError
            It is there already.
        """
        uid = card.spec.task_uid
        if uid in self._tickets:
            raise ValueError(f"Task '{uid}' is pending already")
        self._now = now
        self._slots.set_time(now)
        ticket = self._tickets[uid] = Ticket(card)
        if card.run_after is not None and card.run_after > now:
            heappush(self._delayed, (card.run_after, next(_order), ticket))
            self.delayed[card.spec.name] += 1
        else:
            self._enqueue(ticket)

    def discard(self, card: Card) -> None:
        """Let go of a task that is not pending any longer; nothing happens if it is not here."""
        ticket = self._tickets.pop(card.uid, None)
        if ticket is None:
            return
        if ticket.lane is None:
            ticket.alive = False
            self._no_longer_delayed(card)
            if len(self._delayed) > 2 * self.delayed.total() + 8:
                self._delayed = [entry for entry in self._delayed if entry[2].alive]
                heapify(self._delayed)
        else:
            lane = ticket.lane
            lane.discard(ticket)
            self._head_changed(lane)

    def changed(self, card: Card, now: float) -> None:
        """Take notice of a new priority, group or ``run_after``; nothing happens if the task is not here."""
        if card in self:
            self.discard(card)
            self.add(card, now)

    # ---------------------------------------------------------------------------------------------- choice

    def is_due(self, now: float, where: Where) -> bool:
        """Tell whether a task waits whose time has come; limits and switches may still hold it back."""
        self._refresh(now)
        return bool(self._lanes[where])

    def pick(self, now: float, slots: int, where: Where = Where.POOL) -> list[Card]:
        """Choose the tasks that start now, and charge their limits and locks.

        Returns
        -------
        list of Card
            At most ``slots``, best first. They are pending no longer.
        """
        self._refresh(now)
        picked: list[Card] = []
        while len(picked) < slots:
            lane = self._next(now, where)
            if lane is None:
                break
            picked.append(self._start(lane, now))
        return picked

    def peek(self, now: float, where: Where = Where.POOL) -> Card | None:
        """Return the task that would start next if there were a slot for it."""
        self._refresh(now)
        lane = self._next(now, where)
        return lane.first().card if lane else None

    def adopt(self, card: Card, now: float) -> None:
        """Count a task that runs already, as after a restart, from now on; it takes no token."""
        self._slots.set_time(now)
        self._occupy(card, scope_keys(card.spec), ())
        if card.begun:
            self.begun(card, now)

    def begun(self, card: Card, time: float) -> None:
        """Take notice that the execution of a task has begun."""
        charge = self._running.get(card.uid)
        if charge is not None:
            self._slots.begin(charge.uses, time)

    def release(self, card: Card, now: float, *, used_s: float | None = None, refund: bool = False) -> None:
        """Count a task no longer; ``used_s`` is charged (None: nothing), with ``refund`` tokens return."""
        charge = self._running.pop(card.uid, None)
        if charge is None:
            return
        self._slots.set_time(now)
        self.limits.count_end(charge.scopes)
        self._slots.end(charge.uses, used_s)
        self._keys.changed(charge.uses.user, charge.uses.group)
        if refund:
            for bucket in charge.buckets:
                bucket.give_back()
        if charge.lock is not None and self.limits.locks.get(charge.lock) == card.uid:
            del self.limits.locks[charge.lock]
            for lane in self._locked.pop(charge.lock, {}).values():
                self._file(lane)
        for limit in self.limits.over(charge.scopes):
            if not self.limits.is_full(limit):
                self._reopen(limit)

    def wait_reason(self, card: Card, now: float) -> str:
        """Return why a pending task does not run, in a word of the protocol; empty if it is not here.

        ``paused`` is a task whose scope is switched off and whose state will follow.
        """
        ticket = self._tickets.get(card.uid)
        if ticket is None:
            return ""
        if ticket.lane is None and card.run_after is not None and card.run_after > now:
            return "backoff" if card.attempt else "run_after"
        keys = scope_keys(card.spec)
        if self.switches.any_of(keys):
            return "paused"
        for limit in self.limits.over(keys):
            refusal = self.limits.refusal(limit, now)
            if refusal is not None:
                return refusal
        lock = card.spec.options.resource_lock
        if lock is not None and lock in self.limits.locks:
            return f"resource_lock:{lock}"
        return "slot"

    def ready_by_group(self) -> dict[str, int]:
        """Return how many tasks wait for a slot, by group; those of scopes that are switched off do not."""
        found: dict[str, int] = {}
        for lane in self._all_lanes():
            if not self.switches.any_of(lane.scopes):
                found[lane.key.group] = found.get(lane.key.group, 0) + lane.size
        return found

    def effective_priority(self, card: Card, now: float) -> int:
        """Return the priority of a task with what it has gained by waiting."""
        return self._aging.effective(card, now) if self._aging else card.priority

    def next_wakeup(self, now: float) -> float | None:
        """Return when something may start that could not at the last :meth:`pick`, without any other event.

        Returns
        -------
        float or None
            Epoch seconds: the first ``run_after``, the next token of a limit that holds tasks back, or the
            end of a timed pause.
        """
        while self._delayed and not self._delayed[0][2].alive:
            heappop(self._delayed)
        times = [self._delayed[0][0]] if self._delayed else []
        if self._refills:
            times.append(self._refills[0][0])
        until = self.switches.next_until()
        if until is not None:
            times.append(until)
        return max(min(times), now) if times else None

    def clock_set(self, step_s: float) -> None:
        """Let rates go on as before though the clock was set by ``step_s`` (s)."""
        self.limits.clock_set(step_s)
        self._slots.clock_set(step_s)
        self._refills = [(due + step_s, order, limit) for due, order, limit in self._refills]

    # ----------------------------------------------------------------------------------- places of tasks

    def _all_lanes(self) -> Iterator[Lane]:
        return itertools.chain.from_iterable(lanes.values() for lanes in self._lanes.values())

    def _no_longer_delayed(self, card: Card) -> None:
        self.delayed[card.spec.name] -= 1
        if not self.delayed[card.spec.name]:
            del self.delayed[card.spec.name]

    def _enqueue(self, ticket: Ticket) -> None:
        key = lane_key(ticket.card)
        lanes = self._lanes[key.where]
        lane = lanes.get(key)
        if lane is None:
            lane = lanes[key] = Lane(key, ticket.card)
            self._slots.wait(key.user, key.group, key.priority)
            lane.push(ticket)
            self._file(lane)
        else:
            lane.push(ticket)
            self._head_changed(lane)

    def _head_changed(self, lane: Lane) -> None:
        """Put a lane in its right place after its first task may have become another one."""
        if not lane.size:
            key = lane.key
            del self._lanes[key.where][key]
            self._slots.wait_no_more(key.user, key.group)
            self._keys.lane_ended(key.user, key.group)
            if lane.holder is None:
                self._unlist_locked(lane)
            else:
                self._take_out(lane)
        elif self._aging is not None and lane.holder is not None:
            self._look_at_age(lane)

    def _file(self, lane: Lane) -> None:
        """Put a lane behind the gate of the limits and switches that cover it."""
        limits, off = self.limits.over(lane.scopes), self.switches.any_of(lane.scopes)
        group = lane.key.group if lane.key.group in self.limits.min_slots else None
        # There may be a limit for each of many users: they are not a matter of gates.
        key = lane.key.where, tuple(limit for limit in limits if limit.key[0] is not Scope.USER), off, group
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(*key, keys=self._keys)
        if self._aging is not None:
            lane.level = self._aging.effective(lane.first().card, self._now)
            self._await_step(lane)
        user = lane.key.user
        line = gate.add(lane, is_held=user in self._held_users)
        self._lines_of.setdefault(user, set()).add(line)
        if not gate.closed:
            self._open[gate.where].add(gate)

    def _take_out(self, lane: Lane) -> None:
        """Take a lane from behind its gate."""
        share = lane.holder
        assert isinstance(share, Share)
        line = share.line
        if line.gate.remove(lane):
            lines = self._lines_of[line.user]
            lines.remove(line)
            if not lines:
                del self._lines_of[line.user]

    def _unlist_locked(self, lane: Lane) -> None:
        assert lane.key.lock is not None
        lanes = self._locked[lane.key.lock]
        del lanes[lane.key]
        if not lanes:
            del self._locked[lane.key.lock]

    def _look_at_age(self, lane: Lane) -> None:
        assert self._aging is not None
        if self._aging.effective(lane.first().card, self._now) != lane.level:
            self._take_out(lane)
            self._file(lane)
        else:
            self._await_step(lane)

    def _await_step(self, lane: Lane) -> None:
        """See to it that the lane is looked at when its first task gains a step."""
        assert self._aging is not None
        due = self._aging.next_step(lane.first().card, self._now)
        if due is not None and (lane.next_step is None or due < lane.next_step):
            lane.next_step = due
            heappush(self._steps, (due, next(_order), lane))

    # ---------------------------------------------------------------------------------------------- choice

    def _next(self, now: float, where: Where) -> Lane | None:
        """Return the lane whose first task starts next; whatever holds back a better one is set aside."""
        lanes = self._lanes[where]
        if not lanes:
            return None
        if len(lanes) == 1 and (only := self._only_lane(where)) is not None:
            return only
        groups = self.limits.starving() if self.limits.min_slots else None
        lane = self._admitted(now, where, groups) if groups else None
        return lane or self._admitted(now, where, None)

    def _only_lane(self, where: Where) -> Lane | None:
        """Return the lane of all tasks that wait, as those of a batch do, if nothing can hold it back."""
        (lane,) = self._lanes[where].values()
        share = lane.holder
        if not isinstance(share, Share) or share.line.gate.closed:
            return None
        return None if lane.key.lock is not None or self.limits.over(lane.scopes) else lane

    def _admitted(self, now: float, where: Where, groups: frozenset[str] | None) -> Lane | None:
        while True:
            best: Choice | None = None
            gate = None
            for candidate in self._open[where]:
                choice = candidate.best() if groups is None or candidate.group in groups else None
                if choice is not None and (best is None or choice < best):
                    best, gate = choice, candidate
            if best is None or gate is None:
                return None
            refusing = next((limit for limit in gate.limits if self.limits.refusal(limit, now)), None)
            if refusing is None:
                refusing = self._refusal_of_user(best.lane.key.user, now)
            lock = best.lane.key.lock
            if refusing is not None:
                self._close(refusing, now)
            elif lock is not None and lock in self.limits.locks:
                self._take_out(best.lane)
                self.limits.denials["resource_lock"] += 1
                self._locked.setdefault(lock, {})[best.lane.key] = best.lane
            else:
                return best.lane

    def _refusal_of_user(self, user: str, now: float) -> Limit | None:
        limits = self.limits.over(((Scope.USER, user),))
        return limits[0] if limits and self.limits.refusal(limits[0], now) else None

    def _start(self, lane: Lane, now: float) -> Card:
        ticket = lane.first()
        card = ticket.card
        del self._tickets[card.uid]
        lane.discard(ticket)
        limits = self.limits.over(lane.scopes)
        buckets = tuple(limit.bucket for limit in limits if limit.bucket is not None)
        for bucket in buckets:
            bucket.take(now)
        self._occupy(card, lane.scopes, buckets)
        self._head_changed(lane)
        return card

    def _occupy(self, card: Card, scopes: tuple[ScopeKey, ...], buckets: tuple[TokenBucket, ...]) -> None:
        user, group, lock = card.spec.user, card.spec.group, card.spec.options.resource_lock
        # A group below its minimum starts whatever others have had.
        in_turn = not self.limits.is_starving(group)
        uses = self._slots.start(user, group, card.priority, in_turn=in_turn)
        self._running[card.uid] = _Charge(scopes, buckets, lock, uses)
        self.limits.count_start(scopes)
        if lock is not None:
            self.limits.locks[lock] = card.uid

    # ---------------------------------------------------------------------------------- gates and the time

    def _close(self, limit: Limit, now: float) -> None:
        """Set everything aside that a limit covers."""
        self.limits.count_denial(limit)
        if limit.bucket is not None and not self.limits.is_full(limit):
            heappush(self._refills, (limit.bucket.next_token(now), next(_order), limit))
        scope, name = limit.key
        if scope is Scope.USER:
            self._held_users.add(name)
            for line in self._lines_of[name]:
                line.gate.unfile(line)
            return
        aside = self._closed.setdefault(limit, [])
        for gates in self._open.values():
            covered = [gate for gate in gates if limit in gate.limits]
            for gate in covered:
                gate.closed = True
                gates.remove(gate)
            aside += covered

    def _reopen(self, limit: Limit) -> None:
        """Let everything come back that a limit has set aside; another one may set it aside again."""
        scope, name = limit.key
        if scope is Scope.USER:
            self._reopen_user(name)
            return
        for gate in self._closed.pop(limit, ()):
            gate.closed = False
            self._open[gate.where].add(gate)

    def _reopen_user(self, user: str) -> None:
        self._held_users.discard(user)
        for line in self._lines_of.get(user, ()):
            line.gate.file(line)

    def _look_at_limits(self) -> None:
        """Bring everything up to the present limits and switches."""
        for scope, name in self.limits.changed:
            if scope is Scope.USER:
                self._slots.users.weight_changed(name)
                self._keys.user_changed(name)
                self._reopen_user(name)
            else:
                self._slots.groups.weight_changed(name)
                self._keys.group_changed(name)
        self.limits.changed.clear()
        seen = (self.limits.version, self.switches.version)
        if seen != self._seen:
            self._seen = seen
            self._file_all_anew()

    def _refresh(self, now: float) -> None:
        """Bring everything up to the present time and the present limits and switches."""
        self._now = now
        self._slots.set_time(now)
        self._look_at_limits()
        for _ in range(DUE_PORTION):
            if not self._delayed or self._delayed[0][0] > now:
                break
            ticket = heappop(self._delayed)[2]
            if ticket.alive:
                self._no_longer_delayed(ticket.card)
                self._enqueue(ticket)
        while self._refills and self._refills[0][0] <= now:
            self._reopen(heappop(self._refills)[2])
        while self._steps and self._steps[0][0] <= now:
            due, _, lane = heappop(self._steps)
            if lane.next_step == due:
                lane.next_step = None
                if lane.holder is not None:
                    self._look_at_age(lane)

    def _file_all_anew(self) -> None:
        self._slots.weights_changed()
        for kept in (self._gates, self._closed, self._locked, self._lines_of, self._held_users):
            kept.clear()
        self._refills.clear()
        self._steps.clear()
        for gates in self._open.values():
            gates.clear()
        for lane in self._all_lanes():
            lane.holder = lane.next_step = None
            self._file(lane)
