"""Taking up the active tasks again after a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from remanager.engine.task_queue.board import Alarm, Board
from remanager.engine.task_queue.card import NOTHING_UNMET, Card, PauseReason, Stage
from remanager.engine.task_queue.consequences import follow_up, is_met
from remanager.engine.task_queue.dispatching import arm_timeout
from remanager.engine.task_queue.pausing import look_at_all
from remanager.engine.task_queue.queueing import enqueue, offer_to_finish
from remanager.model.states import TaskState, is_terminal


def restore(
    board: Board, cards: Iterable[Card], prerequisites: Mapping[str, TaskState | None], now: float
) -> None:
    """Put stored tasks on an empty board.

    What a task waits for is computed anew. A prerequisite that is neither active nor known was forgotten
    after it had ended: had it failed a waiting task, that would have ended with it.
    """
    by_uid = {card.uid: card for card in cards}
    board.cards.update(by_uid)
    for card in by_uid.values():
        board.next_number = max(board.next_number, card.number + 1)
        card.open_children = 0
        card.finishing = card.stage is Stage.FINISHING
        card.unmet = _unmet(card, by_uid, prerequisites)
    for card in by_uid.values():
        board.index(card)
    for key, uids in board.leaving.items():
        holder = board.holders.get(key)
        if holder is not None and holder.state is TaskState.BLOCKED:
            holder.unmet |= uids
            board.index_needs(holder)
    for card in sorted(by_uid.values(), key=lambda c: c.number):
        _take_up(board, card, prerequisites, now)
    follow_up(board, now)
    look_at_all(board)


def _unmet(
    card: Card, active: Mapping[str, Card], prerequisites: Mapping[str, TaskState | None]
) -> frozenset[str]:
    if card.state is not TaskState.BLOCKED:
        return NOTHING_UNMET
    states = {uid: prerequisites.get(uid) for uid in card.spec.depends_on}
    return frozenset(
        uid
        for uid, state in states.items()
        if uid in active or (state is not None and not is_terminal(state))
    )


def _take_up(board: Board, card: Card, prerequisites: Mapping[str, TaskState | None], now: float) -> None:
    board.enter(card, now)
    if card.paused_until is not None:
        board.timers.set((card.uid, Alarm.RESUME), card.paused_until)
    if PauseReason.PREEMPTED in card.pause_reasons and card.state is TaskState.PAUSED:
        board.preempted[card.uid] = card
    match card.state:
        case TaskState.BLOCKED:
            _unblock(board, card, prerequisites, now)
        case TaskState.WAITING_CHILDREN if not card.open_children:
            offer_to_finish(board, card, now)
        case TaskState.RUNNING:
            card.begun = card.stage is Stage.EXECUTING
            board.dispatcher.adopt(card, now)
            arm_timeout(board, card)
            if card.cancel_state not in (None, TaskState.PAUSED):  # the worker is told when it greets
                board.timers.set((card.uid, Alarm.KILL), now + card.spec.options.kill_after_s)


def _unblock(board: Board, card: Card, prerequisites: Mapping[str, TaskState | None], now: float) -> None:
    for uid in card.spec.depends_on:
        state = prerequisites.get(uid)
        if uid not in board.cards and state is not None and is_terminal(state) and not is_met(card, state):
            board.fail_for_prerequisite(card, uid, state, now)
            return
    if not card.unmet:
        enqueue(board, card, now, "what it waited for has ended")
