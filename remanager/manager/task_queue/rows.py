"""What the scheduler changed, as writes and journal events of a transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from operator import attrgetter

from remanager.engine.task_queue.card import Card, Stage
from remanager.engine.task_queue.changes import Changes, Ended, Transition
from remanager.manager.ledger import Batch, name_principal
from remanager.manager.rows import properties_text
from remanager.manager.task_queue.progress_board import ProgressBoard
from remanager.model.states import STATE_CLASS, StateClass, TaskState, is_terminal
from remanager.model.task_spec import DEFAULT_OPTIONS, TaskSpec
from remanager.store.records import JournalEvent
from remanager.store.task_rows import TaskEdit, TaskEnd, TaskInsert, TaskUpdate, log_line
from remanager.store.task_writes import checkpoint_put, tasks_end, tasks_insert, tasks_parted, tasks_update

_SELECTED_BY = ("domain", "group", "key", "job_uid", "parent_uid", "schedule_uid")
"""What an event tells of its task, where the task has it, beside type, user, label and tags."""

_INSERTED_AS = {s: TaskState.PENDING.value if is_terminal(s) else s.value for s in TaskState}
"""What ended within the command that submitted it gets its terminal record next."""

_about = attrgetter("name", "user", "label", "tags", "principal", *_SELECTED_BY)


def write(batch: Batch, changes: Changes, retention_s: float, progress: ProgressBoard) -> None:
    """Add everything that changed to a transaction.

    Parameters
    ----------
    retention_s : float
        How long return values are kept, s.
    progress : ProgressBoard
        Knows how far the tasks came that end.
    """
    logs, reasons = _logs(changes.transitions)
    cards = (
        {c.uid: c for c in changes.inserted} | changes.updated | {e.card.uid: e.card for e in changes.ended}
    )
    batch.write(*tasks_insert([_insert(c, logs, reasons) for c in changes.inserted]))
    if changes.updated:
        batch.write(tasks_update([_update(c, logs, reasons) for c in changes.updated.values()]))
    if changes.ended:
        new = {c.uid for c in changes.inserted}
        batch.write(
            tasks_end(
                [
                    _end(e, "" if e.card.uid in new else logs.get(e.card.uid, ""), retention_s, progress)
                    for e in changes.ended
                ]
            )
        )
    batch.write(*(checkpoint_put(c.uid, c.lease_epoch, None) for c in changes.begun_anew))
    if changes.parted:
        batch.write(tasks_parted({c.uid: c.children_from for c in changes.parted}))
    batch.events += _events(changes.transitions, cards)


def edit(card: Card) -> TaskEdit:
    """Return what a person may change of an active task, as it is now."""
    spec = card.spec
    return {
        "task_uid": card.uid,
        "task_group": spec.group,
        "label": spec.label,
        "options": _options(spec),
        "time_updated": card.time_updated,
    }


def _options(spec: TaskSpec) -> str | None:
    return None if spec.options is DEFAULT_OPTIONS else spec.options.to_json()


def _logs(transitions: Iterable[Transition]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the new lines of the logs, and the last reasons, by UID; those of a batch have the same line."""
    logs: dict[str, str] = {}
    reasons: dict[str, str] = {}
    made: dict[tuple[object, ...], str] = {}
    for t in transitions:
        uid = t.task_uid
        same = (t.time, t.old, t.new, t.attempt, t.reason, t.worker_uid, t.error, t.stage, t.outcome)
        line = made.get(same)
        if line is None:
            error = (t.error.type, t.error.msg) if t.error else None
            stage = None if t.stage is Stage.PREPARING else t.stage
            said = (t.time, t.old, t.new, t.attempt, t.reason, t.worker_uid, error)
            line = made[same] = log_line(*said, stage=stage, outcome=t.outcome)
        logs[uid] = logs[uid] + line if uid in logs else line
        if t.reason or uid in reasons:
            reasons[uid] = t.reason
    return logs, reasons


def _events(transitions: Iterable[Transition], cards: Mapping[str, Card]) -> list[JournalEvent]:
    """Return the journal events of changes; those that say the same share their data.

    They are made here and not by the transaction, which asks for time and principal with each.
    """
    made: dict[tuple[object, ...], tuple[str, dict[str, object]]] = {}
    events: list[JournalEvent] = []
    for t in transitions:
        card = cards.get(t.task_uid)
        about = None if card is None else _about(card.spec)
        same = (t.old, t.new, t.attempt, t.reason, t.worker_uid, t.stage, t.outcome, about)
        found = made.get(same)
        if found is None:
            found = made[same] = (_kind(t), _data(t, card))
        kind, data = found
        events.append(JournalEvent(kind, t.time, t.task_uid, data))
    return events


def _kind(change: Transition) -> str:
    """Return the type of the event of a change."""
    if change.old is None:
        return "task_submitted"
    if is_terminal(change.new):
        return "task_finished"
    begins = change.new is TaskState.RUNNING and change.old is not change.new
    return "task_started" if begins else "task_changed"


