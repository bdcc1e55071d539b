"""The environment worker process: its parts, its main thread, its end."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from remanager.model.link import (
    CloseEnvironment,
    ContinuePlan,
    EnvironmentFailed,
    EnvironmentReady,
    Hello,
    PlanFinished,
    Progress,
    RunPlan,
    RunTask,
    TaskFinished,
)
from remanager.model.states import EnvironmentState
from remanager.worker.capture import ConsoleCapture
from remanager.worker.commands import CommandDesk
from remanager.worker.environment import Environment
from remanager.worker.failures import exception_text, traceback_text
from remanager.worker.interrupt import UserCode
from remanager.worker.lifecycle import Lifecycle
from remanager.worker.link import Link
from remanager.worker.main_thread import EndedOutside, PlainMainThread
from remanager.worker.run_engine import RunEngineControl
from remanager.worker.state import AcceptedUids, StateBoard, is_busy
from remanager.worker.tasks import TaskRunner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from remanager.model.link import Event, Message, WorkerState
    from remanager.model.worker_config import WorkerConfig
    from remanager.worker.main_thread import MainThread, Work

logger = logging.getLogger("remanager.worker")

EXIT_CLOSED = 0
EXIT_FAILED = 1
OPENING_GC = (300_000, 50, 100)
ACK_TIMEOUT_S = 1.0
FAILURE_ACK_TIMEOUT_S = 5.0

STARTUP_ERROR = "Failed to start RE Worker environment. Error while loading startup code"


class WorkerProcess:
    """The environment worker.

    The main thread loads start-up code and runs plans and foreground tasks, one at a time. The link's thread
    answers the manager.

    Parameters
    ----------
    config : WorkerConfig
        Settings of the worker.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._user_code = UserCode()
        self._busy_until = time.monotonic()
        self._accepted = AcceptedUids()
        self._life = Lifecycle(ConsoleCapture(config.console_address), config.log_level, config.crash_path)
        self._link = Link(
            config.link_address,
            config.worker_uid,
            on_message=self._on_message,
            hello=self._hello,
            on_tick=self._leave_if_orphaned,
            on_fault=self._life.fail,
        )
        self._main = self._main_thread()
        self._board = StateBoard(self._publish, self._main.refine)
        self._control = RunEngineControl(
            self._board,
            self._user_code,
            on_progress=lambda uid, done, total: self._link.progress(Progress(uid, done, total)),
            on_ended_outside=lambda: self._main.submit(EndedOutside()),
        )
        self._environment = Environment(config)
        self._tasks = TaskRunner(
            self._environment, self._control, self._board, self._user_code, config.encoding
        )
        self._desk = CommandDesk(
            config=config,
            board=self._board,
            accepted=self._accepted,
            environment=self._environment,
            control=self._control,
            tasks=self._tasks,
            submit=self._main.submit,
            reply=self._link.send,
            kernel=self._main.kernel,
        )

    def _publish(self, events: Sequence[Event], state: WorkerState | None) -> None:
        for event in events:
            if isinstance(event, PlanFinished):
                self._accepted.ended(event.item_uid)
            elif isinstance(event, TaskFinished):
                self._accepted.ended(event.task_uid)
        self._link.publish(events, state)

    def _main_thread(self) -> MainThread:
        if not self._config.use_ipython_kernel:
            return PlainMainThread()
        from remanager.worker.kernel import KernelMainThread  # only here: it needs ipykernel

        return KernelMainThread()

    def run(self) -> None:
        """Open the environment and work until told to leave; the interpreter should exit after that.

        The process then ends with the exit code 0, or 1 if the environment could not be opened.
        """
        self._user_code.install()
        self._life.begin()
        self._link.start()
        with rare_collections():
            opened = self._open()
        if opened:
            self._environment.warm_up()
            self._main.run(self._perform, self._board)
        self._board.change(environment_state=EnvironmentState.CLOSING.value)
        self._link.close(ACK_TIMEOUT_S if opened else FAILURE_ACK_TIMEOUT_S)
        self._life.exit_code = EXIT_CLOSED if opened else EXIT_FAILED
        self._life.end_soon()

    # ------------------------------------------------------------------------------------ main thread

    def _open(self) -> bool:
        asyncio.set_event_loop(asyncio.new_event_loop())  # start-up code may need one
        try:
            with self._user_code:
                self._environment.open(self._main.load)
        except BaseException as exc:  # noqa: BLE001 - start-up code may raise anything
            msg, trace = f"{STARTUP_ERROR}: {exception_text(exc)}", traceback_text(exc)
            logger.error("%s:\n%s", STARTUP_ERROR, trace)
            self._board.change(
                events=[EnvironmentFailed(0, time.time(), msg, trace)],
                environment_state=EnvironmentState.FAILED.value,
            )
            return False
        self._control.attach(self._environment.ns.get("RE"))
        self._main.when_open(self._tell_open)
        return True

    def _tell_open(self) -> None:
        lists = self._environment.lists
        logger.info("RE Environment is ready")
        self._board.change(
            events=[EnvironmentReady(0, time.time(), lists.plans_text, lists.devices_text)],
            environment_state=EnvironmentState.IDLE.value,
        )

    def _perform(self, work: Work) -> bool:
        """Do a piece of work; return False if it is the last one."""
        match work:
            case RunPlan():
                self._run_plan(work)
            case ContinuePlan():
                self._control.go_on(work.option)
            case RunTask():
                self._tasks.run(work)
            case EndedOutside():
                self._control.close_ended_outside()
            case CloseEnvironment():
                logger.info("Closing RE Worker environment ...")
                return False
        return True

    def _run_plan(self, command: RunPlan) -> None:
        item = json.loads(command.body)

        def start(engine: Any) -> object:
            try:
                call = self._environment.plan_call(item)
            except Exception as exc:
                raise RuntimeError(
                    f"Error occurred while processing plan parameters or starting the plan: {exc}"
                ) from exc
            logger.info("Starting the plan '%s'", item["name"])
            metadata = {"queue_item_uid": command.item_uid, **call["meta"]}
            return engine(call["callable"](*call["args"], **call["kwargs"]), **metadata)

        self._control.run(
            command.item_uid,
            start,
            _run_metadata(command, item),
            hints=lambda: self._environment.unknown_names(item),
        )

    # ------------------------------------------------------------------------------------ link's thread

    def _on_message(self, message: Message) -> None:
        self._desk.handle(message)

    def _hello(self, last_seq: int) -> Hello:
        return Hello(
            self._config.worker_uid, os.getpid(), last_seq, self._accepted.as_list(), self._board.current
        )

    def _leave_if_orphaned(self, contact_age: float) -> None:
        now = time.monotonic()
        if is_busy(self._board.current):
            self._busy_until = now
        elif min(contact_age, now - self._busy_until) > self._config.orphan_timeout_s:
            logger.warning("No manager for %g s: the worker leaves", self._config.orphan_timeout_s)
            self._board.change(environment_state=EnvironmentState.CLOSING.value)
            self._main.submit(CloseEnvironment(0))


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect garbage rarely: imports make many objects that stay, and looking through them takes a tenth."""
    usual = gc.get_threshold()
    gc.set_threshold(*OPENING_GC)
    try:
        yield
    finally:
        if gc.get_threshold() == OPENING_GC:  # else start-up code has set its own
            gc.set_threshold(*usual)


def _run_metadata(command: RunPlan, item: dict[str, Any]) -> dict[str, object]:
    """Return what the runs of a plan say of the queue's item by themselves."""
    metadata: dict[str, object] = {key: item[key] for key in ("user", "user_group") if key in item}
    metadata["attempt"] = command.attempt
    if command.principal is not None:
        metadata["principal"] = command.principal
    return metadata
