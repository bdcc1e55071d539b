"""What is due: expiry, time-outs, the end of patience, timed resumes."""

from __future__ import annotations

from remanager.engine.task_queue.board import QUEUED, Alarm, Board
from remanager.engine.task_queue.card import Card, PauseReason
from remanager.engine.task_queue.consequences import follow_up
from remanager.engine.task_queue.dispatching import late_reason, look
from remanager.engine.task_queue.pausing import resume_scope, resume_task
from remanager.engine.task_queue.stopping import interrupt, kill, stop
from remanager.model.states import TaskState

PORTION = 1000
"""At most so many alarms are handled at once; the others are due at once again."""


def tick(board: Board, now: float) -> None:
    """Do what is due."""
    for uid, alarm in board.timers.pop_due(now, PORTION):
        card = board.cards.get(uid)
        if card is not None:
            _ring(board, card, alarm, now)
            follow_up(board, now)
    for switch in board.dispatcher.switches.due(now):
        resume_scope(board, switch.scope, switch.name)


def _ring(board: Board, card: Card, alarm: Alarm, now: float) -> None:
    match alarm:
        case Alarm.EXPIRY:
            if card.state in QUEUED:
                stop(board, card, TaskState.EXPIRED, late_reason(card), now)
        case Alarm.TIMEOUT if not card.begun:
            look(board, card, now)
        case Alarm.TIMEOUT:
            limit = card.spec.options.timeout_s
            interrupt(board, card, TaskState.TIMED_OUT, f"took longer than {limit:g} s", now)
        case Alarm.KILL:
            kill(board, card, now)
        case Alarm.RESUME:
            resume_task(board, card, now, PauseReason.OPERATOR, "resumed at the time set")
