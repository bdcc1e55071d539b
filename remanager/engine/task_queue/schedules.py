"""Schedules: tasks that are submitted again and again.

A schedule is an object of its own with a fixed UID. Each occurrence is a task; whatever becomes of it, the
schedule goes on. An occurrence that is due while the one before it has not ended is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from remanager.engine.task_queue.recurrence import CatchUp, Recurrence, RecurrenceMode
from remanager.model.errors import Conflict, NotFound
from remanager.model.states import TaskState


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A task that a schedule wants to be submitted now.

    Attributes
    ----------
    number : int
        1 for the first one.
    time_due : float
        When it should have come, epoch seconds.
    """

    schedule_uid: str
    number: int
    time_due: float
    task: dict[str, Any]


@dataclass(slots=True, kw_only=True, eq=False)
class Schedule:
    """A schedule and how far it is. Only its methods change it. Times are epoch seconds.

    Attributes
    ----------
    task : dict
        What to submit (JSON values); nothing here looks into it.
    next_run : float or None
        None: not until the present occurrence has ended, or never again.
    current_task_uid : str or None
        Occurrence that has not ended.
    skipped_count : int
        Occurrences that were due and left out.
    """

    schedule_uid: str
    recurrence: Recurrence
    time_created: float
    task: dict[str, Any] = field(default_factory=dict)
    catch_up: CatchUp = CatchUp.NONE
    next_run: float | None = None
    last_run: float | None = None
    last_state: TaskState | None = None
    execution_count: int = 0
    skipped_count: int = 0
    paused: bool = False
    current_task_uid: str | None = None

    @property
    def remaining(self) -> int | None:
        """Occurrences that are left; None: no end."""
        most = self.recurrence.max_executions
        return None if most is None else max(most - self.execution_count, 0)

    @property
    def is_over(self) -> bool:
        """Whether nothing will come any more."""
        return self.current_task_uid is None and (
            self.remaining == 0 or (self.next_run is None and self.recurrence.cron is not None)
        )

    @property
    def _after_completion(self) -> bool:
        by_interval = self.recurrence.interval_s is not None
        return by_interval and self.recurrence.mode is RecurrenceMode.AFTER_COMPLETION

    def begin(self) -> None:
        """Set the time of the first occurrence."""
        self.next_run = self.recurrence.first(self.time_created)

    def is_due(self, now: float) -> bool:
        """Tell whether its time has come."""
        return not self.paused and self.next_run is not None and self.next_run <= now

    def due(self, now: float) -> Occurrence | None:
        """Return the occurrence of now and go on to the next time; None if none is due or it is skipped.

        The UID of its task is to be told by :meth:`submitted`, or that there is none by :meth:`ended`.
        """
        if not self.is_due(now) or self.next_run is None:
            return None
        time_due = self.next_run
        missed = 1 if self._after_completion else self.recurrence.missed(time_due, now)
        if self.current_task_uid is not None:
            self.skipped_count += missed
            self._go_on(now)
            return None
        self.skipped_count += missed - 1
        self.execution_count += 1
        self.last_run = now
        if self.remaining == 0 or self._after_completion:
            self.next_run = None
        else:
            self._go_on(now)
        return Occurrence(self.schedule_uid, self.execution_count, time_due, self.task)

    def submitted(self, task_uid: str) -> None:
        """Take note of the task of the present occurrence."""
        self.current_task_uid = task_uid

    def ended(self, task_uid: str | None, state: TaskState, now: float) -> bool:
        """Take note that an occurrence has ended, in whatever state.

        ``task_uid`` None: it could not be submitted. Returns False, and changes nothing, for a task that is
        not the present occurrence.
        """
        if task_uid != self.current_task_uid:
            return False
        self.current_task_uid = None
        self.last_state = state
        if self._after_completion and self.remaining != 0:
            assert self.recurrence.interval_s is not None
            self.next_run = now + self.recurrence.interval_s
        return True

    def pause(self) -> None:
        """Let no occurrence come until :meth:`resume`."""
        self.paused = True

    def resume(self, now: float, catch_up: CatchUp | None = None) -> None:
        """Go on after a pause; ``catch_up`` says what becomes of what was due, by default as ever."""
        self.paused = False
        self.catch_up_on(now, catch_up)

    def catch_up_on(self, now: float, catch_up: CatchUp | None = None) -> None:
        """Deal with what was due while the schedule could not run (a pause, or the daemon was down)."""
        if self.paused or self.next_run is None or self.next_run > now:
            return
        if (catch_up or self.catch_up) is CatchUp.ONE:
            return  # it is due now, and what else was missed is skipped with it
        if self._after_completion:
            assert self.recurrence.interval_s is not None
            self.skipped_count += 1
            self.next_run = now + self.recurrence.interval_s
        else:
            self.skipped_count += self.recurrence.missed(self.next_run, now)
            self._go_on(now)

    def clock_set(self, step_s: float) -> bool:
        """Keep the interval though the clock was set by ``step_s`` (s); return False if nothing changes."""
        if self.next_run is None or self.recurrence.interval_s is None:
            return False
        self.next_run += step_s
        return True

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """Read what :meth:`to_json` has made."""
        data = json.loads(text)
        state = data["last_state"]
        made = {
            "recurrence": Recurrence.from_dict(data["recurrence"]),
            "catch_up": CatchUp(data["catch_up"]),
            "last_state": None if state is None else TaskState(state),
        }
        return cls(**{**data, **made})

    def _go_on(self, now: float) -> None:
        self.next_run = self.recurrence.after(self.time_created, now)


class Schedules:
    """All schedules, by UID."""

    def __init__(self) -> None:
        self._schedules: dict[str, Schedule] = {}

    def __len__(self) -> int:
        return len(self._schedules)

    def __iter__(self) -> Iterator[Schedule]:
        return iter(self._schedules.values())

    def add(self, schedule: Schedule) -> None:
        """Take a new schedule in.

        Raises
        ------
        Conflict
            Its UID is taken.
        """
        if schedule.schedule_uid in self._schedules:
            raise Conflict(f"Schedule '{schedule.schedule_uid}' exists already")
        schedule.begin()
        self._schedules[schedule.schedule_uid] = schedule

    def restore(self, schedule: Schedule, now: float) -> None:
        """Take a stored schedule in, at the start of the daemon."""
        schedule.catch_up_on(now)
        self._schedules[schedule.schedule_uid] = schedule

    def get(self, schedule_uid: str) -> Schedule:
        """Return a schedule.

        Raises
        ------
        NotFound
            There is none with this UID.
        """
        try:
            return self._schedules[schedule_uid]
        except KeyError:
            raise NotFound(f"Schedule '{schedule_uid}' is not found") from None

    def remove(self, schedule_uid: str) -> Schedule:
        """End a schedule for good and return it; its present occurrence is left alone.

        Raises
        ------
        NotFound
            There is none with this UID.
        """
        schedule = self.get(schedule_uid)
        del self._schedules[schedule_uid]
        return schedule

    def due(self, now: float) -> list[tuple[Schedule, Occurrence | None]]:
        """Return the schedules that change now, with the occurrence to submit; None: it was skipped."""
        return [(schedule, schedule.due(now)) for schedule in self if schedule.is_due(now)]

    def next_wakeup(self) -> float | None:
        """Return when the next schedule is due, epoch seconds."""
        return min((s.next_run for s in self if s.next_run is not None and not s.paused), default=None)
