"""Control of the RunEngine: running, pausing and continuing one plan at a time."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remanager.model.link import PlanFinished, PlanPaused
from remanager.model.states import EnvironmentState, ExitStatus
from remanager.worker.failures import exception_name, exception_text, traceback_text
from remanager.worker.plan_wrappers import preprocessing
from remanager.worker.runs import DOCUMENTS, RunMonitor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from remanager.worker.state import StateBoard

    StartPlan = Callable[[Any], object]
    OnProgress = Callable[[str, int, int | None], None]
    Hints = Callable[[], Iterable[str]]

logger = logging.getLogger(__name__)

NO_RUN_ENGINE = "Run Engine is not found in the RE Worker environment"
NO_CHECKPOINT = ": it was to be paused, but it had no checkpoint from which it could be resumed"

_OPTION_STATUS = {
    "resume": ExitStatus.COMPLETED,
    "stop": ExitStatus.STOPPED,
    "abort": ExitStatus.ABORTED,
    "halt": ExitStatus.HALTED,
}
# The public methods wait for the loop, which a plan may block for long.
_ENDS: dict[str, Callable[[Any], Coroutine[Any, Any, object]]] = {
    "stop": lambda engine: engine._stop_coro(),
    "abort": lambda engine: engine._abort_coro(""),
    "halt": lambda engine: engine._halt_coro(),
}
_INTERRUPTING = {
    "stopping": ExitStatus.STOPPED,
    "aborting": ExitStatus.ABORTED,
    "halting": ExitStatus.HALTED,
}


def is_run_engine(candidate: object) -> bool:
    """Tell whether plans can be run with the object: a RunEngine, or something that behaves like one."""
    return callable(candidate) and hasattr(candidate, "state") and not isinstance(candidate, type)


def _is_a(exc: BaseException, name: str) -> bool:
    """Tell whether an exception is one of bluesky's."""
    # By name: this room runs without bluesky, too.
    return any(base.__name__ == name for base in type(exc).__mro__)


def _subscribe(engine: Any, monitor: RunMonitor) -> Callable[[], None]:
    """Pass the documents that the monitor looks at to it; return how to end that."""
    # Not for "all": that costs the RunEngine more time than a short plan.
    tokens = [engine.subscribe(monitor, name) for name in DOCUMENTS]

    def unsubscribe() -> None:
        for token in tokens:
            engine.unsubscribe(token)

    return unsubscribe


@dataclass(slots=True)
class _Plan:
    """The running or paused plan."""

    item_uid: str
    monitor: RunMonitor
    time_start: float
    clock_start: float
    hints: Hints
    unsubscribe: Callable[[], None] = lambda: None
    has_engine: bool = False
    interrupted_by: ExitStatus | None = None
    end_wanted: str | None = None
    reason: str = ""

    def take_thrown(self, exc: BaseException) -> None:
        """Remember why the plan ends that the RunEngine throws an exception into."""
        if _is_a(exc, "FailedPause"):
            self.reason = NO_CHECKPOINT


