"""Where a task that does not run belongs: blocked, paused or pending."""

from __future__ import annotations

from remanager.engine.task_queue.board import FINAL_STOPS, Board
from remanager.engine.task_queue.card import NO_REASONS, Card, PauseReason, Stage, TaskError
from remanager.model.states import TaskState
from remanager.model.task_spec import TtlOrigin

OWN_REASONS = frozenset((PauseReason.OPERATOR, PauseReason.PREEMPTED))
"""Reasons that belong to one task; all others come from switches."""


def destination(board: Board, card: Card) -> TaskState:
    """Return the state in which a task waits now; its pause reasons are brought up to date."""
    reasons = board.dispatcher.switches.covering(card)
    if card.pause_reasons:
        reasons |= card.pause_reasons & OWN_REASONS
    card.pause_reasons = reasons or NO_REASONS
    if card.unmet:
        return TaskState.BLOCKED
    return TaskState.PAUSED if card.pause_reasons else TaskState.PENDING


def enqueue(
    board: Board, card: Card, now: float, reason: str, *, error: TaskError | None = None, outcome: str = ""
) -> None:
    """Let a task wait for its next start; ``outcome`` is that of its last one."""
    board.move(card, destination(board, card), now, reason, error=error, outcome=outcome)
    if PauseReason.PREEMPTED in card.pause_reasons:
        board.preempted[card.uid] = card
    forget_execution(card)


def forget_execution(card: Card) -> None:
    """Clear what belongs to an execution that has ended."""
    card.worker_uid = None
    card.cancel_reason = ""
    card.cancel_state = None


def begin_anew(board: Board, card: Card) -> None:
    """Let the next execution of a task be the first one of the run that a duplicate asked for."""
    card.rerun = False
    card.attempt = 0
    board.changes.begun_anew.append(card)


def set_expiry(card: Card) -> None:
    """Compute until when a task must have started: None if there is no such time (yet)."""
    ttl = card.spec.options.ttl_s
    if ttl is None:
        card.expires_at = None
    elif card.spec.options.ttl_from is TtlOrigin.SUBMISSION:
        card.expires_at = card.spec.time_created + ttl
    else:
        card.expires_at = None if card.time_first_start is None else card.time_first_start + ttl


def offer_to_finish(board: Board, card: Card, now: float) -> None:
    """Let a parent whose children have ended be handed over once more, when there is a place for it."""
    card.finishing = True
    card.stage = Stage.FINISHING
    board.touch(card, now)
    if not card.pause_reasons & OWN_REASONS and card not in board.dispatcher:
        board.dispatcher.add(card, now)


def is_stopping_for_good(card: Card) -> bool:
    """Tell whether a running task was told to end, whatever comes."""
    return card.cancel_state in FINAL_STOPS
