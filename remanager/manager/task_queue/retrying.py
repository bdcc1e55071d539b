"""Submitting ended tasks anew, and changing active ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from remanager.engine.task_queue.submission import Submitted
from remanager.manager.catalogue import Catalogue
from remanager.manager.items import prepare
from remanager.manager.ledger import Ledger
from remanager.manager.ports import Clock
from remanager.manager.task_queue.portions import MAX_SELECTED, portions
from remanager.manager.task_queue.questions import TaskQuestions
from remanager.manager.task_queue.restoring import spec_of
from remanager.manager.task_queue.rows import edit
from remanager.manager.task_queue.service import TaskQueue
from remanager.model.errors import Conflict, NotFound, RemanagerError
from remanager.model.principal import asked_by
from remanager.model.selector import Location, Selector
from remanager.model.states import STATE_CLASS, StateClass, TaskState
from remanager.model.task_spec import DuplicatePolicy, TaskSpec, Where
from remanager.store.reads import Reads
from remanager.store.store import Store
from remanager.store.task_reads import Tags
from remanager.store.task_rows import TaskRecord
from remanager.store.task_writes import tags_set, tasks_edit, tasks_retried


@dataclass(slots=True)
class Retried:
    """What became of tasks that were to be retried.

    Attributes
    ----------
    resubmitted : dict of str to str
        UIDs of the new tasks by those of the old ones.
    skipped : dict of str to str
        Why the others were not.
    not_found : set of str
        Those of them that are not known.
    """

    resubmitted: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    not_found: set[str] = field(default_factory=set)


class Retries:
    """Submits ended tasks anew.

    Parameters
    ----------
    queue : TaskQueue
        Where they go.
    questions : TaskQuestions
        Finds what a selector speaks of.
    catalogue : Catalogue
        Knows what a user group may do now.
    store, ledger, clock
        As elsewhere in this room.
    """

    def __init__(
        self,
        queue: TaskQueue,
        questions: TaskQuestions,
        catalogue: Catalogue,
        *,
        store: Store,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._questions = questions
        self._catalogue = catalogue
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._one_by_one = asyncio.Lock()  # the next request sees what this one has retried

    async def select(self, selector: Selector) -> list[str]:
        """Return the UIDs of selected ended tasks, oldest first; without a state, those that failed."""
        if selector.location is Location.ACTIVE:
            return []
        kinds = selector.state_class
        if kinds is None and selector.state is None:
            kinds = (StateClass.FAILURE,)
        ended = replace(selector, location=Location.HISTORY, state_class=kinds)
        return [uid for uid, _ in await self._questions.uids(ended, MAX_SELECTED)]

    async def retry(self, uids: Sequence[str], *, reset_attempts: bool, again: bool = False) -> Retried:
        """Submit tasks anew, each with a new UID and the old one as ``origin_uid``, a portion at a time.

        Parameters
        ----------
        reset_attempts : bool
            They may be retried as often as at first; else as often as was left.
        again : bool
            Also those that were submitted anew before.
        """
        told = Retried()
        await self._queue.need_functions()
        await self._ledger.flush()
        async with self._one_by_one:
            for portion in portions(list(dict.fromkeys(uids))):
                found = await self._store.read_heavy(partial(_read, portion))
                if not again:
                    found = _leave_out_retried(found, told)
                wanted = [uid for uid in portion if uid not in told.skipped]
                await self._resubmit(wanted, found, told, reset_attempts=reset_attempts)
        return told

    async def _resubmit(
        self,
        uids: Sequence[str],
        found: Mapping[str, tuple[TaskRecord, Tags]],
        told: Retried,
        *,
        reset_attempts: bool,
    ) -> None:
        specs: dict[str, TaskSpec] = {}
        renamed = dict(told.resubmitted)
        for uid in uids:
            try:
                spec = self._again(uid, found.get(uid), reset_attempts=reset_attempts)
            except RemanagerError as exc:
                told.skipped[uid] = str(exc)
                if uid not in found:
                    told.not_found.add(uid)
                continue
            newer = self._newer(spec, told)
            if newer is None:
                specs[uid] = spec
            else:
                told.skipped[uid] = f"The task {newer} has its key"
            renamed[uid] = newer or spec.task_uid
        needs = {need for spec in specs.values() for need in spec.depends_on}
        known = {*self._store.reads.task_states(list(needs)), *self._queue.scheduler.cards}
        ready = [_with_needs(spec, renamed, known) for spec in specs.values()]
        results = self._queue.accept(ready, atomic=False)
        done: dict[str, str] = {}
        for uid, spec, result in zip(specs, ready, results, strict=True):
            why = _why_not(spec, result)
            if why:
                told.skipped[uid] = why
            else:
                done[uid] = spec.task_uid
        told.resubmitted |= done
        batch = self._ledger.batch()
        self._queue.advance(batch)
        if done:
            batch.write(tasks_retried(done))
        await self._ledger.commit(batch)

    def _again(self, uid: str, found: tuple[TaskRecord, Tags] | None, *, reset_attempts: bool) -> TaskSpec:
        """Return what is submitted in place of an ended task.

        Raises
        ------
        RemanagerError
            Nothing is.
        """
        if found is None:
            raise NotFound("It is not known")
        record, tags = found
        kind = STATE_CLASS[record.state]
        if record.task_number is None:
            raise Conflict(f"It is a {record.item_type} that was not submitted to the task queue")
        if kind is StateClass.ACTIVE:
            raise Conflict("It has not ended")
        if kind is StateClass.SUCCESS:
            raise Conflict("It has succeeded")
        old = spec_of(record, tags)
        item = prepare(self._catalogue, json.loads(record.body), old.user, old.user_group)
        if old.options.where is not Where.ENVIRONMENT:
            self._queue.functions.get(old.name).check(item.get("args", ()), item.get("kwargs", {}))
        options = old.options
        if not reset_attempts:
            left = max(options.retry.max_retries - record.attempt, 0)
            options = replace(options, retry=replace(options.retry, max_retries=left))
        parent = old.parent_uid if old.parent_uid in self._queue.scheduler.cards else None
        return replace(
            old,
            task_uid=item["item_uid"],
            body=json.dumps(item),
            time_created=self._clock(),
            run_after=None,
            parent_uid=parent,
            origin_uid=uid,
            principal=asked_by.get(),
            options=options,
        )

    def _newer(self, spec: TaskSpec, told: Retried) -> str | None:
        """Return the UID of newer work, an active task with the key: it would be replaced, or run once more.

        Of tasks that are retried together, the newest one takes the place of the others where it supersedes.
        """
        holder = self._queue.scheduler.holder(spec.name, spec.key) if spec.key else None
        if holder is None:
            return None
        is_retried_too = told.resubmitted.get(holder.spec.origin_uid or "") == holder.uid
        replaces = is_retried_too and spec.options.on_duplicate is DuplicatePolicy.SUPERSEDE
        return None if replaces else holder.uid


class Edits:
    """Changes active tasks.

    Parameters
    ----------
    queue : TaskQueue
        Whose tasks they are.
    store, ledger, clock
        As elsewhere in this room.
    """

    def __init__(self, queue: TaskQueue, store: Store, ledger: Ledger, clock: Clock) -> None:
        self._queue = queue
        self._store = store
        self._ledger = ledger
        self._clock = clock

    async def update(self, uid: str, changes: Mapping[str, Any]) -> None:
        """Change an active task; names as of :meth:`TaskScheduler.update`.

        Raises
        ------
        NotFound, Conflict, InvalidParams
            It is not known, has ended, is not of the task queue, or can't be changed so.
        """
        scheduler = self._queue.scheduler
        if uid not in scheduler.cards:
            await self._ledger.flush()
            state = self._store.reads.task_states([uid]).get(uid)
            raise _no_task(uid, state)
        values = dict(changes)
        if "tags" in values:
            values["tags"] = tuple(sorted(values["tags"].items()))
        card = scheduler.update(uid, self._clock(), **values)
        batch = self._ledger.batch()
        batch.write(tasks_edit([edit(card)]))
        if "tags" in values:
            batch.write(*tags_set(uid, values["tags"]))
        batch.event("task_updated", uid, changes=dict(changes))
        self._queue.advance(batch)
        await self._ledger.commit(batch)


def _no_task(uid: str, state: TaskState | None) -> RemanagerError:
    if state is None:
        return NotFound(f"The task '{uid}' is not known")
    if STATE_CLASS[state] is StateClass.ACTIVE:
        return Conflict(f"'{uid}' is not of the task queue. Items of the plan queue: 'queue_item_update'")
    return Conflict(f"The task '{uid}' has ended")


def _read(uids: Sequence[str], reads: Reads) -> dict[str, tuple[TaskRecord, Tags]]:
    records = {uid: record for uid in uids if (record := reads.tasks.record(uid)) is not None}
    tags = reads.tasks.tags([record.id for record in records.values()])
    return {uid: (record, tags.get(record.id, {})) for uid, record in records.items()}


def _leave_out_retried(
    found: Mapping[str, tuple[TaskRecord, Tags]], told: Retried
) -> dict[str, tuple[TaskRecord, Tags]]:
    """Return those that were not submitted anew yet; tell of the others."""
    left = dict(found)
    for uid, (record, _) in found.items():
        new = json.loads(record.properties).get("retried_as") if record.properties else None
        if new is not None:
            told.skipped[uid] = f"It was retried as {new} already: 'again' retries it once more"
            del left[uid]
    return left


def _with_needs(spec: TaskSpec, renamed: Mapping[str, str], known: set[str]) -> TaskSpec:
    """Let a task need what is retried with it; what is forgotten ended long ago."""
    needs = (renamed.get(uid, uid if uid in known else None) for uid in spec.depends_on)
    return replace(spec, depends_on=tuple(need for need in needs if need is not None))


def _why_not(spec: TaskSpec, result: Submitted) -> str:
    if result.error is not None:
        return str(result.error)
    if result.task_uid != spec.task_uid:
        return f"The task {result.existing_uid} has its key ({result.outcome})"
    return ""
