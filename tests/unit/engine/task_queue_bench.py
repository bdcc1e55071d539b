"""A scheduler with a clock, workers, and a copy of what would be stored, for its tests."""

from __future__ import annotations

import copy
import gc
import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from remanager.engine.task_queue.card import NOTHING_UNMET, Card, TaskError
from remanager.engine.task_queue.changes import (
    Changes,
    Ended,
    Interrupt,
    InterruptKind,
    Outcome,
    OutcomeKind,
    Transition,
)
from remanager.engine.task_queue.dispatcher import Dispatcher
from remanager.engine.task_queue.scheduler import TaskScheduler
from remanager.engine.task_queue.submission import Submitted
from remanager.engine.transitions import is_allowed
from remanager.model.states import TaskState, is_terminal
from remanager.model.task_spec import RetryPolicy, RetryStrategy, TaskOptions, TaskSpec

BOOM = TaskError("ValueError", "boom")


def spec(uid: str, *, options: TaskOptions | None = None, max_retries: int = 0, **fields: Any) -> TaskSpec:
    """Return a specification; further keywords go to the options or to the specification."""
    of_options = {k: fields.pop(k) for k in list(fields) if k in TaskOptions.__slots__}
    fields.setdefault("name", "work")
    fields.setdefault("time_created", 0.0)
    if max_retries:
        of_options["retry"] = RetryPolicy(max_retries=max_retries, strategy=RetryStrategy.CONSTANT)
    return TaskSpec(
        task_uid=uid,
        user="ann",
        user_group="primary",
        body="{}",
        options=options or TaskOptions(**of_options),
        **fields,
    )


def calls_of(action: Callable[[], object]) -> int:
    """Return how many functions, of Python or C, an action calls; a collection of garbage may call others."""
    calls = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    return calls


