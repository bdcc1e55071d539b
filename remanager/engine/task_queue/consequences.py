"""What follows from the end of a task: for its dependents, its parent, its children, and for its key."""

from __future__ import annotations

from remanager.engine.task_queue.board import Board
from remanager.engine.task_queue.card import Card, TaskError
from remanager.engine.task_queue.changes import Ended, Outcome
from remanager.engine.task_queue.queueing import begin_anew, enqueue, offer_to_finish
from remanager.engine.task_queue.stopping import abandon_children, stop_children
from remanager.model.states import STATE_CLASS, StateClass, TaskState
from remanager.model.task_spec import DependencyPolicy, TtlOrigin


def follow_up(board: Board, now: float) -> None:
    """Follow up all ends, and those that follow from them."""
    while board.ended:
        ended = board.ended.popleft()
        uid = ended.card.uid
        prerequisite_ended(board, uid, ended.state, now)
        _child_ended(board, ended, now)
        if board.children.get(uid):
            below = TaskState.EXPIRED if ended.state is TaskState.EXPIRED else TaskState.CANCELLED
            stop_children(board, uid, below, f"parent {ended.state}", now)
        board.children.pop(uid, None)
        _forget_key(board, ended.card)


def prerequisite_ended(board: Board, uid: str, state: TaskState, now: float) -> None:
    """Release the dependents of a task that has ended, or end them by their policy."""
    for dependent in board.dependents.pop(uid, ()):
        card = board.cards.get(dependent)
        if card is None or uid not in card.unmet:
            continue
        # What is no prerequisite is an earlier task with the same key, whose end is all that matters.
        if uid not in card.spec.depends_on or is_met(card, state):
            card.unmet -= {uid}
            if card.state is TaskState.BLOCKED and not card.unmet:
                enqueue(board, card, now, "what it waited for has ended")
        else:
            board.fail_for_prerequisite(card, uid, state, now)


def is_met(card: Card, state: TaskState) -> bool:
    """Tell whether a prerequisite that ended as ``state`` holds a task up no longer."""
    ignores = card.spec.options.on_dependency_failure is DependencyPolicy.IGNORE
    return ignores or STATE_CLASS[state] is StateClass.SUCCESS


def conclude(
    board: Board,
    card: Card,
    state: TaskState,
    now: float,
    reason: str,
    *,
    outcome: Outcome | None = None,
    error: TaskError | None = None,
    delay: float | None = None,
) -> None:
    """Let a task end; or begin anew, if a duplicate has asked for that while it ran.

    ``delay`` is how long the new run has to wait, s.
    """
    if error is None and outcome is not None:
        error = outcome.error
    if not card.rerun:
        board.end(card, state, now, reason, outcome=outcome, error=error)
        return
    stop_children(board, card.uid, TaskState.CANCELLED, "parent runs anew", now)
    abandon_children(board, card)
    begin_anew(board, card)
    card.finishing = False
    card.run_after = None if delay is None else now + delay
    if card.spec.options.ttl_s is not None:
        fresh = card.spec.options.ttl_from is TtlOrigin.FIRST_ATTEMPT
        card.expires_at = None if fresh else now + card.spec.options.ttl_s
    enqueue(board, card, now, f"{state}; a duplicate asked for another run", error=error, outcome=state)


def _child_ended(board: Board, ended: Ended, now: float) -> None:
    parent_uid = ended.card.spec.parent_uid
    siblings = board.children.get(parent_uid) if parent_uid else None
    if siblings is None or ended.card.uid not in siblings:
        return
    del siblings[ended.card.uid]
    parent = board.cards.get(parent_uid or "")
    if parent is None:
        return
    parent.open_children -= 1
    if STATE_CLASS[ended.state] is not StateClass.SUCCESS:
        _child_failed(board, parent, ended, now)
    if parent.state is TaskState.WAITING_CHILDREN and not parent.open_children:
        offer_to_finish(board, parent, now)


def _child_failed(board: Board, parent: Card, ended: Ended, now: float) -> None:
    if parent.failed_child is not None:
        return
    parent.failed_child = ended.card.uid
    board.touch(parent, now)
    if not parent.spec.options.fail_fast:
        return
    reason = f"child {ended.card.uid} ended as {ended.state}"
    stop_children(board, parent.uid, TaskState.CANCELLED, f"sibling failed: {reason}", now)
    # One that still runs fails when its execution ends.
    if parent.state is TaskState.WAITING_CHILDREN:
        parent.last_error = TaskError("ChildFailed", reason)
        conclude(board, parent, TaskState.FAILED, now, reason)


def _forget_key(board: Board, card: Card) -> None:
    key = (card.spec.name, card.spec.key)
    leaving = board.leaving.get(key)
    if leaving is not None:
        leaving.discard(card.uid)
        if not leaving:
            del board.leaving[key]
