"""Accepting tasks: duplicates, prerequisites, parents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import attrgetter

from remanager.engine.task_queue.board import Board
from remanager.engine.task_queue.card import NOTHING_UNMET, Card, PauseReason
from remanager.engine.task_queue.checks import BatchCheck
from remanager.engine.task_queue.consequences import follow_up, is_met
from remanager.engine.task_queue.queueing import destination, is_stopping_for_good, set_expiry
from remanager.engine.task_queue.stopping import stop
from remanager.model.errors import Conflict, RemanagerError
from remanager.model.states import TaskState, is_terminal
from remanager.model.task_spec import DuplicatePolicy, TaskSpec

OTHERS_REFUSED = Conflict("Another task of the batch was refused, so none was accepted")
"""Why a task of an atomic batch was refused that had no fault itself."""


class SubmitOutcome(StrEnum):
    """What a submission led to."""

    INSERTED = "inserted"
    DUPLICATE = "duplicate"  # nothing: a task with the key is active
    UPGRADED = "upgraded"  # the queued one has a better priority now
    REQUEUED = "requeued"  # the running one runs once more
    SUPERSEDED = "superseded"  # the new one replaces the other
    REJECTED = "rejected"


# Not frozen: that takes twice as long to make.
@dataclass(slots=True)
class Submitted:
    """Answer to the submission of a task.

    Attributes
    ----------
    task_uid : str or None
        The task that does what was asked for: the new one, or the one that was there; None if it was refused.
    existing_uid : str or None
        The task that had the key.
    held : tuple of PauseReason
        Why the new task is paused.
    error : RemanagerError or None
        Why it was refused.
    """

    outcome: SubmitOutcome
    task_uid: str | None = None
    existing_uid: str | None = None
    held: tuple[PauseReason, ...] = ()
    error: RemanagerError | None = None


def submit(
    board: Board, specs: Sequence[TaskSpec], now: float, known: Mapping[str, TaskState], *, atomic: bool
) -> list[Submitted]:
    """Accept tasks; with ``atomic`` all of them or none."""
    check = BatchCheck(board, specs, known)
    if atomic and check.errors:
        return [_refused(board, s, check.errors.get(i, OTHERS_REFUSED)) for i, s in enumerate(specs)]
    results = {i: _refused(board, specs[i], error) for i, error in check.errors.items()}
    first_number = board.next_number
    board.next_number += len(specs)
    begin = len(board.changes.inserted)
    stand_ins: dict[str, str] = {}
    for position in check.order:
        if position in results:
            continue
        spec = _with_stand_ins(specs[position], stand_ins) if stand_ins else specs[position]
        result = _accept(board, spec, first_number + position, now, known)
        if result.task_uid is not None and result.task_uid != spec.task_uid:
            stand_ins[spec.task_uid] = result.task_uid
        results[position] = result
        if board.ended:
            follow_up(board, now)
    if len(specs) > 1:
        inserted = board.changes.inserted
        inserted[begin:] = sorted(inserted[begin:], key=attrgetter("number"))
    return [results[i] for i in range(len(specs))]


def _accept(
    board: Board, spec: TaskSpec, number: int, now: float, known: Mapping[str, TaskState]
) -> Submitted:
    existing = board.holders.get((spec.name, spec.key)) if spec.key else None
    if existing is not None:
        match spec.options.on_duplicate:
            case DuplicatePolicy.SKIP:
                return Submitted(SubmitOutcome.DUPLICATE, existing.uid, existing.uid)
            case DuplicatePolicy.MERGE:
                return Submitted(_merge(board, existing, spec, now), existing.uid, existing.uid)
            case DuplicatePolicy.REJECT:
                raise AssertionError("refused by the check")
            case DuplicatePolicy.SUPERSEDE:
                stop(board, existing, TaskState.SUPERSEDED, f"replaced by {spec.task_uid}", now)
                follow_up(board, now)
    card = _insert(board, spec, number, now, known)
    outcome = SubmitOutcome.INSERTED if existing is None else SubmitOutcome.SUPERSEDED
    held = tuple(sorted(card.pause_reasons)) if card.pause_reasons else ()
    return Submitted(outcome, card.uid, existing.uid if existing is not None else None, held)


def _merge(board: Board, card: Card, spec: TaskSpec, now: float) -> SubmitOutcome:
    if card.state in (TaskState.RUNNING, TaskState.WAITING_CHILDREN):
        if card.rerun:
            return SubmitOutcome.DUPLICATE
        card.rerun = True
        board.touch(card, now)
        return SubmitOutcome.REQUEUED
    if spec.priority >= card.priority:
        return SubmitOutcome.DUPLICATE
    card.priority = spec.priority
    board.touch(card, now)
    board.dispatcher.changed(card, now)
    return SubmitOutcome.UPGRADED


def _insert(board: Board, spec: TaskSpec, number: int, now: float, known: Mapping[str, TaskState]) -> Card:
    card = Card(spec, number, TaskState.PENDING, spec.priority, spec.run_after)
    if spec.options.ttl_s is not None:
        set_expiry(card)
    failed = _find_unmet(board, card, known) if spec.depends_on else None
    # An execution that is being stopped and this one must not overlap: they have the same key.
    earlier = board.leaving.get((spec.name, spec.key)) if spec.key else None
    if earlier:
        card.unmet |= earlier
    board.index(card)
    reason = "waits for the end of the earlier task with its key" if earlier else ""
    begin_as = TaskState.BLOCKED if failed else destination(board, card)
    board.begin(card, begin_as, now, reason)
    if failed:
        board.fail_for_prerequisite(card, *failed, now)
    elif spec.parent_uid is not None:
        # Its parent was superseded by another task of the batch, or is being stopped because of that.
        parent = board.cards.get(spec.parent_uid)
        ended = board.recent_state(spec.parent_uid)
        if ended is not None or (parent is not None and is_stopping_for_good(parent)):
            stop(board, card, TaskState.CANCELLED, "its parent was stopped", now)
    return card


def _find_unmet(board: Board, card: Card, known: Mapping[str, TaskState]) -> tuple[str, TaskState] | None:
    """Note which prerequisites of a new task have not ended; return the first one that has failed."""
    unmet: list[str] = []
    failed: tuple[str, TaskState] | None = None
    for uid in card.spec.depends_on:
        state = TaskState.PENDING if uid in board.cards else board.recent_state(uid) or known[uid]
        if not is_terminal(state):
            unmet.append(uid)
        elif not is_met(card, state):
            failed = failed or (uid, state)
    card.unmet = frozenset(unmet) or NOTHING_UNMET
    return failed


def _with_stand_ins(spec: TaskSpec, stand_ins: Mapping[str, str]) -> TaskSpec:
    """Let a task need what stands for the duplicates of its batch."""
    if spec.parent_uid not in stand_ins and stand_ins.keys().isdisjoint(spec.depends_on):
        return spec
    needs = tuple(dict.fromkeys(stand_ins.get(uid, uid) for uid in spec.depends_on))
    parent = stand_ins.get(spec.parent_uid, spec.parent_uid) if spec.parent_uid is not None else None
    return replace(spec, depends_on=needs, parent_uid=parent)


def _refused(board: Board, spec: TaskSpec, error: RemanagerError) -> Submitted:
    holder = board.holders.get((spec.name, spec.key)) if spec.key else None
    existing = holder.uid if holder is not None else None
    return Submitted(SubmitOutcome.REJECTED, None, existing, error=error)
