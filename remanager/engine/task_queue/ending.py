"""What becomes of a task when an execution of it ends."""

from __future__ import annotations

from remanager.engine.task_queue.backoff import retry_delay
from remanager.engine.task_queue.board import Board
from remanager.engine.task_queue.card import Card, PauseReason, TaskError
from remanager.engine.task_queue.changes import Outcome, OutcomeKind
from remanager.engine.task_queue.consequences import conclude
from remanager.engine.task_queue.queueing import (
    begin_anew,
    enqueue,
    forget_execution,
    is_stopping_for_good,
    offer_to_finish,
)
from remanager.engine.task_queue.stopping import abandon_children
from remanager.model.states import TaskState
from remanager.model.task_spec import YEAR_S

_SUCCESS = frozenset((OutcomeKind.COMPLETED, OutcomeKind.SKIPPED, OutcomeKind.PARENT))
_REASON_LENGTH = 300

# What a task ends as that may not be tried again, by how its last execution ended.
_LAST = {
    OutcomeKind.ERROR: TaskState.DEAD_LETTER,
    OutcomeKind.RETRY: TaskState.DEAD_LETTER,
    OutcomeKind.LOST: TaskState.LOST,
}

# And what is said of an execution after which it is tried again.
_RETRIED = {OutcomeKind.ERROR: "failed", OutcomeKind.RETRY: "retry", OutcomeKind.LOST: "lost"}


def finish(board: Board, uid: str, epoch: int, outcome: Outcome, now: float) -> bool:
    """End the execution of a task; False for a report of an older hand-over, which changes nothing."""
    card = board.cards.get(uid)
    if card is None or card.state is not TaskState.RUNNING or card.lease_epoch != epoch:
        return False
    returned = outcome.kind is OutcomeKind.RETURNED
    used_s = None if returned else outcome.time_stop - outcome.time_start
    board.dispatcher.release(card, now, used_s=used_s, refund=returned)
    if outcome.error is not None:
        card.last_error = outcome.error
    if is_stopping_for_good(card):
        assert card.cancel_state is not None
        board.end(card, card.cancel_state, now, card.cancel_reason, outcome=outcome, error=outcome.error)
    elif card.cancel_state is TaskState.TIMED_OUT and not _was_in_time(card, outcome):
        _timed_out(board, card, outcome, now)
    else:
        _by_kind(board, card, outcome, now)
    return True


def _by_kind(board: Board, card: Card, outcome: Outcome, now: float) -> None:
    match outcome.kind:
        case OutcomeKind.COMPLETED | OutcomeKind.SKIPPED | OutcomeKind.PARENT:
            _succeeded(board, card, outcome, now)
        case OutcomeKind.ERROR | OutcomeKind.RETRY | OutcomeKind.LOST:
            _retry_or_end(board, card, outcome, now)
        case OutcomeKind.PERMANENT:
            conclude(board, card, TaskState.FAILED, now, _text(outcome), outcome=outcome)
        case OutcomeKind.RETURNED:
            _put_back(board, card, now, outcome.reason or "given back before it began")
        case OutcomeKind.CANCELLED if card.cancel_state is TaskState.PAUSED:
            _put_back(board, card, now, card.cancel_reason, "interrupted")
        case OutcomeKind.CANCELLED:
            reason = outcome.reason or "cancelled itself"
            conclude(board, card, TaskState.CANCELLED, now, reason, outcome=outcome)


def _succeeded(board: Board, card: Card, outcome: Outcome, now: float) -> None:
    if card.failed_child is not None and card.spec.options.fail_fast:
        ended_as = board.recent_state(card.failed_child)
        how = f"ended as {ended_as}" if ended_as is not None else "did not succeed"
        reason = f"child {card.failed_child} {how}"
        card.last_error = TaskError("ChildFailed", reason)
        conclude(board, card, TaskState.FAILED, now, reason, outcome=outcome)
    elif outcome.kind is OutcomeKind.PARENT or card.open_children:
        card.finishing = False
        card.pause_reasons -= {PauseReason.PREEMPTED}
        board.move(card, TaskState.WAITING_CHILDREN, now, f"{card.open_children} children left")
        forget_execution(card)
        if not card.open_children:
            offer_to_finish(board, card, now)
    elif outcome.kind is OutcomeKind.SKIPPED:
        conclude(board, card, TaskState.SKIPPED, now, outcome.reason, outcome=outcome)
    else:
        conclude(board, card, TaskState.COMPLETED, now, outcome.reason, outcome=outcome)


