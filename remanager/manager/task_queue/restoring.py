"""Taking up the tasks of the store at the start of the manager."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping
from sys import intern

from remanager.engine.task_queue.card import NO_REASONS, Card, PauseReason, Stage, TaskError
from remanager.engine.task_queue.changes import Outcome, OutcomeKind
from remanager.manager.rows import submission_of
from remanager.manager.task_queue.functions import SETTING as FUNCTIONS
from remanager.manager.task_queue.pool import KIND
from remanager.manager.task_queue.service import KEPT_BODIES, TaskQueue
from remanager.manager.task_queue.switch_record import SWITCHES, TIMED_HOLDS
from remanager.model.begun import Begun
from remanager.model.selector import Location, Selector
from remanager.model.states import TaskState
from remanager.model.task_spec import TaskOptions, TaskSpec
from remanager.store.records import WorkerRow
from remanager.store.store import Store
from remanager.store.task_reads import Tags
from remanager.store.task_rows import TaskRecord

logger = logging.getLogger(__name__)

LIMITS = "task_limits"
GONE = "The worker process was gone when the manager came back"


def card_of(record: TaskRecord, tags: Tags) -> Card:
    """Return the card of a stored active task."""
    assert record.task_number is not None
    error = (
        TaskError(record.error_type, record.msg or "", record.traceback or "") if record.error_type else None
    )
    reasons = json.loads(record.pause_reasons) if record.pause_reasons else ()
    properties = json.loads(record.properties) if record.properties else {}
    return Card(
        spec=spec_of(record, tags),
        number=record.task_number,
        state=record.state,
        priority=record.priority,
        run_after=record.run_after,
        stage=Stage(record.stage) if record.stage else None,
        attempt=record.attempt,
        lease_epoch=record.lease_epoch,
        worker_uid=record.worker_uid,
        time_ready=record.time_ready,
        time_first_start=record.time_first_start,
        time_start=record.time_start,
        time_updated=record.time_updated or 0.0,
        paused_since=record.paused_since,
        paused_s=record.paused_s,
        expires_at=record.expires_at,
        pause_reasons=frozenset(PauseReason(r) for r in reasons) if reasons else NO_REASONS,
        cancel_reason=record.cancel_reason,
        cancel_state=TaskState(record.cancel_state) if record.cancel_state else None,
        rerun=bool(record.rerun),
        failed_child=record.failed_child,
        children_from=properties.get("children_from", 0),
        last_error=error,
    )


def spec_of(record: TaskRecord, tags: Tags) -> TaskSpec:
    """Return what was asked for, as far as it still holds.

    There may be very many: texts that most of them share are there once.
    """
    return TaskSpec(
        task_uid=record.task_uid,
        name=intern(record.name),
        user=intern(record.user),
        user_group=intern(record.user_group),
        body=record.body,
        time_created=record.time_created,
        item_type=intern(record.item_type),
        domain=intern(record.domain),
        group=intern(record.task_group),
        label=record.label,
        key=record.key,
        priority=record.priority,
        tags=tuple((intern(key), intern(value)) for key, value in sorted(tags.items())),
        job_uid=record.job_uid and intern(record.job_uid),
        parent_uid=record.parent_uid,
        schedule_uid=record.schedule_uid,
        origin_uid=record.origin_uid,
        depends_on=tuple(json.loads(record.depends)) if record.depends else (),
        run_after=record.run_after,
        principal=submission_of(record.properties, record.attempt).principal,
        options=TaskOptions.from_json(record.options),
    )


def tell_unreadable(what: str, faults: Iterable[str]) -> None:
    """Log what was stored and is left out."""
    for fault in faults:
        logger.error("A stored %s cannot be read and is left out: %s", what, fault)


def restore(
    queue: TaskQueue,
    store: Store,
    workers: Iterable[WorkerRow],
    now: float,
    *,
    settings: Mapping[str, object],
    environment_uid: str | None = None,
) -> None:
    """Fill the scheduler from the store, and take over the workers of the pool that are still there.

    Parameters
    ----------
    workers : iterable of WorkerRow
        Workers whose processes are alive.
    now : float
        Epoch seconds.
    settings : mapping
        What is stored of settings.
    environment_uid : str or None
        UID of the environment worker that is still there.
    """
    reads = store.reads.tasks
    functions = settings.get(FUNCTIONS)
    if isinstance(functions, dict) and queue.options.modules:
        queue.functions.take(functions["functions"], functions["failures"])
        queue.functions_known.set()
    dispatcher = queue.scheduler.dispatcher
    if isinstance(text := settings.get(SWITCHES), str):
        tell_unreadable("pause", dispatcher.switches.load(text))
        queue.switch_record.adopt()
    if isinstance(text := settings.get(LIMITS), str):
        tell_unreadable("limit", dispatcher.limits.load(text, now))
    bodies = store.reads.pages.count(Selector(location=Location.ACTIVE), now=now) <= KEPT_BODIES
    cards = [card_of(record, tags) for record, tags in reads.active(bodies=bodies)]
    if isinstance(held := settings.get(TIMED_HOLDS), dict):
        for card in cards:
            card.paused_until = held.get(card.uid)
    queue.figures.take_up(cards)
    needed = _prerequisites(cards)
    known = store.reads.task_states(list(needed))
    queue.scheduler.restore(
        cards, {uid: known.get(uid) for uid in needed}, now, next_number=reads.last_number() + 1
    )
    for row in workers:
        if row.kind == KIND:
            queue.pool.adopt(row)
    _hand_back(queue, now, environment_uid)


def _prerequisites(cards: Collection[Card]) -> set[str]:
    active = {c.uid for c in cards}
    return {uid for c in cards for uid in c.spec.depends_on} - active


def _hand_back(queue: TaskQueue, now: float, environment_uid: str | None) -> None:
    """Give running tasks back to their workers; what workers that are gone may have begun is lost."""
    gone: dict[str, Begun] = {}
    for card in list(queue.scheduler.running.values()):
        worker = queue.pool.workers.get(card.worker_uid or "")
        if worker is not None:
            worker.held[card.uid] = card.lease_epoch
            worker.sent.add(card.uid)
            continue
        if card.worker_uid is not None and card.worker_uid == environment_uid:
            continue  # it greets, too
        uid = card.worker_uid or ""
        if uid not in gone:
            gone[uid] = queue.pool.begun_by(uid)
        if gone[uid].may_have(card.uid, card.lease_epoch):
            error = TaskError("WorkerLost", GONE, queue.pool.crash_of(uid))
            start = gone[uid].time_of(card.uid, card.lease_epoch) or card.time_start or now
            outcome = Outcome(OutcomeKind.LOST, start, now, GONE, error)
        else:
            outcome = Outcome(OutcomeKind.RETURNED, now, now, GONE)
        queue.scheduler.finish(card.uid, card.lease_epoch, outcome, now)
