"""The manager: its services put together, and the messages of workers handed to them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from remanager.engine.queue_mode import DEFAULT_MODE, QueueMode
from remanager.manager.autopsy import SETTING as AUTOPSIES
from remanager.manager.autopsy import Autopsies
from remanager.manager.background import Background
from remanager.manager.catalogue import PERMISSIONS, Catalogue
from remanager.manager.environment import EnvironmentService, WorkerCommand, WorkerExit
from remanager.manager.execution import AUTOSTART, STOP_PENDING, Execution
from remanager.manager.journal import Journal
from remanager.manager.ledger import Batch, Ledger
from remanager.manager.lock import SETTING as LOCK
from remanager.manager.lock import LockService
from remanager.manager.options import ManagerOptions
from remanager.manager.ports import (
    NO_CONSOLE,
    Clock,
    NotConnected,
    ProcessPort,
    ReadConsole,
    ReadCpu,
    ReadMemory,
    WorkerPort,
)
from remanager.manager.progress import ProgressView
from remanager.manager.queue import MODE, QueueService
from remanager.manager.queue_view import QueueView
from remanager.manager.silence import Silence
from remanager.manager.snapshot_view import SnapshotView
from remanager.manager.state import State, WorkerRecord, change_uid, new_uid
from remanager.manager.statistics import SETTING as FIGURES
from remanager.manager.statistics import Statistics
from remanager.manager.stats_view import StatsView
from remanager.manager.status import StatusBoard
from remanager.manager.status_view import StatusView
from remanager.manager.task_queue.build import make_pool, make_task_queue
from remanager.manager.task_queue.controls import Controls
from remanager.manager.task_queue.history import FiguresHistory
from remanager.manager.task_queue.in_environment import EnvironmentTasks
from remanager.manager.task_queue.questions import TaskQuestions
from remanager.manager.task_queue.service import TaskQueue
from remanager.manager.tasks import TaskService
from remanager.manager.worker_link import WorkerLink, record_report
from remanager.model.errors import Conflict, EnvironmentClosed
from remanager.model.link import (
    Ack,
    CloseEnvironment,
    EnvironmentFailed,
    EnvironmentReady,
    Event,
    GetKernelInfo,
    GetMetadata,
    Heartbeat,
    Hello,
    InterruptKernel,
    ListsChanged,
    Message,
    PlanFinished,
    PlanPaused,
    Progress,
    Reply,
    SetPermissions,
    StateChanged,
    TaskFinished,
    Welcome,
    WorkerState,
)
from remanager.model.pool_messages import Drain, PoolHello
from remanager.model.states import EnvironmentState, ExitStatus, ManagerState
from remanager.store.store import Store
from remanager.wire.codec import CachedReply

logger = logging.getLogger(__name__)

LEARNED_PLANS = 200
"""Entries of the history from which durations of plans are learned at the start."""

STOP_DELAY_S = 0.1
"""Time for the reply to ``manager_stop`` to leave."""


class Manager:
    """Everything that methods work on.

    Parameters
    ----------
    store : Store
        The open store.
    options : ManagerOptions
        Settings.
    clock : callable
        Wall clock, s.
    workers : WorkerPort
        Sockets towards workers.
    processes : ProcessPort
        Worker processes.
    publish_status, status_wanted : callable
        The first receives each new status, the second tells whether anybody listens.
    on_fault : callable
        Ends the process after an internal fault.
    on_stop : callable
        Called when ``manager_stop`` was accepted.
    transport_counters : callable
        Returns the counters of the sockets, for ``stats``.
    publish_info : callable
        Receives other news for those who listen to the status.
    read_console : callable
        Reads the console output of manager and worker.
    read_memory, read_cpu : callable
        Return the resident memory of a process, and the processor time that it has used.
    """

    def __init__(
        self,
        *,
        store: Store,
        options: ManagerOptions,
        clock: Clock,
        workers: WorkerPort,
        processes: ProcessPort,
        publish_status: Callable[[CachedReply], None],
        status_wanted: Callable[[], bool],
        on_fault: Callable[[BaseException], None],
        on_stop: Callable[[], None],
        transport_counters: Callable[[], Mapping[str, int]],
        publish_info: Callable[[Mapping[str, object]], None] = lambda _news: None,
        read_console: ReadConsole = NO_CONSOLE,
        read_memory: ReadMemory = lambda _pid: None,
        read_cpu: ReadCpu = lambda _pid: None,
    ) -> None:
        settings: dict[str, Any] = store.reads.settings()
        self.uid = new_uid()
        self._workers = workers
        self.options = options
        self.store = store
        self.clock = clock
        self.processes = processes
        self.state = State()
        self.status = StatusBoard(StatusView(self).values, publish_status, status_wanted)
        self.background = Background(on_fault)
        self.ledger = Ledger(store, clock, self.status.touch, on_fault)
        self.journal = Journal(store, self.ledger, publish_info, status_wanted)
        self.autopsies = Autopsies(self.state, clock, read_console, settings.get(AUTOPSIES, []))
        self.read_console = read_console
        self.statistics = Statistics(clock(), settings.get(FIGURES), store.reads.history_page(LEARNED_PLANS))
        self.progress = ProgressView(self.state, self.statistics.estimator, clock)
        self.queue = QueueService(self.state, self.ledger, store, self.statistics, clock, _mode(settings))
        self.silence = Silence(self.state, clock, self.status.touch)
        self.link = WorkerLink(self.state, workers, self.silence)
        self.execution = Execution(self.state, self.queue, self.link, self.ledger, self.statistics, clock)
        self.tasks = self._make_tasks()
        self.environment = self._make_environment()
        self.catalogue = Catalogue(self.ledger, options, settings.get(PERMISSIONS))
        self.task_queue = self._make_task_queue(read_memory)
        self.environment_tasks = EnvironmentTasks(self.task_queue, self.state, self.link, clock)
        self.task_queue.environment = self.environment.tasks = self.environment_tasks
        self.questions = TaskQuestions(self.task_queue, self.tasks.states, store, self.ledger, clock)
        self.lock = LockService(self.ledger, clock, options.emergency_lock_key, settings.get(LOCK))
        self.statistics_view = StatsView(self)
        self.queue_view = QueueView(self)
        self.snapshot_view = SnapshotView(self)
        self.figures_history = FiguresHistory(self.task_queue.figures, store, self.ledger, clock)
        self.stored_settings = settings
        self.controls = Controls(self)
        self.greeted = asyncio.Event()
        self.started = asyncio.Event()
        self._events: asyncio.Queue[tuple[WorkerRecord, Event | WorkerExit]] = asyncio.Queue()
        self._ids = itertools.count(1)
        self._on_stop = on_stop
        self.read_memory = read_memory
        self.read_cpu = read_cpu
        self.transport_counters = transport_counters

    def _make_tasks(self) -> TaskService:
        tasks = TaskService(
            state=self.state,
            queue=self.queue,
            link=self.link,
            ledger=self.ledger,
            statistics=self.statistics,
            clock=self.clock,
            store=self.store,
            closing=self.execution.closing,
            retention_s=self.options.retention_s,
        )
        tasks.on_idle = self.execution.autostart
        self.autopsies.tasks = tasks.running
        return tasks

    def _make_environment(self) -> EnvironmentService:
        environment = EnvironmentService(
            state=self.state,
            link=self.link,
            ledger=self.ledger,
            clock=self.clock,
            processes=self.processes,
            background=self.background,
            make_command=self._worker_command,
            report_exit=lambda worker, exit_: self._events.put_nowait((worker, exit_)),
            on_lost=self._close_all,
            autopsies=self.autopsies,
        )
        environment.on_idle = self._go_on
        return environment

    def _go_on(self) -> None:
        """Start what waited for an environment that was to be closed and stays."""
        self.execution.autostart()
        self.task_queue.commit()

    def _make_task_queue(self, read_memory: ReadMemory) -> TaskQueue:
        pool = make_pool(
            self.options,
            port=self._workers,
            processes=self.processes,
            ledger=self.ledger,
            clock=self.clock,
            background=self.background,
            read_memory=read_memory,
            manager_uid=self.uid,
        )
        queue = make_task_queue(
            self.options,
            pool,
            state=self.state,
            ledger=self.ledger,
            store=self.store,
            clock=self.clock,
            background=self.background,
            catalogue=self.catalogue,
            statistics=self.statistics,
        )
        self.tasks.other_states = queue.told_states
        queue.other_wait_reason = self.queue.wait_reason
        self.journal.listeners += [queue.listen, self.statistics.listen]
        return queue

    # -------------------------------------------------------------------------------- life

    def run_background(self) -> None:
        """Start the loops of the manager."""
        self.background.spawn(self._consume_events(), "worker events")
        self.controls.start()
        self.background.spawn(self.figures_history.run(), "figures of the past")
        self.task_queue.start()

    def request_stop(self) -> None:
        """Stop the daemon soon; the reply leaves first."""
        asyncio.get_running_loop().call_later(STOP_DELAY_S, self._on_stop)

    async def shut_down(self) -> None:
        """Close the environment (kill it if it refuses or does not answer) and finish writing."""
        await asyncio.gather(self.environment.end(), self.task_queue.stop())
        batch = self.ledger.batch()
        batch.setting(AUTOSTART, False)
        batch.setting(STOP_PENDING, False)
        batch.event("manager_stopped")
        await self._finish(batch)

    async def leave(self) -> None:
        """Finish writing and leave the workers, and what they run, to the next manager."""
        batch = self.ledger.batch()
        batch.event("manager_stopped", workers_left=True)
        await self._finish(batch)

    async def _finish(self, batch: Batch) -> None:
        """Write the last transaction."""
        self.figures_history.save(batch)
        await self.ledger.settle(batch)
        await self.catalogue.write_lists()
        await self.background.close()

    def clock_set(self, step_s: float) -> None:
        """Keep what is measured from one time to another right though the clock was set by ``step_s`` (s)."""
        logger.warning("The clock was set by %+.1f s, or the machine was suspended", step_s)
        self.silence.clock_set(step_s)
        self.task_queue.clock_set(step_s)
        self.controls.schedules.clock_set(step_s)
        batch = self.ledger.batch()
        batch.event("clock_set", step_s=step_s)
        self.ledger.commit(batch)

    # -------------------------------------------------------------------------------- small questions

    async def client_config(self) -> dict[str, object]:
        """Return what ``config_get`` answers: how to connect to the IPython kernel, if there is one."""
        if not (self.options.worker.use_ipython_kernel and self.state.environment_exists):
            return {"ip_connect_info": {}}
        reply = await self.link.command(GetKernelInfo)
        return {"ip_connect_info": reply.data or {}}

    async def interrupt_kernel(self, *, task: bool, plan: bool) -> None:
        """Interrupt what the IPython kernel executes; a task or plan of the manager only if that is allowed.

        Raises
        ------
        Conflict, EnvironmentClosed
            There is no kernel, or it executes what shall not be interrupted.
        """
        state = self.state
        if not self.options.worker.use_ipython_kernel:
            raise Conflict("RE Manager is not in IPython mode: IPython kernel is not used")
        if not state.environment_exists:
            raise EnvironmentClosed("Worker environment does not exist")
        if not plan and state.manager_state in (ManagerState.STARTING_QUEUE, ManagerState.EXECUTING_QUEUE):
            raise Conflict("Not allowed to interrupt running plan")
        if not task and state.manager_state is ManagerState.EXECUTING_TASK:
            raise Conflict("Not allowed to interrupt running task")
        await self.link.command(lambda i: InterruptKernel(i, task, plan))

    async def run_engine_metadata(self) -> str:
        """Return the metadata of the RunEngine as JSON text.

        Raises
        ------
        EnvironmentClosed, Conflict
            There is none, or it cannot be sent.
        """
        if not self.state.environment_exists:
            raise EnvironmentClosed("Environment does not exist. Cannot retrieve RE metadata.")
        reply = await self.link.command(GetMetadata)
        if not reply.data:
            raise Conflict("The environment worker sent no metadata.")
        return str(reply.data["re_metadata"])

    def send_permissions(self) -> None:
        """Give the present permissions to the worker, if there is one."""
        permissions = self.catalogue.permissions
        if self.state.worker is not None:
            self.link.post(
                lambda i: SetPermissions(i, permissions),
                on_refused=lambda msg: logger.warning("The worker refused the permissions: %s", msg),
            )

    # -------------------------------------------------------------------------------- worker messages

    def on_worker_message(self, worker_uid: str, message: Message) -> None:
        """Handle a message of a worker; events wait in line, the rest is handled at once."""
        pool_worker = self.task_queue.pool.workers.get(worker_uid)
        if pool_worker is not None:
            self.task_queue.pool.on_message(pool_worker, message)
            return
        worker = self.state.worker
        if worker is None or worker.uid != worker_uid:
            self._dismiss(worker_uid, message)
            return
        self.silence.heard()
        match message:
            case Hello():
                self._on_hello(message)
            case Heartbeat():
                self.link.tell(Ack(worker.acked_seq))
                worker.rss_bytes = self.read_memory(worker.pid)
            case Reply():
                self.link.on_reply(message)
            case StateChanged():
                self._on_state(message.state)
            case Progress():
                if self.state.running is not None and self.state.running.uid == message.item_uid:
                    self.state.progress = (message.done, message.total)
                    self.status.touch()
            case (
                EnvironmentReady()
                | EnvironmentFailed()
                | ListsChanged()
                | PlanPaused()
                | PlanFinished()
                | TaskFinished()
            ):
                self._events.put_nowait((worker, message))
            case _:
                logger.warning("A worker sent %s, which is not for the manager", type(message).__name__)

    def _dismiss(self, worker_uid: str, message: Message) -> None:
        """Send away a worker that nobody knows (any more)."""
        if isinstance(message, Hello) and message.state.environment_state == EnvironmentState.INITIALIZING:
            # Its manager ended before it could record the worker; loading start-up code, it would not listen.
            logger.warning("An unknown worker (%s) that is being opened is killed", worker_uid)
            self.processes.kill(message.pid)
        elif isinstance(message, PoolHello):
            logger.warning("An unknown worker of the pool (%s) is told to leave", worker_uid)
            self._send_away(worker_uid, Drain())
        elif isinstance(message, (Hello, Heartbeat)):  # again and again: it refuses while it is busy
            logger.warning("An unknown worker (%s) is told to leave", worker_uid)
            self._send_away(worker_uid, CloseEnvironment(next(self._ids)))

    def _send_away(self, worker_uid: str, message: Message) -> None:
        try:
            self._workers.send(worker_uid, message)
        except NotConnected:
            logger.debug("The unknown worker is gone")

    def _on_hello(self, hello: Hello) -> None:
        worker = self.state.worker
        assert worker is not None
        worker.connected = True
        self.link.tell(Welcome(self.uid, worker.acked_seq, self.catalogue.permissions))
        self._on_state(hello.state)
        accepted = frozenset(hello.accepted)
        self.execution.reconcile(accepted, hello.state)
        self.tasks.reconcile(accepted)
        self.environment_tasks.reconcile(accepted)
        self.greeted.set()

    def _on_state(self, new: WorkerState) -> None:
        old = self.state.worker_state
        self.state.worker_state = new
        if old is None or old.run_list_rev != new.run_list_rev:
            self.state.run_list_uid = change_uid()
            self.execution.remember_runs(new)
        self.status.touch()
        came_up = (old is None or old.re_state is None) and new.re_state is not None
        freed = old is not None and old.kernel_is_taken and not new.kernel_is_taken
        if self.state.environment_exists and (came_up or freed):
            self.execution.autostart()

    async def _consume_events(self) -> None:
        """Handle what workers report in the order in which it happened; the exit of a worker comes last."""
        while True:
            worker, event = await self._events.get()
            if isinstance(event, WorkerExit):
                self.environment.on_exit(worker, event)
                self.greeted.set()  # nobody will greet any more
            elif worker is self.state.worker:
                await self._handle(worker, event)

    async def _handle(self, worker: WorkerRecord, event: Event) -> None:
        """Handle an event; it is acknowledged when what follows from it is on disk."""
        if event.seq <= worker.handled_seq:  # sent again after a loss of the connection
            self.link.tell(Ack(worker.acked_seq))
            return
        batch = self.ledger.batch()
        await self._on_event(batch, event)
        record_report(batch, worker, event.seq, lambda ack: self._acknowledge(worker, ack))
        self.ledger.commit(batch)
        self.status.touch()

    def _acknowledge(self, worker: WorkerRecord, ack: Ack) -> None:
        if worker is self.state.worker:
            self.link.tell(ack)

    async def _on_event(self, batch: Batch, event: Event) -> None:
        match event:
            case PlanFinished():
                self.state.progress = None
                self.execution.on_finished(batch, event)
            case PlanPaused():
                self.execution.on_paused(batch, event)
            case TaskFinished():
                if not self.environment_tasks.on_finished(batch, event):
                    self.tasks.on_finished(batch, event)
            case ListsChanged():
                await self._take_lists(batch, event, opening=False)
            case EnvironmentReady():
                await self._take_lists(batch, event, opening=True)
                self.environment.on_ready(batch)
                batch.after(self.execution.autostart)
                batch.after(self.task_queue.tick)
            case EnvironmentFailed():
                self.environment.on_failed(batch, event)

    async def _take_lists(
        self, batch: Batch, event: ListsChanged | EnvironmentReady, *, opening: bool
    ) -> None:
        await self.catalogue.take_lists(event.plans, event.devices, opening=opening)
        self.catalogue.remember(batch, event.plans, event.devices)
        # No request waits for the file.
        batch.after(lambda: self.background.spawn(self.catalogue.write_lists(), "file of the lists"))

    def _close_all(self, batch: Batch, msg: str, crash: str) -> None:
        """Close what ran in a worker that ended."""
        self.state.progress = None
        self.tasks.on_worker_lost(batch, msg, crash)
        self.environment_tasks.on_worker_lost(batch, msg, crash)
        self.execution.on_worker_lost(batch, msg, crash, exit_status=ExitStatus.FAILED, requeue=True)

    def _worker_command(self) -> WorkerCommand:
        config = replace(
            self.options.worker,
            link_address=self._workers.link_address,
            console_address=self._workers.console_address,
            permissions=self.catalogue.permissions,
        )
        return WorkerCommand(self.options.worker_python, self.options.runtime_dir, config)


def _mode(settings: Mapping[str, Any]) -> QueueMode:
    mode = settings.get(MODE)
    return QueueMode(**mode) if mode else DEFAULT_MODE
