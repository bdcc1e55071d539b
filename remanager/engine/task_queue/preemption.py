"""Interrupting the least urgent running task for an urgent one that finds no place."""

from __future__ import annotations

from remanager.engine.task_queue.board import Board
from remanager.engine.task_queue.card import Card, PauseReason, Stage
from remanager.engine.task_queue.pausing import resume_task
from remanager.engine.task_queue.stopping import interrupt
from remanager.model.states import TaskState
from remanager.model.task_spec import Where

PREEMPTED = "preempted by"
"""How the reason begins for which such a task is stopped."""


def preempt(board: Board, threshold: int, now: float, where: Where) -> None:
    """Interrupt a running task for one of effective priority up to ``threshold``, one at a time."""
    urgent = board.dispatcher.peek(now, where)
    if urgent is None or board.dispatcher.effective_priority(urgent, now) > threshold:
        return
    running = [card for card in board.running.values() if card.spec.options.where is where]
    if any(PauseReason.PREEMPTED in card.pause_reasons for card in running):
        return
    victims = [card for card in running if _may_be_preempted(board, card, threshold, now)]
    if not victims:
        return
    victim = max(victims, key=lambda card: (board.dispatcher.effective_priority(card, now), card.number))
    if interrupt(board, victim, TaskState.PAUSED, f"{PREEMPTED} {urgent.uid}", now):
        victim.pause_reasons |= {PauseReason.PREEMPTED}


def resume_preempted(board: Board, threshold: int | None, now: float, where: Where) -> bool:
    """Let preempted tasks go on once no urgent one waits; return whether there were any."""
    waiting = [card for card in board.preempted.values() if card.spec.options.where is where]
    if not waiting:
        return False
    if threshold is not None:
        first = board.dispatcher.peek(now, where)
        if first is not None and board.dispatcher.effective_priority(first, now) <= threshold:
            return False
    for card in waiting:
        resume_task(board, card, now, PauseReason.PREEMPTED, "no urgent task waits any more")
    return True


def _may_be_preempted(board: Board, card: Card, threshold: int, now: float) -> bool:
    idle = card.cancel_state is None and card.stage is not Stage.FINISHING
    return idle and board.dispatcher.effective_priority(card, now) > threshold
