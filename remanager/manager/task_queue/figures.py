"""The figures of the task queue: fed with everything that changes and with the reports of running tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

from remanager.engine.task_queue.board import QUEUED
from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.changes import Changes, Ended, OutcomeKind, Transition
from remanager.engine.task_queue.limits import Limits
from remanager.engine.task_queue.preemption import PREEMPTED
from remanager.engine.task_queue.type_figures import TypeFigures
from remanager.manager.statistics import error_kind
from remanager.model.states import STATE_CLASS, StateClass, TaskState, is_terminal

T = TypeVar("T", bound=Hashable)

_NO_FAULT = (StateClass.CANCELLED, StateClass.DROPPED)
_MOST = 1 << 62


class QueueFigures:
    """Counts what the scheduler changes.

    Parameters
    ----------
    figures : TypeFigures
        Where it is counted.
    limits : Limits
        Know what was held back.

    Attributes
    ----------
    figures : TypeFigures
        As given.
    live : Counter of TaskState
        Number of active tasks of the task queue by state.
    """

    def __init__(self, figures: TypeFigures, limits: Limits) -> None:
        self.figures = figures
        self.live: Counter[TaskState] = Counter()
        self._limits = limits
        self._denials: Counter[str] = Counter()
        self._done: dict[str, tuple[int, int]] = {}

    def take_up(self, cards: Iterable[Card]) -> None:
        """Count the active tasks that a former manager has left."""
        self.live.update(card.state for card in cards)

    def depths(self) -> dict[str, int]:
        """Return how many tasks of the task queue wait, run, and are held now."""
        running = self.live[TaskState.RUNNING] + self.live[TaskState.WAITING_CHILDREN]
        queued = self.live.total() - running
        return {"queued": queued, "unacked": running, "held": self.live[TaskState.PAUSED]}

    def observe(self, changes: Changes, now: float) -> None:
        """Count what has changed."""
        for name, number in _tally([card.spec.name for card in changes.inserted]).items():
            self.figures.count("submitted", name, now, number)
        for card in changes.starts:
            first = card.lease_epoch == 1 and card.time_ready is not None
            waited = max(now - (card.time_ready or now), 0.0) if first else None
            self.figures.started(card.spec.name, now, waited)
        for ended in changes.ended:
            self._ended(ended, now)
        for (old, new), number in _tally([(t.old, t.new) for t in changes.transitions]).items():
            if old is not None:
                self.live[old] -= number
            if not is_terminal(new):
                self.live[new] += number
        stopped = [
            t for t in changes.transitions if t.old is TaskState.RUNNING and t.new is not TaskState.COMPLETED
        ]
        if stopped:
            cards = _cards(changes)
            for change in stopped:
                self._stopped(cards[change.task_uid], change, now)

    def report(self, card: Card, report: Mapping[str, Any], now: float) -> None:
        """Count what a running task has got done since its last report; work that is repeated counts once."""
        before = self._done.get(card.uid, (0, 0))
        done = (
            max(_number(report.get("done_count")), before[0]),
            max(_number(report.get("done_size")), before[1]),
        )
        for name, new, old in zip(("items", "bytes"), done, before, strict=True):
            if new > old:
                self.figures.count(name, card.spec.name, now, new - old)
        self._done[card.uid] = done

    def expected_s(self, task_type: str) -> float | None:
        """Return how long tasks of a type take, s; None if it is not known."""
        return self.figures.expected_s(task_type)

    def count_denials(self, now: float) -> None:
        """Count what limits have held back since the last call."""
        for reason, number in (self._limits.denials - self._denials).items():
            self.figures.denied(reason, number)
            if reason == "rate_limit":
                self.figures.count("rate_limited", "", now, number)
        self._denials = self._limits.denials.copy()

    def _ended(self, ended: Ended, now: float) -> None:
        card, outcome = ended.card, ended.outcome
        self._done.pop(card.uid, None)
        ran = outcome is not None and outcome.kind is not OutcomeKind.RETURNED
        self.figures.ended(
            card.spec.name,
            ended.state,
            now,
            latency_s=max(ended.time_stop - card.spec.time_created, 0.0),
            duration_s=max(outcome.time_stop - outcome.time_start, 0.0) if ran and outcome else None,
        )

    def _stopped(self, card: Card, change: Transition, now: float) -> None:
        """Count an execution that ended without success."""
        name = card.spec.name
        if change.new is TaskState.PAUSED and change.reason.startswith(PREEMPTED):
            self.figures.count("preempted", name, now)
        if change.error is None or STATE_CLASS[change.new] in _NO_FAULT:
            return
        text = f"{change.error.type}: {error_kind(change.error.msg)}".removesuffix(": ")
        self.figures.error(name, text, now)
        if change.new in QUEUED and change.attempt:  # without an attempt it begins anew for a duplicate
            self.figures.count("retried", name, now)


def _cards(changes: Changes) -> dict[str, Card]:
    return (
        {card.uid: card for card in changes.inserted}
        | changes.updated
        | {e.card.uid: e.card for e in changes.ended}
    )


def _tally(values: list[T]) -> dict[T, int]:
    """Count values; most often there is a single one."""
    return {values[0]: 1} if len(values) == 1 else Counter(values)


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
        return 0
    return int(value)
