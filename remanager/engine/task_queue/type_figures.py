"""Figures of the task queue, in all and by type of task: counts, rates, durations, errors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from remanager.engine.histogram import Histogram
from remanager.engine.windows import Windows
from remanager.model.states import STATE_CLASS, StateClass, TaskState

MAX_TYPES = 500
"""Types with figures of their own; all others are counted as :data:`OTHER`."""

MAX_ERRORS = 50
"""Kinds of errors of a type with counts of their own; the one not seen for longest makes room."""

MAX_ERROR_CHARS = 200

OTHER = "(other)"

PER_MINUTE = ("started", "finished", "succeeded", "failed", "timed_out", "retried", "items", "bytes")
"""What is counted by minute."""

COUNTERS = (
    *("submitted", "dispatched", "completed", "failed", "retried", "dead_lettered", "cancelled", "expired"),
    *("superseded", "preempted", "timed_out", "lost", "dependency_failed", "rate_limited"),
)
"""What is counted since the start and since ever, beside the reasons for which a start was held back."""

_LATENCY = "latency_us"  # sum of the known times by minute
_LATENCIES = "latencies"  # and their number

_COUNTER_OF = {
    TaskState.FAILED: "failed",
    TaskState.DEAD_LETTER: "dead_lettered",
    TaskState.DEPENDENCY_FAILED: "dependency_failed",
    TaskState.TIMED_OUT: "timed_out",
    TaskState.LOST: "lost",
    TaskState.EXPIRED: "expired",
    TaskState.SUPERSEDED: "superseded",
}


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """How often one kind of error came."""

    error: str
    count: int
    share: float
    last_time: float | None


class ErrorCounts:
    """Errors by kind, bounded.

    Attributes
    ----------
    total : int
        All errors.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, float]] = {}  # the one seen last is last
        self.total = 0

    def add(self, kind: str, now: float) -> None:
        """Count an error."""
        kind = kind[:MAX_ERROR_CHARS]
        count, _ = self._kinds.pop(kind, (0, now))
        self._kinds[kind] = (count + 1, now)
        self.total += 1
        if len(self._kinds) > MAX_ERRORS:
            del self._kinds[next(iter(self._kinds))]

    def list(self) -> tuple[ErrorKind, ...]:
        """Return the kinds, most frequent first; what has made room comes last, without a time."""
        kinds = [ErrorKind(k, n, n / self.total, last) for k, (n, last) in self._kinds.items()]
        kinds.sort(key=lambda kind: (-kind.count, kind.error))
        left = self.total - sum(kind.count for kind in kinds)
        return (*kinds, ErrorKind(OTHER, left, left / self.total, None)) if left else tuple(kinds)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"kinds": [[kind, *row] for kind, row in self._kinds.items()], "total": self.total}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ErrorCounts:
        """Read what :meth:`to_dict` has made."""
        made = cls()
        made._kinds = {kind: (count, last) for kind, count, last in data["kinds"]}
        made.total = data["total"]
        return made


class Durations:
    """Distributions of the times of tasks.

    Attributes
    ----------
    latency : Histogram
        From the submission to the end.
    queue_wait : Histogram
        From when a task could first have started to its first start.
    duration : Histogram
        Of the last execution.
    """

    __slots__ = ("duration", "latency", "queue_wait")

    def __init__(self) -> None:
        self.latency = Histogram()
        self.queue_wait = Histogram()
        self.duration = Histogram()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {name: getattr(self, name).to_dict() for name in self.__slots__}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Durations:
        """Read what :meth:`to_dict` has made."""
        made = cls()
        for name in cls.__slots__:
            setattr(made, name, Histogram.from_dict(data[name]))
        return made