def _data(change: Transition, card: Card | None) -> dict[str, object]:
    """Return what the event of a change says."""
    data: dict[str, object] = {"from": change.old, "to": change.new, "attempt": change.attempt}
    if card is not None:
        data |= {"task_type": card.spec.name, "user": card.spec.user}
        if card.spec.label:
            data["label"] = card.spec.label
        if card.spec.tags:
            data["tags"] = dict(card.spec.tags)
        for name in _SELECTED_BY:
            if value := getattr(card.spec, name):
                data[name] = value
    if change.reason:
        data["reason"] = change.reason[:500]
    if change.worker_uid:
        data["worker_uid"] = change.worker_uid
    if change.stage is not None and change.old is change.new:
        data["stage"] = change.stage.value
    if change.outcome:
        data["outcome"] = change.outcome
    if change.old is None and card is not None and card.spec.principal is not None:
        data["principal"] = card.spec.principal  # of a child or an occurrence no request is the cause
    else:
        name_principal(data)
    return data


def _reasons(card: Card) -> str | None:
    return json.dumps(sorted(r.value for r in card.pause_reasons)) if card.pause_reasons else None


def _insert(card: Card, logs: Mapping[str, str], reasons: Mapping[str, str]) -> TaskInsert:
    spec, uid, state = card.spec, card.uid, card.state
    row: TaskInsert = {
        "task_uid": uid,
        "task_number": card.number,
        "item_type": spec.item_type,
        "name": spec.name,
        "state": _INSERTED_AS[state],
        "user": spec.user,
        "user_group": spec.user_group,
        "priority": card.priority,
        "attempt": card.attempt,
        "job_uid": spec.job_uid,
        "time_created": spec.time_created,
        "time_ready": card.time_ready,
        "time_updated": card.time_updated,
        "run_after": card.run_after,
        "properties": properties_text(spec.principal),
        "log": logs.get(uid, ""),
        "body": spec.body,
    }
    # Most tasks have little of this, and what a row has not costs nothing.
    if spec.options is not DEFAULT_OPTIONS:
        row["options"] = _options(spec)
    if spec.domain:
        row["domain"] = spec.domain
    if spec.group:
        row["task_group"] = spec.group
    if spec.label:
        row["label"] = spec.label
    if spec.key:
        row["key"] = spec.key
    if spec.tags:
        row["tags"] = spec.tags
    if spec.depends_on:
        row["depends_on"] = spec.depends_on
    waits = state is TaskState.PENDING and not card.lease_epoch
    family = spec.origin_uid or spec.parent_uid or spec.schedule_uid or card.failed_child
    if waits and not (family or card.pause_reasons or card.expires_at is not None or reasons.get(uid)):
        return row
    return {
        **row,
        "stage": card.stage.value if card.stage else None,
        "lease_epoch": card.lease_epoch,
        "worker_uid": card.worker_uid,
        "origin_uid": spec.origin_uid,
        "parent_uid": spec.parent_uid,
        "schedule_uid": spec.schedule_uid,
        "time_first_start": card.time_first_start,
        "time_start": card.time_start,
        "expires_at": card.expires_at,
        "paused_since": card.paused_since,
        "pause_reasons": _reasons(card),
        "failed_child": card.failed_child,
        "state_reason": reasons.get(uid, ""),
    }


def _update(card: Card, logs: Mapping[str, str], reasons: Mapping[str, str]) -> TaskUpdate:
    uid, error = card.uid, card.last_error
    return {
        "task_uid": uid,
        "state": card.state.value,
        "stage": card.stage.value if card.stage else None,
        "priority": card.priority,
        "attempt": card.attempt,
        "lease_epoch": card.lease_epoch,
        "worker_uid": card.worker_uid,
        "run_after": card.run_after,
        "expires_at": card.expires_at,
        "time_ready": card.time_ready,
        "time_first_start": card.time_first_start,
        "time_start": card.time_start,
        "time_updated": card.time_updated,
        "paused_since": card.paused_since,
        "paused_s": card.paused_s,
        "pause_reasons": _reasons(card),
        "cancel_reason": card.cancel_reason,
        "cancel_state": card.cancel_state.value if card.cancel_state else None,
        "rerun": int(card.rerun),
        "failed_child": card.failed_child,
        "state_reason": reasons.get(uid, ""),
        "error_type": error.type if error else None,
        "msg": error.msg if error else None,
        "traceback": error.traceback if error else None,
        "log": logs.get(uid, ""),
    }


def _end(ended: Ended, log: str, retention_s: float, progress: ProgressBoard) -> TaskEnd:
    card, outcome = ended.card, ended.outcome
    success = STATE_CLASS[ended.state] is StateClass.SUCCESS
    error = None if success else card.last_error
    told, io = progress.last_words(card, ended.time_stop, succeeded=success)
    payload = outcome.payload if outcome is not None and success else None
    return {
        "task_uid": card.uid,
        "lease_epoch": card.lease_epoch,
        "state": ended.state.value,
        "attempt": card.attempt,
        "time_start": outcome.time_start if outcome is not None else card.time_start,
        "time_stop": ended.time_stop,
        "paused_s": card.paused_s,
        "cancel_reason": card.cancel_reason,
        "success": int(success),
        "state_reason": ended.reason,
        "error_type": error.type if error else None,
        "msg": error.msg if error else ("" if success else ended.reason),
        "traceback": error.traceback if error else None,
        "return_codec": outcome.codec if payload is not None and outcome is not None else None,
        "return_value": payload,
        "result_expires": None if payload is None else ended.time_stop + retention_s,
        "progress": told,
        "actual_io": io,
        "log": log,
    }