class Bench:
    """Drives a scheduler and checks all that must hold, whatever happens.

    Attributes
    ----------
    stored : dict
        State by UID, as replayed from the transitions.
    held : dict
        Lease epoch by UID of what workers hold.
    failed_children, children_from : dict
        First failed child, and the number of the first child that counts, by UID of the parent, as stored.
    """

    def __init__(self, **settings: Any) -> None:
        self.now = 1000.0
        self.settings: dict[str, Any] = {"max_active": 1000, **settings}
        self.scheduler = self._new_scheduler()
        self.specs: dict[str, TaskSpec] = {}
        self.stored: dict[str, TaskState] = {}
        self.ended: dict[str, Ended] = {}
        self.log: list[Transition] = []
        self.interrupts: list[Interrupt] = []
        self.held: dict[str, int] = {}
        self.epochs: dict[str, int] = {}
        self.starts: list[str] = []
        self.failed_children: dict[str, str | None] = {}
        self.children_from: dict[str, int] = {}

    def _new_scheduler(self) -> TaskScheduler:
        return TaskScheduler(Dispatcher(), rng=random.Random(1), **self.settings)

    # --------------------------------------------------------------------------------------------- commands

    def submit(self, *specs: TaskSpec, atomic: bool = True) -> list[Submitted]:
        """Submit tasks now."""
        needed = {uid for s in specs for uid in (*s.depends_on, s.parent_uid) if uid is not None}
        known = {u: self.stored[u] for u in needed if u in self.stored and u not in self.scheduler.cards}
        answers = self.scheduler.submit(specs, self.now, known, atomic=atomic)
        self.specs |= {s.task_uid: s for s in specs}
        self.take()
        return answers

    def dispatch(self, places: int = 10) -> list[str]:
        """Hand over; return the UIDs."""
        self.scheduler.dispatch(self.now, {"w1": places})
        return [card.uid for card in self.take().starts]

    def run(self, *specs: TaskSpec) -> None:
        """Submit tasks and hand them over (before others only if their priority is better)."""
        self.submit(*specs)
        started = self.dispatch(len(specs))
        assert sorted(started) == sorted(s.task_uid for s in specs)
        for uid in started:
            assert self.scheduler.started(uid, self.held[uid], self.now)
        self.take()

    def finish(self, uid: str, kind: OutcomeKind = OutcomeKind.COMPLETED, **fields: Any) -> None:
        """Let the worker report the end of an execution."""
        if kind in (OutcomeKind.ERROR, OutcomeKind.PERMANENT):
            fields.setdefault("error", BOOM)
        outcome = Outcome(kind, fields.pop("time_start", self.now), self.now, **fields)
        assert self.scheduler.finish(uid, self.held.pop(uid), outcome, self.now)
        self.take()

    def cancel(self, *uids: str, **options: Any) -> Any:
        """Cancel tasks."""
        result = self.scheduler.cancel(uids, "no longer needed", self.now, **options)
        self.take()
        return result

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.now += seconds
        self.scheduler.tick(self.now)
        self.settle()

    def settle(self) -> None:
        """Let all states follow the switches."""
        while self.scheduler.settle(self.now, 3):
            pass
        self.take()

    def restart(self, change: Callable[[Card], None] = lambda card: None) -> Changes:
        """Begin with a new scheduler and what is stored of the active tasks; return what that changed."""
        cards = [stored_copy(card) for card in self.scheduler.cards.values()]
        for card in cards:
            card.failed_child = self.failed_children[card.uid]
            card.children_from = self.children_from.get(card.uid, 0)
            change(card)
        number = max((c.number for c in cards), default=0) + 1000
        needed = {uid for c in cards for uid in c.spec.depends_on} - self.scheduler.cards.keys()
        states = {uid: self.stored.get(uid) for uid in needed}
        switches = self.scheduler.dispatcher.switches.to_json()
        preempt_at = self.scheduler.preempt_at
        self.scheduler = self._new_scheduler()
        self.scheduler.preempt_at = preempt_at
        self.scheduler.dispatcher.switches.load(switches)
        self.scheduler.restore(cards, states, self.now, next_number=number)
        return self.take()

    # ----------------------------------------------------------------------------------------------- looking

    def card(self, uid: str) -> Card:
        """Return an active task."""
        return self.scheduler.cards[uid]

    def state(self, uid: str) -> TaskState:
        """Return the stored state, which is that of the card if there is one."""
        return self.stored[uid]

    def reason(self, uid: str) -> str:
        """Return the reason of the last transition of a task."""
        return [t.reason for t in self.log if t.task_uid == uid][-1]

    def interrupted(self) -> list[tuple[str, InterruptKind]]:
        """Return (and forget) what workers were told to stop."""
        told = [(i.task_uid, i.kind) for i in self.interrupts]
        self.interrupts.clear()
        return told

    # ---------------------------------------------------------------------------------------------- checking

    def take(self) -> Changes:
        """Take the changes, and store them as the manager does."""
        changes = self.scheduler.take_changes()
        new = {card.uid for card in changes.inserted}
        gone = {ended.card.uid for ended in changes.ended}
        assert not new & self.stored.keys(), "inserted twice"
        assert not changes.updated.keys() & (new | gone), "updated besides"
        assert len(gone) == len(changes.ended), "two terminal records"
        assert not gone & self.ended.keys(), "two terminal records"
        numbers = [card.number for card in changes.inserted]
        assert numbers == sorted(numbers)
        for transition in changes.transitions:
            self._replay(transition)
        assert {t.task_uid for t in changes.transitions} <= new | gone | changes.updated.keys()
        for ended in changes.ended:
            assert self.stored[ended.card.uid] is ended.state is ended.card.state
            assert is_terminal(ended.state)
            self.ended[ended.card.uid] = ended
        for card in [*changes.inserted, *changes.updated.values()]:
            self.failed_children[card.uid] = card.failed_child
        for card in changes.parted:
            self.children_from[card.uid] = card.children_from
        for card in changes.starts:
            self._check_start(card)
        self.interrupts += changes.interrupts
        for order in changes.interrupts:
            assert self.held.get(order.task_uid) == order.lease_epoch, "interrupt of what no worker holds"
        self.check()
        return changes

    def _replay(self, transition: Transition) -> None:
        uid = transition.task_uid
        assert self.stored.get(uid) is transition.old, transition
        if transition.old is transition.new:
            assert transition.new is TaskState.RUNNING
            assert transition.stage is not None
        else:
            assert is_allowed(transition.old, transition.new), transition
        self.stored[uid] = transition.new
        self.log.append(transition)

    def _check_start(self, card: Card) -> None:
        uid = card.uid
        assert uid not in self.held, "runs twice at once"
        assert card.lease_epoch > self.epochs.get(uid, 0), "the epoch did not grow"
        assert card.attempt >= 1
        assert self.stored[uid] is TaskState.RUNNING
        self.held[uid] = self.epochs[uid] = card.lease_epoch
        self.starts.append(uid)

    def check(self) -> None:
        """Check that cards, stored states and workers agree."""
        cards = self.scheduler.cards
        active = {uid: state for uid, state in self.stored.items() if not is_terminal(state)}
        assert {uid: card.state for uid, card in cards.items()} == active
        assert self.stored.keys() - active.keys() == self.ended.keys()
        running = {uid for uid, state in active.items() if state is TaskState.RUNNING}
        assert running == self.scheduler.running.keys() == self.held.keys()


def stored_copy(card: Card) -> Card:
    """Return a card as it is read again after a restart: what the scheduler computes anew is missing."""
    again = copy.copy(card)
    again.unmet = NOTHING_UNMET
    again.open_children = 0
    again.finishing = False
    return again
