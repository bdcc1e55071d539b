"""Handing tasks to workers."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from remanager.engine.task_queue.board import Alarm, Board
from remanager.engine.task_queue.card import Card, Stage
from remanager.engine.task_queue.changes import Interrupt, InterruptKind
from remanager.model.states import TaskState
from remanager.model.task_spec import Where

LOOK_AGAIN_S = 1.0
"""How often it is looked, at most, whether an execution has begun, s."""


def dispatch(board: Board, now: float, free: Mapping[str, int], where: Where) -> dict[str, int]:
    """Hand over as many tasks as may run and as there are places; return the places that are left."""
    # The worker with most free places comes first: few tasks spread over many workers.
    places = [(-count, order, worker) for order, (worker, count) in enumerate(free.items()) if count > 0]
    heapq.heapify(places)
    slots = sum(-count for count, _, _ in places)
    while True:  # without places too: the dispatcher takes notice of what has become due
        picked = board.dispatcher.pick(now, slots, where)
        handed_over = 0
        for card in picked:
            if card.state is TaskState.PENDING and card.expires_at is not None and card.expires_at <= now:
                board.dispatcher.release(card, now, refund=True)
                board.end(card, TaskState.EXPIRED, now, late_reason(card))
                continue
            _hand_over(board, card, _take_place(places, card.failed_on), now)
            handed_over += 1
        slots -= handed_over
        if handed_over == len(picked):  # nothing had expired: that is all there is
            break
    return {worker: -count for count, _, worker in places if count}


def _take_place(places: list[tuple[int, int, str]], avoided: str | None) -> str:
    """Take the best place; of two workers with places that which is not to be avoided."""
    first = heapq.heappop(places)
    taken = first
    if first[2] == avoided and places and places[0][0] < 0:
        taken = heapq.heapreplace(places, first)
    count, order, worker = taken
    heapq.heappush(places, (count + 1, order, worker))
    return worker


def begun(board: Board, uid: str, epoch: int, time: float) -> bool:
    """Note that a worker has begun an execution; False for a report of an older hand-over."""
    card = board.cards.get(uid)
    if card is None or card.state is not TaskState.RUNNING or card.lease_epoch != epoch:
        return False
    card.time_start = time
    card.begun = True
    board.dispatcher.begun(card, time)
    if card.stage is Stage.PREPARING:
        card.stage = Stage.EXECUTING
    arm_timeout(board, card)
    board.touch(card, time)
    return True


def arm_timeout(board: Board, card: Card) -> None:
    """Set when a running task is to be interrupted because it takes too long.

    Without a report of its begin that is when to look for it: see :func:`look`.
    """
    limit = card.spec.options.timeout_s
    if limit is None or card.cancel_state not in (None, TaskState.PAUSED):
        board.timers.drop((card.uid, Alarm.TIMEOUT))
        return
    assert card.time_start is not None
    board.timers.set((card.uid, Alarm.TIMEOUT), card.time_start + limit)


def look(board: Board, card: Card, now: float) -> None:
    """Have somebody find out whether an execution has begun whose time would be over otherwise.

    The report may be late: it waits behind code that keeps the interpreter's lock. What has not begun yet has
    all its time left.
    """
    limit = card.spec.options.timeout_s
    assert card.worker_uid is not None
    assert limit is not None
    board.changes.interrupts.append(
        Interrupt(card.uid, card.lease_epoch, card.worker_uid, InterruptKind.LOOK, "")
    )
    board.timers.set((card.uid, Alarm.TIMEOUT), now + max(limit, LOOK_AGAIN_S))


def _hand_over(board: Board, card: Card, worker: str, now: float) -> None:
    # The finishing of a parent belongs to the attempt in which its children were submitted.
    if card.state is TaskState.PENDING:
        card.attempt += 1
    card.lease_epoch += 1
    card.worker_uid = worker
    card.time_start = now
    card.begun = False
    card.run_after = None
    if card.time_first_start is None:
        card.time_first_start = now
    if card.expires_at is None and card.spec.options.ttl_s is not None:
        card.expires_at = now + card.spec.options.ttl_s
    card.stage = Stage.FINISHING if card.finishing else Stage.PREPARING
    board.move(card, TaskState.RUNNING, now)
    arm_timeout(board, card)
    board.changes.starts.append(card)


def late_reason(card: Card) -> str:
    """Return why a task expires."""
    if not card.attempt:
        return "not started within its time to live"
    count = "1 attempt" if card.attempt == 1 else f"{card.attempt} attempts"
    return f"not started again within its time to live (after {count})"
