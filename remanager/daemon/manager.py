"""The manager process: sockets, store, services, and the loop that holds them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sqlite3
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from remanager import __version__
from remanager.daemon.console import ConsoleHub, ConsoleWriter, HubLogHandler, OutputWriter
from remanager.daemon.control import ControlServer
from remanager.daemon.headline import headline
from remanager.daemon.info import TOPIC_INFO, InfoPublisher
from remanager.daemon.journal import JournalWriter
from remanager.daemon.journal_stream import is_journal, say
from remanager.daemon.keys import KeyRing, KeysError, read_server_key
from remanager.daemon.processes import Processes, cpu_seconds, resident_bytes
from remanager.daemon.retention import parse_retention
from remanager.daemon.scheduling import take_priority
from remanager.daemon.service_manager import workers_outlive
from remanager.daemon.settings import Settings
from remanager.daemon.sockets import AddressError, raise_descriptor_limit
from remanager.daemon.sources import absolute
from remanager.daemon.supervisor_link import SupervisorLink
from remanager.daemon.worker_host import WorkerHost, runtime_dir
from remanager.demo import copy_profile
from remanager.manager.clock import WallClock
from remanager.manager.manager import Manager
from remanager.manager.options import ManagerOptions
from remanager.manager.recovery import restore
from remanager.manager.task_queue.options import TaskQueueOptions
from remanager.model.errors import StorageError
from remanager.model.link import Message
from remanager.model.worker_config import WorkerConfig
from remanager.store.filesystem import KEYS_NAME
from remanager.store.store import Store, damage
from remanager.verbs.dispatch import Dispatcher
from remanager.wire.codec import CachedReply, Encoding

logger = logging.getLogger(__name__)

EXIT_FAULT = 1
EXIT_CONFIGURATION = 2
STATUS_PERIOD_S = 1.0


class ManagerProcess:
    """Puts the manager together and keeps it running until it is told to stop.

    Parameters
    ----------
    settings : Settings
        Resolved settings.
    supervisor_fd : int
        Inherited socket to the supervisor.
    """

    def __init__(self, settings: Settings, supervisor_fd: int) -> None:
        self._settings = settings
        self._encoding = Encoding(settings.zmq_encoding)
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._stop_signal: int | None = None
        self._replaced = False
        self._fault: BaseException | None = None
        self._supervisor = SupervisorLink(
            supervisor_fd,
            on_stop=self._on_stop_signal,
            on_lost=self._on_supervisor_lost,
            on_leave=self._on_leave,
        )
        writer = _console_writer(sys.stdout.fileno()) if settings.print_console_output else None
        self._writer = writer
        self._info: InfoPublisher | None = None
        if settings.zmq_publish_console:
            self._info = InfoPublisher(
                settings.zmq_info_addr, self._encoding, on_subscribe=self._on_subscribe
            )
        # Numbers grow over restarts: nobody writes a million pieces per second for long.
        self._clock = WallClock()
        self._hub = ConsoleHub(self._info, writer, first_seq=time.time_ns() // 1000)
        self._manager: Manager | None = None
        self._control: ControlServer | None = None

    async def run(self) -> int:
        """Run until the end; return the exit code."""
        handler = self._start_logging()
        try:
            return await self._run()
        except (StorageError, AddressError, KeysError) as exc:
            say(f"remanager: {exc}")
            return EXIT_CONFIGURATION
        except sqlite3.DatabaseError as exc:
            if (problem := damage(exc, self._settings.state_dir)) is None:
                raise
            say(f"remanager: {problem}")
            return EXIT_CONFIGURATION
        finally:
            logging.getLogger().removeHandler(handler)
            await self._supervisor.close()
            if self._writer is not None:
                await asyncio.to_thread(self._writer.close)

    async def _run(self) -> int:
        settings = self._settings
        raise_descriptor_limit()
        info = await self._supervisor.connect()
        if settings.log_level > logging.INFO:
            self._supervisor.be_quiet()
        store = Store.open(settings.state_dir, on_failure=self._on_store_failure, on_room=self._on_room)
        if settings.manager_scheduling == "auto":
            take_priority()  # before the sockets have threads: they get along without
        if settings.demo_mode and settings.use_ipython_kernel and settings.ipython_dir is not None:
            copy_profile(settings.ipython_dir)
        processes = Processes(self._supervisor, settings.worker_scope)
        runtime = runtime_dir(settings.state_dir)
        workers = WorkerHost(runtime, on_message=self._on_worker_message, on_console=self._hub.feed)
        try:
            workers.start()
            manager = self._manager = self._make_manager(store, runtime, workers, processes)
            for notice in settings.notices:
                logger.warning("%s", notice)
            if self._info is not None:
                self._info.start()
            restoring = asyncio.create_task(restore(manager, first_start=info.restarts == 0))
            await asyncio.sleep(0)
            dispatcher = Dispatcher(manager)  # loading the methods takes time: meanwhile the disk writes
            await restoring
            self._clock.on_step = manager.clock_set
            gc.freeze()  # what is there now stays: a walk over 100 000 tasks would hold up every request
            control = self._control = self._make_control(dispatcher)
            control.start()
            store.tell(control_address=control.address)
            self._supervisor.leave_workers(settings.on_stop != "close")
            self._supervisor.start_heartbeats(lambda: headline(manager))
            manager.background.spawn(self._repeat_status(manager), "status repeat")
            manager.background.spawn(self._tell_ready(manager, control.address), "ready")
            await self._stop.wait()
            return await self._end(manager)
        finally:
            if self._control is not None:
                await self._control.close()
            if self._info is not None:
                await self._info.close()
            processes.close()
            await workers.close()
            if self._fault is None:  # a full disk might not take it again
                with contextlib.suppress(OSError):  # files of workers that go on are in it
                    runtime.rmdir()
            await asyncio.to_thread(store.close)

    def _make_manager(
        self, store: Store, runtime: Path, workers: WorkerHost, processes: Processes
    ) -> Manager:
        return Manager(
            store=store,
            options=_options(self._settings, runtime),
            clock=self._clock,
            workers=workers,
            processes=processes,
            publish_status=self._publish_status,
            status_wanted=self._status_wanted,
            on_fault=self._on_fault,
            on_stop=self._stop.set,
            transport_counters=lambda: self._control.counters.as_dict() if self._control else {},
            publish_info=self._publish_info,
            read_console=self._hub.since,
            read_memory=resident_bytes,
            read_cpu=cpu_seconds,
        )

    def _make_control(self, dispatcher: Dispatcher) -> ControlServer:
        settings = self._settings
        private_key = settings.zmq_private_key or read_server_key(settings.state_dir)
        return ControlServer(
            settings.zmq_control_addr,
            dispatcher,
            encoding=self._encoding,
            private_key=private_key,
            identities=KeyRing(settings.state_dir / KEYS_NAME) if private_key else None,
        )

    async def _end(self, manager: Manager) -> int:
        if self._fault is not None:
            await manager.background.close()
            if damage(self._fault, self._settings.state_dir) is not None:
                raise self._fault
            logger.critical("The manager ends after an internal fault", exc_info=self._fault)
            return EXIT_FAULT
        by_service = self._stop_signal == signal.SIGTERM
        leave = self._replaced or (by_service and await workers_outlive(self._settings.on_stop))
        self._supervisor.leave_workers(leave)
        self._supervisor.stopping()
        if leave:
            await manager.leave()
            logger.info("The manager leaves; workers go on")
        else:
            await manager.shut_down()
            logger.info("The manager was stopped")
        return 0

    # -------------------------------------------------------------------------------- events

    def _on_stop_signal(self, number: int) -> None:
        self._stop_signal = number
        self._stop.set()

    def _on_leave(self) -> None:
        self._replaced = True
        self._stop.set()

    def _on_fault(self, exc: BaseException) -> None:
        """End the process: its successor starts from what is on disk, workers go on meanwhile."""
        if self._fault is None:
            self._fault = exc
        self._stop.set()

    def _on_store_failure(self, exc: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._on_fault, exc)

    def _on_room(self, has_room: bool) -> None:
        def tell() -> None:
            if self._manager is not None:
                self._manager.ledger.on_room(has_room)

        self._loop.call_soon_threadsafe(tell)

    def _on_worker_message(self, worker_uid: str, message: Message) -> None:
        if self._manager is not None:
            self._manager.on_worker_message(worker_uid, message)

    def _on_supervisor_lost(self) -> None:
        """Leave at once and leave the worker alone: whoever is started next takes it over."""
        if not self._stop.is_set():
            self._on_fault(ConnectionResetError("the supervisor is gone"))

    def _publish_status(self, status: CachedReply) -> None:
        if self._info is not None:
            self._info.publish_status(status)

    def _publish_info(self, news: Mapping[str, object]) -> None:
        if self._info is not None and self._manager is not None:
            # Listeners that know only the peer's messages look for the status in each of them.
            self._info.publish_info({"status": self._manager.status.reply(), **news})

    def _status_wanted(self) -> bool:
        return self._info is not None and self._info.has_subscribers(TOPIC_INFO)

    def _on_subscribe(self, topic: str) -> None:
        if topic == TOPIC_INFO and self._manager is not None:
            self._publish_status(self._manager.status.reply())

    async def _tell_ready(self, manager: Manager, address: str) -> None:
        """Log that requests are carried out: until then their answer is that the manager starts."""
        await manager.started.wait()
        logger.info("The manager is ready: %s, state in %s", address, self._settings.state_dir)

    async def _repeat_status(self, manager: Manager) -> None:
        """Repeat the status for listeners that missed a change."""
        while True:
            await asyncio.sleep(STATUS_PERIOD_S)
            if self._status_wanted():
                self._publish_status(manager.status.reply())

    def _start_logging(self) -> logging.Handler:
        handler = HubLogHandler(self._hub, self._loop)
        formatter = logging.Formatter("[%(levelname).1s %(asctime)s %(name)s] %(message)s")
        formatter.default_msec_format = "%s.%03d"  # as the workers write it
        handler.setFormatter(formatter)
        root = logging.getLogger()
        root.setLevel(self._settings.log_level)
        root.addHandler(handler)
        logging.getLogger("asyncio").setLevel(max(logging.WARNING, self._settings.log_level))
        return handler


def _console_writer(fd: int) -> ConsoleWriter:
    return JournalWriter(fd) if is_journal(fd) else OutputWriter(fd)


def _options(settings: Settings, runtime: Path) -> ManagerOptions:
    worker = WorkerConfig(
        worker_uid="",
        link_address="",
        console_address="",
        startup_dir=_text(settings.startup_dir),
        startup_profile=settings.startup_profile,
        startup_module=settings.startup_module,
        startup_script=_text(settings.startup_script),
        ipython_dir=_text(settings.ipython_dir),
        encoding=settings.zmq_encoding,
        device_max_depth=settings.device_max_depth,
        ignore_invalid_plans=settings.ignore_invalid_plans,
        permitted_re_metadata_keys=list(settings.permitted_re_metadata_keys),
        use_ipython_kernel=settings.use_ipython_kernel,
        kernel_ip=settings.ipython_kernel_ip,
        kernel_matplotlib=settings.ipython_matplotlib,
        kernel_connection_file=settings.ipython_connection_file,
        kernel_connection_dir=settings.ipython_connection_dir,
        kernel_ports=_kernel_ports(settings),
        log_level=settings.log_level,
    )
    return ManagerOptions(
        version=settings.report_version or __version__,
        runtime_dir=runtime,
        worker_python=_text(settings.worker_python) or sys.executable,
        worker=worker,
        lists_path=settings.existing_plans_and_devices_path,
        permissions_path=settings.user_group_permissions_path,
        lists_update=settings.update_existing_plans_devices,
        permissions_reload=settings.user_group_permissions_reload,
        retention_s=settings.task_result_retention,
        emergency_lock_key=settings.emergency_lock_key,
        allow_kill=settings.allow_manager_kill,
        task_queue=TaskQueueOptions(
            modules=tuple(settings.task_modules),
            paths=tuple(str(absolute(path)) for path in settings.task_paths),
            workers=settings.task_workers,
            idle_s=settings.task_worker_idle,
            max_tasks=settings.task_worker_max_tasks,
            max_rss_bytes=settings.task_worker_max_memory * 1024 * 1024,
            max_active=settings.task_max_active,
            preempt_at=settings.task_preempt_at,
            aging_interval_s=settings.task_aging_interval,
            aging_grace_s=settings.task_aging_grace,
            aging_ceiling=settings.task_aging_ceiling,
            retention=parse_retention(settings.task_retention),
            archive=settings.task_archive,
            log_level=settings.log_level,
        ),
    )


def _kernel_ports(settings: Settings) -> dict[str, int]:
    ports = {
        "shell": settings.ipython_shell_port,
        "iopub": settings.ipython_iopub_port,
        "stdin": settings.ipython_stdin_port,
        "hb": settings.ipython_hb_port,
        "control": settings.ipython_control_port,
    }
    return {channel: port for channel, port in ports.items() if port}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def run(settings: Settings, supervisor_fd: int) -> int:
    """Run the manager; return its exit code.

    Parameters
    ----------
    settings : Settings
        Resolved settings.
    supervisor_fd : int
        Inherited socket to the supervisor.
    """

    async def main() -> int:
        return await ManagerProcess(settings, supervisor_fd).run()

    return asyncio.run(main())
