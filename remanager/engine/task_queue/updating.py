"""Changing an active task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from remanager.engine.task_queue.board import QUEUED, Alarm, Board
from remanager.engine.task_queue.card import Card
from remanager.engine.task_queue.dispatching import arm_timeout
from remanager.engine.task_queue.pausing import settle_one
from remanager.engine.task_queue.queueing import set_expiry
from remanager.model.errors import InvalidParams
from remanager.model.states import TaskState

_OF_SPEC = frozenset(("group", "tags", "label"))
_OF_OPTIONS = frozenset(("ttl_s", "timeout_s"))
_ALL = _OF_SPEC | _OF_OPTIONS | {"priority", "run_after", "max_retries"}


def update(board: Board, card: Card, now: float, changes: Mapping[str, Any]) -> None:
    """Change what may be changed of a task.

    Raises
    ------
    InvalidParams
        A name is none of these, or a running task is to be delayed.
    """
    unknown = sorted(changes.keys() - _ALL)
    if unknown:
        raise InvalidParams(f"Of an active task this can't be changed: {', '.join(unknown)}")
    if "run_after" in changes and card.state not in QUEUED:
        raise InvalidParams(f"A task in the state '{card.state}' can't be delayed")
    _change_spec(card, changes)
    if "priority" in changes:
        card.priority = changes["priority"]
    if "run_after" in changes:
        card.run_after = changes["run_after"]
    if "ttl_s" in changes:
        set_expiry(card)
        board.timers.drop((card.uid, Alarm.EXPIRY))
        if card.expires_at is not None and card.state in QUEUED:
            board.timers.set((card.uid, Alarm.EXPIRY), card.expires_at)
    board.touch(card, now)
    _tell_dispatcher(board, card, now, group="group" in changes)
    if card.state is TaskState.RUNNING and "timeout_s" in changes:
        arm_timeout(board, card)


def _change_spec(card: Card, changes: Mapping[str, Any]) -> None:
    options = card.spec.options
    if "max_retries" in changes:
        options = replace(options, retry=replace(options.retry, max_retries=changes["max_retries"]))
    options = replace(options, **{k: v for k, v in changes.items() if k in _OF_OPTIONS})
    plain = {k: v for k, v in changes.items() if k in _OF_SPEC}
    card.spec = replace(card.spec, options=options, **plain)


def _tell_dispatcher(board: Board, card: Card, now: float, *, group: bool) -> None:
    board.dispatcher.changed(card, now)
    if not group:
        return
    if card.state is TaskState.RUNNING:  # it counts for the limits of its new group
        used_s = now - card.time_start if card.begun and card.time_start is not None else 0.0
        board.dispatcher.release(card, now, used_s=used_s if used_s > 0 else None)
        board.dispatcher.adopt(card, now)
    settle_one(board, card, now, "")
