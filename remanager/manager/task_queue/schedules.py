"""Schedules at work: their occurrences become tasks when their time comes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from remanager.engine.task_queue.changes import Changes
from remanager.engine.task_queue.recurrence import CatchUp, Recurrence
from remanager.engine.task_queue.schedules import Occurrence, Schedule, Schedules
from remanager.engine.task_queue.stored import read_each
from remanager.manager.catalogue import Catalogue
from remanager.manager.items import FUNCTIONS, check_form, prepare
from remanager.manager.ledger import Batch, Ledger
from remanager.manager.ports import Clock
from remanager.manager.state import State, change_uid, new_uid
from remanager.manager.task_queue.restoring import tell_unreadable
from remanager.manager.task_queue.service import TaskQueue
from remanager.model.errors import Busy, InvalidParams, RemanagerError, TooLarge
from remanager.model.states import TaskState, is_terminal
from remanager.model.task_spec import TaskSpec, Where
from remanager.store.store import Store
from remanager.store.task_writes import schedule_delete, schedule_put

logger = logging.getLogger(__name__)

MAX_SCHEDULES = 1000
LONGEST_SLEEP_S = 60.0
"""The wall clock may be set meanwhile, so it is looked at from time to time."""

_OF_ONE_TASK = ("run_after", "parent_uid", "depends_on", "recurring")


@dataclass(frozen=True, slots=True)
class Order:
    """What a schedule submits, and for whom."""

    item: Mapping[str, Any]
    options: Mapping[str, Any]
    user: str
    user_group: str
    principal: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values (JSON)."""
        return {
            "item": dict(self.item),
            "options": dict(self.options),
            "user": self.user,
            "user_group": self.user_group,
            "principal": self.principal,
        }