def _put_back(board: Board, card: Card, now: float, reason: str, outcome: str = "returned") -> None:
    """Queue a task whose hand-over does not count as an attempt."""
    run_asked_for = _is_run_asked_for(card)
    if run_asked_for:
        begin_anew(board, card)
    enqueue(board, card, now, reason, outcome=outcome)
    if not run_asked_for:
        card.attempt -= 1


def _retry_or_end(board: Board, card: Card, outcome: Outcome, now: float) -> None:
    retries = card.spec.options.retry.max_retries
    text = _text(outcome)
    delay = _delay(board, card, outcome)
    if card.attempt <= retries:
        _retry(board, card, delay, now, text, outcome.error, _RETRIED[outcome.kind])
    elif outcome.kind is OutcomeKind.ERROR and not retries:
        conclude(board, card, TaskState.FAILED, now, text, outcome=outcome)
    else:
        after = f" (after {card.attempt} attempts)" if card.attempt > 1 else ""
        last = _LAST[outcome.kind]
        conclude(board, card, last, now, text + after, outcome=outcome, delay=outcome.retry_after_s)


def _timed_out(board: Board, card: Card, outcome: Outcome, now: float) -> None:
    # The interruption only shows where the execution was stopped; what counts is that it took too long.
    error = TaskError("TimeoutError", card.cancel_reason, outcome.error.traceback if outcome.error else "")
    card.last_error = error
    if outcome.kind is OutcomeKind.RETURNED:
        _put_back(board, card, now, outcome.reason or "given back before it began")
    elif card.attempt <= card.spec.options.retry.max_retries:
        _retry(board, card, _delay(board, card, None), now, card.cancel_reason, error, "timed_out")
    else:
        conclude(board, card, TaskState.TIMED_OUT, now, card.cancel_reason, outcome=outcome, error=error)


def _retry(
    board: Board,
    card: Card,
    delay: float,
    now: float,
    reason: str,
    error: TaskError | None,
    outcome: str,
) -> None:
    if _is_run_asked_for(card):
        begin_anew(board, card)
    if card.failed_child is not None and card.spec.options.fail_fast:
        abandon_children(board, card)  # they are being stopped; the next attempt has its own
    card.run_after = now + delay
    card.failed_on = card.worker_uid
    enqueue(board, card, now, f"{reason}; next attempt in {delay:.3g} s", error=error, outcome=outcome)


def _is_run_asked_for(card: Card) -> bool:
    """Tell whether a task that is executed once more then does what a duplicate asked for.

    The finishing of a parent is part of the run before.
    """
    return card.rerun and not card.finishing


def _delay(board: Board, card: Card, outcome: Outcome | None) -> float:
    if outcome is not None and outcome.retry_after_s is not None:
        return min(max(outcome.retry_after_s, 0.0), YEAR_S)
    return retry_delay(card.spec.options.retry, card.attempt, board.rng)


def _was_in_time(card: Card, outcome: Outcome) -> bool:
    """Tell whether an execution had succeeded in time, before the order to stop reached it."""
    limit = card.spec.options.timeout_s
    took = outcome.time_stop - outcome.time_start
    return outcome.kind in _SUCCESS and (limit is None or took <= limit)


def _text(outcome: Outcome) -> str:
    if outcome.error is None:
        return outcome.reason or str(outcome.kind)
    return f"{outcome.error.type}: {outcome.error.msg}"[:_REASON_LENGTH]
