"""Stopping tasks: at once what does not run, by way of its worker what does; and whole trees of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from remanager.engine.task_queue.board import FINAL_STOPS, Alarm, Board
from remanager.engine.task_queue.card import Card, Stage
from remanager.engine.task_queue.changes import Interrupt, InterruptKind
from remanager.model.states import TaskState
from remanager.model.task_spec import Where


@dataclass(frozen=True, slots=True)
class CancelResult:
    """What became of the tasks that were to be cancelled.

    Attributes
    ----------
    cancelled, cancelling : list of str
        UIDs of those asked for that have ended, and that a worker has yet to stop.
    not_active : list of str
        UIDs that no active task has.
    cascaded : list of str
        UIDs of descendants that were stopped along with them.
    """

    cancelled: list[str]
    cancelling: list[str]
    not_active: list[str]
    cascaded: list[str]


def cancel(
    board: Board,
    uids: Iterable[str],
    reason: str,
    now: float,
    *,
    cascade: bool = True,
    kill_after_s: float | None = None,
) -> CancelResult:
    """Cancel tasks and (``cascade``) all their descendants."""
    result = CancelResult([], [], [], [])
    asked = dict.fromkeys(uids)
    cascaded: dict[str, None] = {}
    for uid in asked:
        card = board.cards.get(uid)
        if card is None:
            (result.cancelled if uid in cascaded else result.not_active).append(uid)
            continue
        if kill_after_s is not None:
            options = replace(card.spec.options, kill_after_s=kill_after_s)
            card.spec = replace(card.spec, options=options)
            if card.cancel_state in FINAL_STOPS:  # it is being stopped: now with other patience
                board.timers.set((card.uid, Alarm.KILL), now + kill_after_s)
        if not cascade:
            abandon_children(board, card)
        stopped = stop(board, card, TaskState.CANCELLED, reason, now)
        cascaded.update(dict.fromkeys(c.uid for c in stopped if c is not card))
        (result.cancelling if uid in board.cards else result.cancelled).append(uid)
    result.cascaded.extend(uid for uid in cascaded if uid not in asked)
    return result


def stop(board: Board, root: Card, state: TaskState, reason: str, now: float) -> list[Card]:
    """Let a task end as ``state``, and its descendants with it; return those it concerned, parents first.

    Descendants of an expired task expire, others are cancelled.
    """
    below = TaskState.EXPIRED if state is TaskState.EXPIRED else TaskState.CANCELLED
    stopped: list[Card] = []
    waiting = deque([root])
    while waiting:
        card = waiting.popleft()
        children = [board.cards[uid] for uid in board.children.get(card.uid, ()) if uid in board.cards]
        if card is root:
            concerned = _stop_one(board, card, state, reason, now)
        else:
            concerned = _stop_one(board, card, below, f"parent {state}: {reason}", now)
        if concerned:
            stopped.append(card)
            waiting.extend(children)
    return stopped


def stop_children(board: Board, uid: str, state: TaskState, reason: str, now: float) -> None:
    """Stop all open children of a task, with their descendants."""
    for child in list(board.children.get(uid, ())):
        card = board.cards.get(child)
        if card is not None:
            stop(board, card, state, reason, now)


def abandon_children(board: Board, card: Card) -> None:
    """Let the present children of a task no longer concern it."""
    numbers = [board.cards[uid].number for uid in board.children.pop(card.uid, ()) if uid in board.cards]
    if numbers:
        card.children_from = max(numbers) + 1
        board.changes.parted.append(card)
    card.open_children = 0
    card.failed_child = None


def interrupt(board: Board, card: Card, state: TaskState, reason: str, now: float) -> bool:
    """Tell the worker of a running task to stop it; ``state`` is what the task becomes then.

    A stronger wish replaces a weaker one: an end before a time-out before a pause. Returns whether this one
    counts. A pause only asks: an execution that does not listen goes on to its end, or to its time-out.
    """
    if card.cancel_state is not None and _strength(card.cancel_state) >= _strength(state):
        return False
    assert card.worker_uid is not None
    card.cancel_state = state
    card.cancel_reason = reason
    board.change_stage(card, Stage.CANCELLING, now, reason)
    interrupt_ = Interrupt(card.uid, card.lease_epoch, card.worker_uid, InterruptKind.CANCEL, reason)
    board.changes.interrupts.append(interrupt_)
    if state is not TaskState.PAUSED:
        board.timers.drop((card.uid, Alarm.TIMEOUT))
        board.timers.set((card.uid, Alarm.KILL), now + card.spec.options.kill_after_s)
    if state in FINAL_STOPS and card.spec.key:
        board.give_up_key(card)
        board.leaving.setdefault((card.spec.name, card.spec.key), set()).add(card.uid)
    return True


def kill(board: Board, card: Card, now: float) -> None:
    """Have the worker killed that did not stop its task in time.

    That of the environment is not killed for a task: it holds the instrument. That the task does not listen
    is all that can be told.
    """
    assert card.worker_uid is not None
    reason = f"not stopped within {card.spec.options.kill_after_s:g} s: {card.cancel_reason}"
    if card.spec.options.where is Where.ENVIRONMENT:
        board.change_stage(card, Stage.CANCELLING, now, f"{reason}; the environment is not killed for it")
        return
    board.changes.interrupts.append(
        Interrupt(card.uid, card.lease_epoch, card.worker_uid, InterruptKind.KILL, reason)
    )


def _stop_one(board: Board, card: Card, state: TaskState, reason: str, now: float) -> bool:
    if card.uid not in board.cards:
        return False
    if card.state is TaskState.RUNNING:
        return interrupt(board, card, state, reason, now)
    board.end(card, state, now, reason)
    return True


def _strength(state: TaskState) -> int:
    if state in FINAL_STOPS:
        return 2
    return 1 if state is TaskState.TIMED_OUT else 0