class ScheduleService:
    """Keeps schedules and submits their occurrences.

    Parameters
    ----------
    queue : TaskQueue
        Where occurrences go.
    catalogue : Catalogue
        Knows what a user group may do.
    store, state, ledger, clock
        As elsewhere in this room.
    """

    def __init__(
        self,
        queue: TaskQueue,
        catalogue: Catalogue,
        *,
        store: Store,
        state: State,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._catalogue = catalogue
        self._store = store
        self._state = state
        self._ledger = ledger
        self._clock = clock
        self._news = asyncio.Event()
        self.all = Schedules()
        queue.recorders.append(self._on_changes)

    # -------------------------------------------------------------------------------- requests

    async def add(self, recurrence: Recurrence, order: Order, catch_up: CatchUp) -> Schedule:
        """Begin a schedule.

        Raises
        ------
        RemanagerError
            What it is to submit would be refused, or there are too many.
        """
        if len(self.all) >= MAX_SCHEDULES:
            raise TooLarge(f"There are {MAX_SCHEDULES} schedules already")
        wrong = [name for name in _OF_ONE_TASK if order.options.get(name)]
        if wrong:
            raise InvalidParams(f"The tasks of a schedule cannot have the options {', '.join(wrong)}")
        await self._queue.need_functions()
        now = self._clock()
        uid = new_uid()
        self._spec(uid, order, now)  # refused here and not when nobody looks
        schedule = Schedule(
            schedule_uid=uid,
            recurrence=recurrence,
            time_created=now,
            task=order.to_dict(),
            catch_up=catch_up,
        )
        try:
            schedule.to_json()
        except (TypeError, ValueError, RecursionError) as exc:
            raise InvalidParams(f"The schedule cannot be written as JSON: {exc}") from exc
        self.all.add(schedule)
        if schedule.is_over:
            self.all.remove(uid)
            raise InvalidParams("The schedule would never be due")
        await self._commit(schedule, "schedule_added")
        return schedule

    async def pause(self, uid: str) -> Schedule:
        """Let no occurrence come until :meth:`resume`.

        Raises
        ------
        NotFound
            There is no such schedule.
        """
        schedule = self.all.get(uid)
        schedule.pause()
        await self._commit(schedule, "schedule_paused")
        return schedule

    async def resume(self, uid: str, catch_up: CatchUp | None) -> Schedule:
        """Go on; ``catch_up`` says what becomes of what was due meanwhile.

        Raises
        ------
        NotFound
            There is no such schedule.
        """
        schedule = self.all.get(uid)
        schedule.resume(self._clock(), catch_up)
        await self._commit(schedule, "schedule_resumed")
        return schedule

    async def cancel(self, uid: str, *, cancel_current: bool) -> Schedule:
        """End a schedule for good, and its present occurrence if that is wanted.

        Raises
        ------
        NotFound
            There is no such schedule.
        """
        schedule = self.all.remove(uid)
        batch = self._ledger.batch()
        batch.write(schedule_delete(uid))
        self._tell(batch, "schedule_cancelled", schedule)
        if cancel_current and schedule.current_task_uid is not None:
            self._queue.scheduler.cancel(
                [schedule.current_task_uid], "its schedule was cancelled", self._clock()
            )
        self._queue.advance(batch)
        await self._ledger.commit(batch)
        return schedule

    def describe(self, schedule: Schedule) -> dict[str, Any]:
        """Return what is told of a schedule."""
        order = Order(**schedule.task)
        in_pool = order.options.get("where", Where.POOL) == Where.POOL
        defaults = self._queue.functions.options_of(order.item["name"]) if in_pool else {}
        return _describe(schedule, order, {**defaults, **order.options})

    def matching(self, wanted: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """Return what is told of the schedules all of whose named values are among the wanted ones."""
        told = map(self.describe, self.all)
        return [row for row in told if all(row[name] in values for name, values in wanted.items())]

    # -------------------------------------------------------------------------------- at work

    def restore(self) -> None:
        """Take up the stored schedules, once the active tasks are known.

        One that cannot be read stays in the store: another installation may be able to.
        """
        now = self._clock()
        batch = self._ledger.batch()
        for row in self._store.reads.tasks.schedules():
            found, faults = read_each([row.body], _stored)
            tell_unreadable("schedule", faults)
            for fault in faults:
                batch.event("schedule_failed", None, schedule_uid=row.schedule_uid, msg=fault)
            for schedule in found:
                self.all.restore(schedule, now)
        for schedule in list(self.all):
            uid = schedule.current_task_uid
            if uid is not None and uid not in self._queue.scheduler.cards:
                ending = self._queue.ending.get(uid)  # the start of the queue has ended it, unseen from here
                state = self._store.reads.task_states([uid]).get(uid) if ending is None else ending.state
                ended = state if state is not None and is_terminal(state) else TaskState.LOST
                schedule.ended(uid, ended, now)
            self._put(batch, schedule)
        self._ledger.commit(batch)

    def clock_set(self, step_s: float) -> None:
        """Keep intervals though the clock was set by ``step_s`` (s); times of day follow the clock."""
        batch = self._ledger.batch()
        for schedule in [s for s in self.all if s.clock_set(step_s)]:
            self._put(batch, schedule)
        self._news.set()
        self._ledger.commit(batch)

    async def run(self) -> None:
        """Submit occurrences when they are due, without an end."""
        self.restore()
        while True:
            self._news.clear()
            due = self.all.next_wakeup()
            wait = LONGEST_SLEEP_S if due is None else max(0.0, min(due - self._clock(), LONGEST_SLEEP_S))
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()
            if any(schedule.is_due(self._clock()) for schedule in self.all):
                with suppress(Busy):  # then each that needs a function says so
                    await self._queue.need_functions()
                await self.submit_due()

    async def submit_due(self) -> None:
        """Submit what is due, all in one transaction with where the schedules are then."""
        now = self._clock()
        batch = self._ledger.batch()
        changed = self.all.due(now)
        for schedule, occurrence in changed:
            if occurrence is None:
                self._tell(batch, "schedule_skipped", schedule)
            else:
                self._submit(batch, schedule, occurrence, now)
            self._put(batch, schedule)
        if changed:
            self._queue.advance(batch)
            await self._ledger.commit(batch)

    def _submit(self, batch: Batch, schedule: Schedule, occurrence: Occurrence, now: float) -> None:
        try:
            order = Order(**occurrence.task)
            spec = self._spec(schedule.schedule_uid, order, now)
            (result,) = self._queue.accept([spec])
            if result.error is not None:
                raise result.error
        except RemanagerError as exc:
            logger.error("An occurrence of the schedule %s is refused: %s", schedule.schedule_uid, exc)
            schedule.ended(None, TaskState.FAILED, now)
            self._tell(batch, "schedule_failed", schedule, msg=str(exc))
            return
        # A duplicate stands for the occurrence.
        assert result.task_uid is not None
        schedule.submitted(result.task_uid)

    def _spec(self, uid: str, order: Order, now: float) -> TaskSpec:
        item = prepare(self._catalogue, check_form(dict(order.item), FUNCTIONS), order.user, order.user_group)
        return self._queue.specs.make(item, order.options, now, schedule_uid=uid, principal=order.principal)

    def _on_changes(self, batch: Batch, changes: Changes, now: float) -> None:
        """Take note of occurrences that have ended, in the same transaction."""
        if not len(self.all):
            return
        current: defaultdict[str | None, list[Schedule]] = defaultdict(list)
        for schedule in self.all:
            current[schedule.current_task_uid].append(schedule)
        for ended in changes.ended:
            # A duplicate may stand for occurrences of several.
            for schedule in current.get(ended.card.uid, ()):
                if schedule.ended(ended.card.uid, ended.state, now):
                    self._put(batch, schedule)

    def _put(self, batch: Batch, schedule: Schedule) -> None:
        """Write a schedule, or forget it if nothing will come any more."""
        if schedule.is_over:
            self.all.remove(schedule.schedule_uid)
            batch.write(schedule_delete(schedule.schedule_uid))
            self._tell(batch, "schedule_ended", schedule)
            return
        body = json.loads(schedule.to_json())
        batch.write(schedule_put(schedule.schedule_uid, schedule.time_created, body))
        self._changed()

    def _tell(self, batch: Batch, event: str, schedule: Schedule, **data: object) -> None:
        name = schedule.task.get("item", {}).get("name")
        batch.event(event, None, schedule_uid=schedule.schedule_uid, task_type=name, **data)
        self._changed()

    def _changed(self) -> None:
        self._state.schedules_uid = change_uid()
        self._ledger.touch()
        self._news.set()

    async def _commit(self, schedule: Schedule, event: str) -> None:
        batch = self._ledger.batch()
        self._tell(batch, event, schedule)
        self._put(batch, schedule)
        await self._ledger.commit(batch)


def _stored(text: str) -> Schedule:
    schedule = Schedule.from_json(text)
    check_form(Order(**schedule.task).item, FUNCTIONS)
    return schedule


def _describe(schedule: Schedule, order: Order, options: Mapping[str, Any]) -> dict[str, Any]:
    recurrence = schedule.recurrence
    return {
        "schedule_uid": schedule.schedule_uid,
        "task_type": order.item["name"],
        "label": options.get("label", ""),
        "domain": options.get("domain", ""),
        "group": options.get("group", ""),
        "user": order.user,
        "user_group": order.user_group,
        "interval_s": recurrence.interval_s,
        "cron": recurrence.cron,
        "timezone": recurrence.timezone if recurrence.cron is not None else None,
        "mode": recurrence.mode.value if recurrence.cron is None else None,
        "catch_up": schedule.catch_up.value,
        "time_created": schedule.time_created,
        "next_run": schedule.next_run,
        "last_run": schedule.last_run,
        "last_state": schedule.last_state,
        "execution_count": schedule.execution_count,
        "max_executions": recurrence.max_executions,
        "remaining": schedule.remaining,
        "skipped_count": schedule.skipped_count,
        "paused": schedule.paused,
        "current_task_uid": schedule.current_task_uid,
        "item": order.item,
        "options": order.options,
    }