class TypeFigures:
    """All figures; ``task_type`` None stands for all types together.

    Attributes
    ----------
    since_start, since_ever : Counter
        Counts by name (:data:`COUNTERS`, or ``gate_denied:REASON``).
    """

    def __init__(self) -> None:
        self.since_start: Counter[str] = Counter()
        self.since_ever: Counter[str] = Counter()
        self._windows = Windows()
        self._durations: dict[str | None, Durations] = {None: Durations()}
        self._errors: dict[str | None, ErrorCounts] = {None: ErrorCounts()}

    def count(self, name: str, task_type: str, now: float, n: int = 1) -> None:
        """Count what happened to a task: a counter, a figure by minute, or both.

        Starts and ends are counted by :meth:`started` and :meth:`ended`.
        """
        if name in COUNTERS:
            self.since_start[name] += n
            self.since_ever[name] += n
        if name in PER_MINUTE:
            self._windows.add(name, n, now, task_type=self._known(task_type))

    def denied(self, reason: str, n: int = 1) -> None:
        """Count starts that were held back; ``reason`` comes from a fixed set."""
        self.since_start[f"gate_denied:{reason}"] += n
        self.since_ever[f"gate_denied:{reason}"] += n

    def started(self, task_type: str, now: float, queue_wait_s: float | None) -> None:
        """Count a hand-over to a worker; ``queue_wait_s`` is given for the first one of a task."""
        self.count("dispatched", task_type, now)
        self.count("started", task_type, now)
        if queue_wait_s is not None:
            for durations in self._both(task_type):
                durations.queue_wait.add(queue_wait_s)

    def ended(
        self,
        task_type: str,
        state: TaskState,
        now: float,
        *,
        latency_s: float | None,
        duration_s: float | None,
    ) -> None:
        """Count the end of a task; ``duration_s`` is None if it never ran, either one if it is not known."""
        kind = STATE_CLASS[state]
        self.count("finished", task_type, now)
        if latency_s is not None:
            known = self._known(task_type)
            self._windows.add(_LATENCY, round(max(latency_s, 0.0) * 1e6), now, task_type=known)
            self._windows.add(_LATENCIES, 1, now, task_type=known)
        if kind is StateClass.SUCCESS:
            self.count("completed", task_type, now)
            self.count("succeeded", task_type, now)
        elif kind is StateClass.CANCELLED:
            self.count("cancelled", task_type, now)
        else:
            self._not_succeeded(task_type, state, now)
        for durations in self._both(task_type):
            if latency_s is not None:
                durations.latency.add(latency_s)
            if duration_s is not None:
                durations.duration.add(duration_s)

    def error(self, task_type: str, kind: str, now: float) -> None:
        """Count a failed execution by the kind of its error."""
        for key in (None, self._known(task_type)):
            self._errors.setdefault(key, ErrorCounts()).add(kind, now)

    # --------------------------------------------------------------------------------------------- reading

    def task_types(self) -> list[str]:
        """Return the types with figures, sorted."""
        named = {t for t in (*self._durations, *self._errors) if t is not None}
        return sorted(named.union(self._windows.task_types()))

    def per_minute(self, now: float, task_type: str | None = None) -> dict[str, list[int]]:
        """Return the counts of the last 20 minutes, oldest first, the last one not over yet."""
        return {name: self._windows.slots(name, now, task_type=task_type) for name in PER_MINUTE}

    def minute(self, back: int, now: float, task_type: str | None = None) -> dict[str, float]:
        """Return the figures of a minute: counts, and ``latency_ms`` and ``error_rate`` where known.

        Parameters
        ----------
        back : int
            0 for the minute that is not over yet, 1 for the one before, up to 19.
        """
        slot = -1 - back
        found: dict[str, float] = {n: counts[slot] for n, counts in self.per_minute(now, task_type).items()}
        ended = self._windows.slots(_LATENCIES, now, task_type=task_type)[slot]
        if ended:
            total = self._windows.slots(_LATENCY, now, task_type=task_type)[slot]
            found["latency_ms"] = total / ended / 1e3
        if both := found["failed"] + found["succeeded"]:
            found["error_rate"] = found["failed"] / both
        return found

    def total(self, name: str, task_type: str | None = None) -> int:
        """Return how often one of :data:`PER_MINUTE` was counted, since ever."""
        return self._windows.total(name, task_type=task_type)

    def throughput_per_s(self, seconds: float, now: float, task_type: str | None = None) -> float:
        """Return the successes per second of the last ``seconds``."""
        return self._windows.rate("succeeded", seconds, now, task_type=task_type)

    def error_rate(self, seconds: float, now: float, task_type: str | None = None) -> float:
        """Return failures by failures and successes of the last ``seconds``; 0 without any.

        What was cancelled, expired or was superseded is neither.
        """
        failed = self._windows.rate("failed", seconds, now, task_type=task_type)
        both = failed + self._windows.rate("succeeded", seconds, now, task_type=task_type)
        return failed / both if both else 0.0

    def latency_s(self, seconds: float, now: float, task_type: str | None = None) -> float | None:
        """Return the mean time from submission to end of what ended lately; None if nothing did."""
        ended = self._windows.rate(_LATENCIES, seconds, now, task_type=task_type)
        total = self._windows.rate(_LATENCY, seconds, now, task_type=task_type)
        return total / ended / 1e6 if ended else None

    def durations(self, task_type: str | None = None) -> Durations:
        """Return the distributions of times; empty ones for a type without figures."""
        return self._durations.get(task_type) or Durations()

    def expected_s(self, task_type: str) -> float | None:
        """Return how long an execution is expected to take, s: the median; None without any."""
        return self.durations(task_type).duration.percentiles([50])[0]

    def errors(self, task_type: str | None = None) -> ErrorCounts:
        """Return the errors by kind; an empty list for a type without errors."""
        return self._errors.get(task_type) or ErrorCounts()

    # -------------------------------------------------------------------------------------------- storing

    def to_json(self) -> str:
        """Return everything but the counts since the start as JSON text."""
        return json.dumps(
            {
                "since_ever": self.since_ever,
                "windows": self._windows.to_list(),
                "durations": [[key, value.to_dict()] for key, value in self._durations.items()],
                "errors": [[key, value.to_dict()] for key, value in self._errors.items()],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> TypeFigures:
        """Read what :meth:`to_json` has made: a new start with the counts of before."""
        data = json.loads(text)
        made = cls()
        made.since_ever.update(data["since_ever"])
        made._windows = Windows.from_list(data["windows"])
        made._durations.update((key, Durations.from_dict(value)) for key, value in data["durations"])
        made._errors.update((key, ErrorCounts.from_dict(value)) for key, value in data["errors"])
        return made

    def _not_succeeded(self, task_type: str, state: TaskState, now: float) -> None:
        name = _COUNTER_OF[state]
        self.since_start[name] += 1
        self.since_ever[name] += 1
        known = self._known(task_type)
        if STATE_CLASS[state] is StateClass.FAILURE:
            self._windows.add("failed", 1, now, task_type=known)
        if state is TaskState.TIMED_OUT:
            self._windows.add("timed_out", 1, now, task_type=known)

    def _known(self, task_type: str) -> str:
        """Return the name under which a type is counted."""
        if task_type not in self._durations:
            if len(self._durations) > MAX_TYPES:
                return OTHER
            self._durations[task_type] = Durations()
        return task_type

    def _both(self, task_type: str) -> Iterable[Durations]:
        known = self._known(task_type)
        own = self._durations.get(known)
        if own is None:  # what makes up for the types that are too many
            own = self._durations[known] = Durations()
        return self._durations[None], own
