"""The life of the environment worker: open, close, destroy, and what its end means."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from remanager.manager.autopsy import Autopsies
from remanager.manager.background import Background
from remanager.manager.ledger import Batch, Ledger
from remanager.manager.ports import Clock, ProcessPort
from remanager.manager.state import State, WorkerRecord, new_uid
from remanager.manager.worker_exit import DRAIN_S, describe_exit
from remanager.manager.worker_files import crash_path, read_crash, remove_files, write_settings
from remanager.manager.worker_link import WorkerLink
from remanager.model.errors import Busy, Conflict, EnvironmentClosed, RequestTimeout
from remanager.model.link import CloseEnvironment, EnvironmentFailed
from remanager.model.principal import asked_by
from remanager.model.states import ManagerState
from remanager.model.worker_config import WorkerConfig
from remanager.store.records import WorkerRow
from remanager.store.writes import worker_delete, worker_put

if TYPE_CHECKING:
    from remanager.manager.task_queue.in_environment import EnvironmentTasks

logger = logging.getLogger(__name__)

END_TIMEOUT_S = 5.0
"""How long an environment may take to close when the daemon stops; the supervisor waits 8 s for all."""

CLOSE_TIMEOUT_S = 5.0
"""How long a worker may take to leave after it agreed to."""

_LEAVING = (ManagerState.CLOSING_ENVIRONMENT, ManagerState.DESTROYING_ENVIRONMENT)


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """How a worker process is started."""

    python: str
    runtime_dir: Path
    config: WorkerConfig

    def write_config(self, worker_uid: str) -> Path:
        """Write the settings of one worker into the runtime directory."""
        crash = crash_path(self.runtime_dir, worker_uid)
        config = replace(self.config, worker_uid=worker_uid, crash_path=str(crash))
        return write_settings(self.runtime_dir, worker_uid, config.to_json())

    def argv(self, path: Path) -> list[str]:
        """Return the command line."""
        return [self.python or sys.executable, "-P", "-m", "remanager.worker", "--config", str(path)]


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """The end of a worker process.

    Attributes
    ----------
    returncode : int or None
        Exit code, negative for a signal, None if it is not known.
    why : str
        Why it could not even start; empty if it did.
    """

    returncode: int | None
    why: str = ""


WorkerLost = Callable[[Batch, str, str], None]
ReportExit = Callable[[WorkerRecord, WorkerExit], None]


class EnvironmentService:
    """Opens and closes the environment.

    Parameters
    ----------
    state, link, ledger, clock
        As elsewhere in this room.
    processes : ProcessPort
        Starts and watches processes.
    background : Background
        Runs what goes on after the reply.
    make_command : callable
        Returns how to start a worker now (permissions may have changed).
    report_exit : callable
        Takes the end of a worker and hands it to :meth:`on_exit` after what the worker sent before.
    on_lost : callable
        Closes what ran in a worker that ended, given the reason and the stacks it left as it crashed.
    autopsies : Autopsies
        Writes down what is known of a worker that died.

    Attributes
    ----------
    on_idle : callable
        Called when a worker refused to leave, so that something else can run.
    tasks : EnvironmentTasks or None
        What it runs of the task queue; set when the manager is put together.
    """

    def __init__(
        self,
        *,
        state: State,
        link: WorkerLink,
        ledger: Ledger,
        clock: Clock,
        processes: ProcessPort,
        background: Background,
        make_command: Callable[[], WorkerCommand],
        report_exit: ReportExit,
        on_lost: WorkerLost,
        autopsies: Autopsies,
    ) -> None:
        self._state = state
        self._link = link
        self._ledger = ledger
        self._clock = clock
        self._processes = processes
        self._background = background
        self._make_command = make_command
        self._report_exit = report_exit
        self._on_lost = on_lost
        self._autopsies = autopsies
        self.on_idle: Callable[[], None] = lambda: None
        self.tasks: EnvironmentTasks | None = None
        self._ended = asyncio.Event()
        self._why_killed = ""
        self._destroying_since = 0.0  # on the clock of the event loop

    # -------------------------------------------------------------------------------- requests

    async def open(self) -> None:
        """Begin to open the environment.

        Raises
        ------
        Conflict, Busy
            It is open, or the manager is not idle.
        """
        state = self._state
        if state.environment_exists:
            raise Conflict("RE Worker environment already exists.")
        if state.manager_state is ManagerState.CREATING_ENVIRONMENT:
            raise Busy("Manager is already in the process of creating the RE Worker environment.")
        self._require_idle()
        self._set(ManagerState.CREATING_ENVIRONMENT)
        self._background.spawn(self._open(), "environment open")

    async def close(self) -> None:
        """Begin to close the environment.

        Raises
        ------
        EnvironmentClosed, Busy
            There is none, or something runs.
        """
        state = self._state
        if not state.environment_exists:
            raise EnvironmentClosed("RE Worker environment does not exist.")
        if state.manager_state is ManagerState.CLOSING_ENVIRONMENT:
            raise Busy("Manager is already in the process of closing the RE Worker environment.")
        if state.manager_state in (ManagerState.EXECUTING_QUEUE, ManagerState.STARTING_QUEUE):
            raise Busy("Queue execution is in progress.")
        if state.manager_state is ManagerState.EXECUTING_TASK:
            raise Busy("Foreground task execution is in progress.")
        self._require_idle()
        if self.tasks is not None and self.tasks.held:
            raise Busy(
                "The environment executes tasks of the task queue: wait for their end, or cancel them."
            )
        if state.kernel_is_taken:
            raise Busy("Worker IPython kernel is busy")
        self._set(ManagerState.CLOSING_ENVIRONMENT)
        self._background.spawn(self._close(), "environment close")

    async def destroy(self) -> None:
        """Kill the worker, whatever it does.

        Raises
        ------
        EnvironmentClosed
            There is none.
        """
        state = self._state
        if not (state.environment_exists or state.manager_state is ManagerState.CREATING_ENVIRONMENT):
            raise EnvironmentClosed("RE environment does not exist")
        pid = state.worker.pid if state.worker is not None else 0
        what = f"the worker (pid {pid}) is killed" if pid else "the worker is killed as soon as it is started"
        logger.warning("The environment is destroyed, as '%s' asked: %s", asked_by.get(), what)
        self._begin_destroying()
        if pid:
            self._processes.kill(pid)

    async def leave(self) -> bool:
        """Ask the worker to leave and wait for its end; kill it if it agreed and does not go.

        Returns
        -------
        bool
            False if the worker refused.
        """
        state = self._state
        worker = state.worker
        if worker is None:
            return True
        try:
            await self._link.command(CloseEnvironment)
        except (EnvironmentClosed, RequestTimeout) as exc:  # it is gone, or hangs
            logger.warning("The worker does not answer the request to close: %s", exc)
        except Conflict as exc:
            logger.error("The environment cannot be closed: %s", exc)
            if state.manager_state is ManagerState.CLOSING_ENVIRONMENT:
                self._set(ManagerState.IDLE)
            return False
        await self._wait_ended(worker)
        return True

    async def end(self) -> None:
        """Close the environment as the daemon stops; kill it if it works, refuses or takes too long."""
        state = self._state
        if state.worker is None:
            return
        left = False
        if state.idle and state.environment_exists:
            state.manager_state = ManagerState.CLOSING_ENVIRONMENT
            with suppress(TimeoutError):
                async with asyncio.timeout(END_TIMEOUT_S):
                    left = await self.leave()
        if not left:
            await self.kill("The manager was stopped")

    async def kill(self, why: str) -> None:
        """Kill the worker, if any, and wait for its end; ``why`` is told of what it ran."""
        worker = self._state.worker
        if worker is None:
            return
        logger.warning("The worker is killed: %s", why)
        self._why_killed = why
        self._begin_destroying()
        if worker.pid:  # else it is being started, and killed then
            self._processes.kill(worker.pid)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._ended.wait()
        except TimeoutError:
            logger.error("The worker (pid %d) does not end", worker.pid)

    # -------------------------------------------------------------------------------- worker events

    def on_ready(self, batch: Batch) -> None:
        """Take note that the environment is open."""
        state = self._state
        state.environment_exists = True
        state.environment_error = ""
        batch.event("environment_opened", worker_uid=state.worker.uid if state.worker else None)
        if state.manager_state is ManagerState.CREATING_ENVIRONMENT:
            self._set(ManagerState.IDLE)
        logger.info("The environment is open")

    def on_failed(self, batch: Batch, event: EnvironmentFailed) -> None:
        """Remember why the environment could not be opened; the worker's exit follows."""
        self._state.environment_error = event.msg
        batch.event("environment_failed", msg=event.msg, traceback=event.traceback[-4000:])
        # The worker has shown the traceback on the console.
        logger.error("The environment could not be opened: %s", event.msg)

    def watch(self, worker: WorkerRecord) -> None:
        """Watch the process of a worker."""
        self._ended.clear()

        def ended(returncode: int | None) -> None:
            loop = asyncio.get_running_loop()
            loop.call_later(DRAIN_S, self._report_exit, worker, WorkerExit(returncode))

        self._processes.watch(worker.pid, ended)

    def on_exit(self, worker: WorkerRecord, exit_: WorkerExit) -> None:
        """Close what ran in a worker that has ended."""
        state = self._state
        if state.worker is not worker:
            return
        was = state.manager_state
        opened = state.environment_exists
        # A worker that reported why the environment cannot be opened leaves by itself.
        unexpected = was not in _LEAVING and not state.environment_error
        msg = exit_.why or describe_exit(exit_.returncode)
        if was is ManagerState.DESTROYING_ENVIRONMENT:
            msg = self._why_killed or "RE Worker environment was destroyed"
        elif was is ManagerState.CLOSING_ENVIRONMENT:
            msg = "RE Worker environment was closed"
        batch = self._ledger.batch()
        batch.write(worker_delete(worker.uid))
        batch.event("environment_closed", worker_uid=worker.uid, returncode=exit_.returncode, msg=msg)
        if was is ManagerState.CLOSING_ENVIRONMENT:
            logger.info("The environment is closed")
        elif was is ManagerState.DESTROYING_ENVIRONMENT:
            took = asyncio.get_running_loop().time() - self._destroying_since
            logger.info("The environment is destroyed: its worker has ended after %.1f s", took)
        elif opened:
            logger.error("%s", msg)
        elif was is ManagerState.CREATING_ENVIRONMENT and not state.environment_error:
            state.environment_error = msg
            logger.error("The environment could not be opened: %s", msg)
        runtime_dir = self._make_command().runtime_dir
        crash = read_crash(runtime_dir, worker.uid)
        if crash:
            logger.error("The stacks of the worker as it crashed:\n%s", crash)
        if unexpected:
            self._autopsies.record(batch, worker, exit_.returncode, msg, crash)
        why = f"{msg} while it ran" if was is ManagerState.CLOSING_ENVIRONMENT else msg
        state.environment_exists = False  # what ends makes room: nothing may be handed to this worker
        self._on_lost(batch, why, crash)
        state.worker = state.worker_state = None
        state.running_task_uid = None
        self._link.on_lost()
        remove_files(runtime_dir, worker.uid)
        self._set(ManagerState.IDLE)
        self._ended.set()
        self._ledger.commit(batch)

    # -------------------------------------------------------------------------------- inside

    async def _close(self) -> None:
        """Close the environment; a worker that refuses goes on."""
        if not await self.leave() and self._state.idle:
            self.on_idle()

    async def _open(self) -> None:
        state, command = self._state, self._make_command()
        worker = WorkerRecord(uid=new_uid(), pid=0, start_ticks=0, last_heartbeat=self._clock())
        state.worker, state.worker_state = worker, None
        self._autopsies.worker_starts()
        state.environment_error = ""
        self._ended.clear()
        await self._record(worker)
        try:
            path = command.write_config(worker.uid)
            worker.pid = await self._processes.spawn(command.argv(path), None, None)
        except OSError as exc:
            self._report_exit(worker, WorkerExit(None, f"The worker process could not be started: {exc}"))
            return
        worker.start_ticks = self._processes.start_ticks(worker.pid)
        self.watch(worker)
        await self._record(worker)
        if state.manager_state is ManagerState.DESTROYING_ENVIRONMENT:
            self._processes.kill(worker.pid)

    async def _record(self, worker: WorkerRecord) -> None:
        batch = self._ledger.batch()
        batch.write(
            worker_put(
                WorkerRow(
                    worker_uid=worker.uid,
                    kind="environment",
                    pid=worker.pid,
                    start_ticks=worker.start_ticks,
                    time_started=self._clock(),
                    acked_seq=worker.acked_seq,
                    config="{}",
                )
            )
        )
        await self._ledger.commit(batch)

    async def _wait_ended(self, worker: WorkerRecord) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._ended.wait()
        except TimeoutError:
            logger.warning("The worker did not leave within %g s; it is killed", CLOSE_TIMEOUT_S)
            self._processes.kill(worker.pid)
            await self._ended.wait()

    async def wait_gone(self, worker: WorkerRecord) -> None:
        """Wait until a worker has ended."""
        while self._state.worker is worker:
            await self._ended.wait()

    def _begin_destroying(self) -> None:
        self._destroying_since = asyncio.get_running_loop().time()
        self._set(ManagerState.DESTROYING_ENVIRONMENT)

    def _require_idle(self) -> None:
        if not self._state.idle:
            raise Busy(f"Manager state is not idle. Current state: {self._state.manager_state}")

    def _set(self, manager_state: ManagerState) -> None:
        self._state.manager_state = manager_state
        self._ledger.touch()