class RunEngineControl:
    """Runs plans in the main thread and answers requests about them from the control thread.

    Parameters
    ----------
    board : StateBoard
        The worker's state; it learns of every change of the RunEngine's state at once.
    user_code : context manager
        Entered while a plan is started or continued.
    on_progress : callable
        Called as ``on_progress(item_uid, done, total)`` in points of the running plan.
    on_ended_outside : callable
        Called, in any thread, when a paused plan was ended by someone else;
        :meth:`close_ended_outside` must then be called in the main thread.
    """

    def __init__(
        self,
        board: StateBoard,
        user_code: AbstractContextManager[None],
        on_progress: OnProgress,
        on_ended_outside: Callable[[], None],
    ) -> None:
        self._board = board
        self._user_code = user_code
        self._on_progress = on_progress
        self._on_ended_outside = on_ended_outside
        self._lock = threading.Lock()  # guards the fields below
        self._plan: _Plan | None = None
        self._executing = False
        self._continuing = False
        self._pause_wanted: str | None = None
        self._pause_pending = False

        self._hook: object = None
        self._newest_engine: Any = None
        self.engine: Any = None  # a plan keeps the one that it runs on

    # ------------------------------------------------------------------------------------ any thread

    @property
    def state(self) -> str | None:
        """State of the RunEngine, or None without one."""
        return None if self.engine is None else str(self.engine.state)

    def attach(self, candidate: object) -> None:
        """Use the object ``RE`` of the namespace; anything but a RunEngine counts as none.

        A plan keeps the RunEngine on which it runs or is paused; a new one is used when the plan has ended.
        """
        engine = candidate if is_run_engine(candidate) else None
        if candidate is not None and engine is None:
            logger.warning("'RE' is not a Run Engine, but %r: plans can not be executed", type(candidate))
        with self._lock:
            self._newest_engine = engine
            is_free = not self._executing and self._plan is None
            if is_free:
                self.engine = engine
        if not is_free:
            if engine is not self.engine:
                logger.info("The plan keeps its Run Engine; the new one is used when the plan has ended")
            return
        self._install_hook()
        self._board.change(re_state=self.state)

    def request_pause(self, option: str) -> str:
        """Ask for a pause of the running plan and return at once.

        A plan that was accepted, but has not reached the RunEngine yet, is paused as soon as it has.

        Returns
        -------
        str
            Why the request is refused; empty if it is accepted.
        """
        if option not in ("deferred", "immediate"):
            return f"Option '{option}' is not supported. Available options: ('deferred', 'immediate')"
        with self._lock:
            state = self.state
            starting = self._executing and state == "idle"
            if state != "running" and not starting:
                return f"Run engine can be paused only in 'running' state. Current state: '{state}'"
            if not hasattr(self.engine, "loop"):
                return "Run engine can not be paused: it has no event loop"
            if starting:
                self._pause_wanted = option
            self._pause_pending = True
            self._board.change(deferred_pause=option == "deferred")
            if not starting:
                self._schedule_pause(option)
        return ""

    def end_unpaused(self, option: str) -> bool:
        """Stop, abort or halt the running plan whose pause does not come, and return at once.

        Returns
        -------
        bool
            False if no pause is pending: then the plan is paused already, or must be paused first.
        """
        with self._lock:
            plan, engine = self._plan, self.engine
            if option not in _ENDS or plan is None or not self._executing or not self._pause_pending:
                return False
            plan.end_wanted = option

        async def end() -> None:
            # If it is being paused just now, the main thread ends it.
            if self._plan is plan and self.state == "running":
                await _ENDS[option](engine)

        self._in_loop(end(), "ended")
        return True

    def expect_plan(self) -> None:
        """Take note that a plan was accepted and will be run by the main thread."""
        with self._lock:
            self._executing = True

    def expect_continuation(self, option: str) -> str:
        """Take note that the paused plan will be continued by the main thread.

        Returns
        -------
        str
            Why that is refused; empty if it is accepted.
        """
        if option not in _OPTION_STATUS:
            return f"Option '{option}' is not supported. Supported options: {tuple(_OPTION_STATUS)}"
        with self._lock:
            state = self.state
            if self._plan is None or self._continuing or state != "paused":
                return f"Run Engine must be in 'paused' state to continue. The state is '{state}'"
            self._continuing = True
        return ""

    # ------------------------------------------------------------------------------------ main thread

    def run(self, item_uid: str, start: StartPlan, metadata: Mapping[str, object], hints: Hints) -> None:
        """Run a plan until it ends or is paused, and report that.

        Parameters
        ----------
        item_uid : str
            The plan.
        start : callable
            Called as ``start(engine)``: calls the RunEngine with the plan. Whatever it raises makes the
            plan fail.
        metadata : mapping
            Goes into the start documents of the plan's runs where they do not have these keys.
        hints : callable
            Returns what looks wrong with the plan's parameters; asked when the plan misuses an object.
        """
        monitor = RunMonitor(
            on_runs=lambda runs: self._board.change(run_list=runs),
            on_progress=lambda done, total: self._on_progress(item_uid, done, total),
        )
        plan = _Plan(item_uid, monitor, time.time(), time.monotonic(), hints)
        with self._lock:
            self._plan = plan
        self._install_hook()

        def call() -> None:
            engine = self._ready_engine()
            plan.has_engine = True
            plan.unsubscribe = _subscribe(engine, monitor)
            with preprocessing(engine, metadata, plan.take_thrown):
                start(engine)

        self._execute(call, ExitStatus.COMPLETED)

    def go_on(self, option: str) -> None:
        """Resume, stop, abort or halt the paused plan, as accepted by :meth:`expect_continuation`."""
        with self._lock:
            self._executing = True
        self._board.change(environment_state=EnvironmentState.EXECUTING_PLAN.value)
        self._execute(getattr(self.engine, option), _OPTION_STATUS[option])

    def close_ended_outside(self) -> None:
        """Report the end of a paused plan that someone else resumed or ended."""
        with self._lock:
            plan = self._plan
            if plan is None or self._executing or self._continuing:
                return
        if self.state not in ("idle", "panicked"):
            return
        statuses = plan.monitor.exit_statuses
        status = ExitStatus.UNKNOWN
        if "fail" in statuses:
            status = ExitStatus.FAILED
        elif "abort" in statuses:
            status = ExitStatus.ABORTED
        self._finish(status, "The plan is completed outside RE Manager", stop_queue=True)

    # ------------------------------------------------------------------------------------ inside

    def _ready_engine(self) -> Any:
        state = self.state
        if state is None:
            raise RuntimeError(NO_RUN_ENGINE)
        if state == "panicked":
            raise RuntimeError(
                "Run Engine is in the 'panicked' state. The environment must be closed and opened again "
                "before plans could be executed."
            )
        if state != "idle":
            raise RuntimeError(f"Run Engine is in '{state}' state. Stop or finish any running plan.")
        return self.engine

    def _execute(self, call: Callable[[], object], expected: ExitStatus) -> None:
        try:
            with self._user_code:
                call()
        except BaseException as exc:  # noqa: BLE001 - user code may raise anything; the plan then failed
            plan = self._plan
            # Else somebody else's plan is paused, and the RunEngine takes no other.
            has_engine = plan is not None and plan.has_engine
            if has_engine and self.state == "paused":
                self._take_pause()
            elif plan is not None and _is_a(exc, "RunEngineInterrupted"):
                # Nobody stopped, aborted or halted it: the pause came when the plan was at its end.
                status = plan.interrupted_by or ExitStatus.COMPLETED
                completed = status is ExitStatus.COMPLETED
                msg = f"The plan was {status.value} while it was running{plan.reason}"
                self._finish(status, "" if completed else msg)
            else:
                msg = ". ".join((f"Plan failed: {exception_text(exc)}", *self._hints(exc)))
                self._finish(ExitStatus.FAILED, msg, traceback_text(exc), error_type=exception_name(exc))
        else:
            self._finish(expected)

    def _hints(self, exc: BaseException) -> Iterable[str]:
        """Return what may have led to an error of a plan."""
        # A text that is no known name reaches the plan as a text, and is used like a device there.
        if self._plan is None or not isinstance(exc, AttributeError | TypeError | AssertionError):
            return ()
        return self._plan.hints()

    def _take_pause(self) -> None:
        """Report that the plan is paused, unless it shall end instead."""
        with self._lock:
            plan, self._pause_pending = self._plan, False
            option = plan.end_wanted if plan is not None else None
            if option is None:
                self._executing = self._continuing = False
        if plan is None:
            return
        if option is not None:
            self._execute(getattr(self.engine, option), _OPTION_STATUS[option])
            return
        self._board.change(
            events=[PlanPaused(0, time.time(), plan.item_uid)],
            environment_state=EnvironmentState.IDLE.value,
            re_state=self.state,
            deferred_pause=False,
        )
        logger.info("The plan is paused")

    def _finish(
        self,
        status: ExitStatus,
        msg: str = "",
        traceback: str = "",
        *,
        error_type: str = "",
        stop_queue: bool = False,
    ) -> None:
        with self._lock:
            plan, self._plan = self._plan, None
            self._executing = self._continuing = False
            self._pause_wanted = None
            pause_pending, self._pause_pending = self._pause_pending, False
            self.engine = self._newest_engine
        if plan is None:
            return
        self._install_hook()
        log = logger.error if status is ExitStatus.FAILED else logger.info
        log("The plan was exited: %s%s", status.value, f"\n{traceback or msg}" if msg else "")
        # The end is reckoned on the monotonic clock: it never precedes the start.
        time_stop = plan.time_start + max(time.monotonic() - plan.clock_start, 1e-6)
        event = PlanFinished(
            seq=0,
            time=time.time(),
            item_uid=plan.item_uid,
            exit_status=status.value,
            run_uids=plan.monitor.run_uids,
            scan_ids=plan.monitor.scan_ids,
            msg=msg,
            traceback=traceback,
            time_start=plan.time_start,
            time_stop=time_stop,
            stop_queue=stop_queue,
            pause_pending=pause_pending,
            error_type=error_type,
        )
        self._board.change(
            events=[event],
            environment_state=EnvironmentState.IDLE.value,
            re_state=self.state,
            running_item_uid=None,
            deferred_pause=False,
            run_list=[],
        )
        plan.unsubscribe()

    def _install_hook(self) -> None:
        """Put our state hook in front of the profile's one; again if the profile has replaced it since."""
        engine = self.engine
        if engine is None or not hasattr(engine, "state_hook") or engine.state_hook is self._hook is not None:
            return
        chained = engine.state_hook

        def state_hook(new: object, old: object) -> None:
            if engine is self.engine:
                self._on_state(str(new))
            if chained is not None:
                chained(new, old)

        self._hook = engine.state_hook = state_hook

    def _on_state(self, state: str) -> None:
        with self._lock:
            plan = self._plan
            if plan is not None and state in _INTERRUPTING:
                plan.interrupted_by = _INTERRUPTING[state]
            wanted = None
            if state == "running":
                wanted, self._pause_wanted = self._pause_wanted, None
            elif state == "paused" and not self._executing:
                self._pause_pending = False  # somebody else runs the plan, and gets to know of the pause
            ended_outside = (
                plan is not None
                and state in ("idle", "panicked")
                and not self._executing
                and not self._continuing
            )
        if state in ("pausing", "paused"):
            self._board.change(re_state=state, deferred_pause=False)
        else:
            self._board.change(re_state=state)
        if wanted is not None:
            self._schedule_pause(wanted)
        if ended_outside:
            self._on_ended_outside()

    def _schedule_pause(self, option: str) -> None:
        """Have the RunEngine's event loop pause the present plan as soon as the loop is free."""
        engine, plan = self.engine, self._plan

        async def pause() -> None:
            if self._plan is plan:
                # The public request_pause() waits for the loop, which a plan may block for long.
                await engine._request_pause_coro(option == "deferred")

        def failed() -> None:
            if self._plan is plan:
                self._pause_pending = False
                self._board.change(deferred_pause=False)

        self._in_loop(pause(), "paused", failed)

    def _in_loop(
        self, work: Coroutine[Any, Any, None], word: str, on_failure: Callable[[], None] = lambda: None
    ) -> None:
        """Run a coroutine in the RunEngine's event loop as soon as the loop is free."""

        def done(future: Future[None]) -> None:
            if not future.cancelled() and (exc := future.exception()) is not None:
                logger.warning("The plan was not %s: %s", word, exception_text(exc))
                on_failure()

        asyncio.run_coroutine_threadsafe(work, self.engine.loop).add_done_callback(done)
