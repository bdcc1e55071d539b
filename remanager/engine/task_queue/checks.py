"""Which tasks of a batch can't be accepted, and in which order the others are inserted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

from remanager.engine.task_queue.board import Board
from remanager.engine.task_queue.queueing import is_stopping_for_good
from remanager.model.errors import Busy, Conflict, InvalidParams, NotFound, RemanagerError
from remanager.model.states import TaskState, is_terminal
from remanager.model.task_spec import DependencyPolicy, DuplicatePolicy, TaskSpec

_key = attrgetter("key")


class BatchCheck:
    """Examines a batch without changing anything.

    Attributes
    ----------
    errors : dict of int to RemanagerError
        Why tasks of the batch are refused, by position.
    order : list of int
        Positions, prerequisites and parents before what needs them.
    """

    def __init__(self, board: Board, specs: Sequence[TaskSpec], known: Mapping[str, TaskState]) -> None:
        self._board = board
        self._specs = specs
        self._known = known
        self.errors: dict[int, RemanagerError] = {}
        self.order: Sequence[int] = range(len(specs))
        self._positions: dict[str, int] = {}
        self._stand_ins: dict[str, str] = {}  # what does the work of a duplicate, by its UID
        self._check_uids()
        related = [(i, s) for i, s in enumerate(specs) if s.depends_on or s.parent_uid is not None]
        for position, spec in related:
            problem = self._problem(spec)
            if problem is not None:
                self.errors.setdefault(position, problem)
        linked = bool(related) and any(s.depends_on or s.parent_uid in self._positions for _, s in related)
        if linked:
            self._check_waiting()
            self.order = self._order_of_insertion()
        # Keys are given in the order of insertion, which the graph decides.
        if len(board.cards) + len(specs) > board.max_active or any(map(_key, specs)):
            self._check_keys_and_size()
        if linked and self._stand_ins:
            self._check_waiting()
        if linked:
            self._refuse_what_needs_refused()

    # --------------------------------------------------------------------------------------------- one by one

    def _check_uids(self) -> None:
        cards = self._board.cards
        self._positions = {spec.task_uid: position for position, spec in enumerate(self._specs)}
        if len(self._positions) == len(self._specs) and cards.keys().isdisjoint(self._positions):
            return
        self._positions = {}
        for position, spec in enumerate(self._specs):
            if spec.task_uid in self._positions or spec.task_uid in cards:
                self.errors[position] = Conflict(f"A task with the UID '{spec.task_uid}' exists already")
            else:
                self._positions[spec.task_uid] = position

    def _check_keys_and_size(self) -> None:
        size = len(self._board.cards)
        given: dict[tuple[str, str], str] = {}
        for position in self.order:
            if position in self.errors:
                continue
            spec = self._specs[position]
            error: RemanagerError | None = None
            key = (spec.name, spec.key)
            holder = self._board.holders.get(key) if spec.key else None
            taken_by = given.get(key, holder.uid if holder is not None else "") if spec.key else ""
            policy = spec.options.on_duplicate
            if taken_by and policy is DuplicatePolicy.REJECT:
                which = f" ('{holder.uid}')" if holder is not None else " (of the same batch)"
                error = Conflict(f"An active task '{spec.name}' has the key '{spec.key}' already{which}")
            inserts = not taken_by or policy is DuplicatePolicy.SUPERSEDE
            if error is None and inserts and size >= self._board.max_active:
                error = Busy(f"The task queue is full: {self._board.max_active} tasks are active")
            if error is not None:
                self.errors[position] = error
                continue
            size += inserts
            if not inserts:
                self._stand_ins[spec.task_uid] = taken_by
            elif spec.key:
                given[key] = spec.task_uid

    def _problem(self, spec: TaskSpec) -> RemanagerError | None:
        for uid in spec.depends_on:
            if uid == spec.task_uid:
                return InvalidParams(f"Task '{uid}' can't depend on itself")
            if uid not in self._positions and not self._is_known(uid):
                return NotFound(f"Prerequisite '{uid}' is not known")
        problem = self._problem_of_replacing(spec) if spec.key and spec.depends_on else None
        if problem is not None or spec.parent_uid is None:
            return problem
        return self._problem_of_parent(spec.parent_uid) or self._problem_of_line(spec)

    def _problem_of_replacing(self, spec: TaskSpec) -> RemanagerError | None:
        """Tell whether a task would stop what it needs to succeed."""
        options, holder = spec.options, self._board.holders.get((spec.name, spec.key))
        if (
            holder is None
            or options.on_duplicate is not DuplicatePolicy.SUPERSEDE
            or options.on_dependency_failure is not DependencyPolicy.CANCEL
        ):
            return None
        for uid in spec.depends_on:
            if uid == holder.uid or self._descends(uid, holder.uid):
                return Conflict(f"The task would replace '{holder.uid}', and needs '{uid}' to succeed")
        return None

    def _problem_of_parent(self, uid: str) -> RemanagerError | None:
        parent = self._board.cards.get(uid)
        if parent is not None:
            if is_stopping_for_good(parent):
                return Conflict(f"Parent '{uid}' is being stopped: {parent.cancel_reason}")
            if parent.failed_child is not None and parent.spec.options.fail_fast:
                return Conflict(f"Parent '{uid}' fails with its child '{parent.failed_child}'")
            return None
        if uid in self._positions:
            return None
        if not self._is_known(uid):
            return NotFound(f"Parent '{uid}' is not known")
        state = self._board.recent_state(uid) or self._known[uid]
        return Conflict(f"Parent '{uid}' has ended ('{state}')") if is_terminal(state) else None

    def _problem_of_line(self, spec: TaskSpec) -> RemanagerError | None:
        holder = self._board.holders.get((spec.name, spec.key)) if spec.key else None
        for generation, ancestor in enumerate(self._ancestors(spec)):
            if generation >= self._board.max_depth:
                return InvalidParams(f"Children can't be nested deeper than {self._board.max_depth} levels")
            if holder is not None and holder.uid == ancestor.task_uid:
                return Conflict(f"The task has the key '{spec.key}' of its own ancestor '{holder.uid}'")
        return None

    def _descends(self, uid: str, ancestor_uid: str) -> bool:
        card = self._board.cards.get(uid)
        return card is not None and any(a.task_uid == ancestor_uid for a in self._ancestors(card.spec))

    def _ancestors(self, spec: TaskSpec) -> Iterable[TaskSpec]:
        uid = spec.parent_uid
        while uid is not None:
            ancestor = self._spec(uid)
            if ancestor is None:
                return
            yield ancestor
            uid = ancestor.parent_uid

    def _spec(self, uid: str) -> TaskSpec | None:
        card = self._board.cards.get(uid)
        if card is not None:
            return card.spec
        position = self._positions.get(uid)
        return None if position is None else self._specs[position]

    def _is_known(self, uid: str) -> bool:
        board = self._board
        return uid in board.cards or uid in self._known or board.recent_state(uid) is not None

    # -------------------------------------------------------------------------------------------- as a graph

    def _check_waiting(self) -> None:
        """Refuse what would wait for itself, as far as it is known what does the work of duplicates."""
        stand_ins = self._stand_ins
        inserted = {
            uid: self._specs[position] for uid, position in self._positions.items() if uid not in stand_ins
        }
        children: dict[str, list[str]] = {}
        for spec in inserted.values():
            if spec.parent_uid is not None:
                parent_uid = stand_ins.get(spec.parent_uid, spec.parent_uid)
                children.setdefault(parent_uid, []).append(spec.task_uid)

        def waits_for(uid: str) -> Iterable[str]:
            if uid in inserted:
                yield from (stand_ins.get(needed, needed) for needed in inserted[uid].depends_on)
            elif children and uid in self._board.cards:
                # Only a task with a new child can get to wait for something new.
                yield from self._board.cards[uid].unmet
                yield from self._board.children.get(uid, ())
            yield from children.get(uid, ())

        _, in_circles = depth_first(inserted, waits_for)
        self._refuse_circles(in_circles)

    def _order_of_insertion(self) -> list[int]:
        order, in_circles = depth_first(self._positions, self._comes_after)
        self._refuse_circles(in_circles)
        return [self._positions[uid] for uid in order]

    def _refuse_circles(self, uids: Iterable[str]) -> None:
        for uid in uids:
            if uid in self._positions:
                text = f"Task '{uid}' would wait for itself: its prerequisites, or a parent's, form a cycle"
                self.errors.setdefault(self._positions[uid], InvalidParams(text))

    def _comes_after(self, uid: str) -> Iterable[str]:
        """Return the tasks of the batch that must be inserted before one of it."""
        positions, spec = self._positions, self._specs[self._positions[uid]]
        yield from (needed for needed in spec.depends_on if needed in positions)
        if spec.parent_uid is not None and spec.parent_uid in positions:
            yield spec.parent_uid

    def _refuse_what_needs_refused(self) -> None:
        for position in self.order:
            if position in self.errors:
                continue
            for needed in self._comes_after(self._specs[position].task_uid):
                if self._positions[needed] in self.errors:
                    self.errors[position] = NotFound(f"Task '{needed}' of the same batch was refused")


def depth_first(
    roots: Iterable[str], successors: Callable[[str], Iterable[str]]
) -> tuple[list[str], set[str]]:
    """Walk a graph.

    Returns
    -------
    (list of str, set of str)
        All nodes that can be reached, successors first; and the nodes on cycles that were met.
    """
    done: dict[str, bool] = {}  # False while a node is on the path
    order: list[str] = []
    cyclic: set[str] = set()
    for root in roots:
        if root in done:
            continue
        done[root] = False
        path = [(root, iter(successors(root)))]
        while path:
            node, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                done[node] = True
                order.append(node)
            elif following not in done:
                done[following] = False
                path.append((following, iter(successors(following))))
            elif not done[following]:
                nodes = [n for n, _ in path]
                cyclic.update(nodes[nodes.index(following) :])
    return order, cyclic
