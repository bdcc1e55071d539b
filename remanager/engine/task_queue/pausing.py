"""Holding tasks: one by one, or by the switches of scopes."""

from __future__ import annotations

from collections import deque

from remanager.engine.task_queue.board import Alarm, Board
from remanager.engine.task_queue.card import Card, PauseReason
from remanager.engine.task_queue.queueing import destination, offer_to_finish
from remanager.engine.task_queue.scopes import Scope, scope_keys
from remanager.engine.task_queue.stopping import interrupt
from remanager.model.states import TaskState

_LOOKED_AT = 20


def pause_task(
    board: Board, card: Card, now: float, *, until: float | None, interrupt_it: bool, reason: str
) -> list[str]:
    """Hold one task; return its UID if its execution is interrupted."""
    card.pause_reasons |= {PauseReason.OPERATOR}
    card.paused_until = until
    _set_resume(board, card)
    board.touch(card, now)
    if card.state is TaskState.PENDING:
        board.move(card, TaskState.PAUSED, now, reason or "paused")
    elif card.state is TaskState.WAITING_CHILDREN:
        board.dispatcher.discard(card)
    elif card.state is TaskState.RUNNING and interrupt_it:
        return [card.uid] if interrupt(board, card, TaskState.PAUSED, reason or "paused", now) else []
    return []


def resume_task(board: Board, card: Card, now: float, own: PauseReason, reason: str) -> bool:
    """Take away a reason for holding a task; return whether it is there."""
    if own not in card.pause_reasons:
        return False
    card.pause_reasons -= {own}
    if own is PauseReason.OPERATOR:
        card.paused_until = None
        _set_resume(board, card)
    else:
        board.preempted.pop(card.uid, None)
    board.touch(card, now)
    if card.state is TaskState.PAUSED:
        settle_one(board, card, now, reason)
    elif card.state is TaskState.WAITING_CHILDREN and card.finishing:
        offer_to_finish(board, card, now)
    return True


def pause_scope(
    board: Board,
    scope: Scope,
    name: str,
    now: float,
    *,
    until: float | None,
    interrupt_them: bool,
    reason: str,
) -> list[str]:
    """Switch a scope off; return the UIDs of the executions that are interrupted.

    It takes effect at once; the state of the tasks follows with :func:`settle`.
    """
    board.dispatcher.switches.set(scope, name, now=now, until=until, reason=reason)
    look_at_all(board)
    if not interrupt_them:
        return []
    text = reason or "paused"
    covered = [card for card in board.running.values() if (scope, name) in scope_keys(card.spec)]
    return [card.uid for card in covered if interrupt(board, card, TaskState.PAUSED, text, now)]


def resume_scope(board: Board, scope: Scope, name: str) -> bool:
    """Switch a scope on; return whether it was off."""
    if board.dispatcher.switches.clear(scope, name) is None:
        return False
    look_at_all(board)
    return True


def look_at_all(board: Board) -> None:
    """Let :func:`settle` go over all tasks (again)."""
    board.unsettled = deque(board.cards.values())


def settle(board: Board, now: float, limit: int) -> bool:
    """Let the state of at most ``limit`` tasks follow the switches; True if there is more to do."""
    moved = 0
    for _ in range(min(len(board.unsettled), _LOOKED_AT * limit)):
        if moved >= limit:
            break
        card = board.unsettled.popleft()
        if board.cards.get(card.uid) is card:
            moved += settle_one(board, card, now, "")
    return bool(board.unsettled)


def settle_one(board: Board, card: Card, now: float, reason: str) -> bool:
    """Let the state of one task follow the switches; return whether anything changed."""
    if card.state not in (TaskState.PENDING, TaskState.PAUSED):
        return False
    before = card.pause_reasons
    state = destination(board, card)
    if state is not card.state:
        words = ", ".join(sorted(card.pause_reasons if state is TaskState.PAUSED else before))
        text = f"held: {words}" if state is TaskState.PAUSED else f"no longer held: {words}"
        board.move(card, state, now, reason or text)
        return True
    if card.pause_reasons != before:
        board.touch(card, now)
        return True
    return False


def _set_resume(board: Board, card: Card) -> None:
    key = (card.uid, Alarm.RESUME)
    if card.paused_until is None:
        board.timers.drop(key)
    else:
        board.timers.set(key, card.paused_until)
