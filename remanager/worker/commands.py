"""Decisions of the control thread: which command is accepted, and where its work goes."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from remanager.model.link import (
    CloseEnvironment,
    Command,
    ContinuePlan,
    GetKernelInfo,
    GetMetadata,
    InterruptKernel,
    PausePlan,
    ReleaseKernel,
    Reply,
    RunPlan,
    RunTask,
    SetPermissions,
    StopTask,
    Welcome,
)
from remanager.model.states import EnvironmentState
from remanager.worker.failures import exception_text
from remanager.worker.metadata import MetadataError, metadata_text
from remanager.worker.run_engine import NO_RUN_ENGINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from remanager.model.link import Message
    from remanager.model.worker_config import WorkerConfig
    from remanager.worker.environment import Environment
    from remanager.worker.main_thread import KernelPort
    from remanager.worker.run_engine import RunEngineControl
    from remanager.worker.state import AcceptedUids, StateBoard
    from remanager.worker.tasks import TaskRunner

logger = logging.getLogger(__name__)

MainThreadCommand = RunPlan | ContinuePlan | RunTask | CloseEnvironment
ALREADY_ACCEPTED = "already accepted"
NO_KERNEL = "RE Manager is not in IPython mode: IPython kernel is not used"

_OPEN = (EnvironmentState.IDLE, EnvironmentState.EXECUTING_PLAN, EnvironmentState.EXECUTING_TASK)


class CommandDesk:
    """Accepts or refuses commands at once; the work is done by other threads.

    A plan or task whose uid was accepted before is not run again; the reply is a success with the message
    ``already accepted``, because what the manager asked for has been done or is being done.

    Parameters
    ----------
    config, board, accepted, environment, control, tasks
        Parts of the worker.
    submit : callable
        Hands work to the main thread.
    reply : callable
        Sends a reply, from any thread.
    kernel : KernelPort or None
        The IPython kernel in the main thread.
    """

    def __init__(
        self,
        *,
        config: WorkerConfig,
        board: StateBoard,
        accepted: AcceptedUids,
        environment: Environment,
        control: RunEngineControl,
        tasks: TaskRunner,
        submit: Callable[[MainThreadCommand], None],
        reply: Callable[[Reply], None],
        kernel: KernelPort | None = None,
    ) -> None:
        self._config = config
        self._board = board
        self._accepted = accepted
        self._environment = environment
        self._control = control
        self._tasks = tasks
        self._submit = submit
        self._reply = reply
        self._kernel = kernel

    def handle(self, message: Message) -> None:
        """Take a message of the manager; called in the control thread only."""
        try:
            self._handle(message)
        except Exception as exc:
            # What one message meets must not end the plan that runs.
            logger.exception("A message of the manager was not carried out: %s", type(message).__name__)
            if isinstance(message, Command):
                self._reply(Reply(message.id, False, f"The worker refused: {exception_text(exc)}"))

    def _handle(self, message: Message) -> None:
        match message:
            case Welcome() | ReleaseKernel() | StopTask():
                self._take_word(message)
                return
            case GetMetadata():
                # Metadata may live in a database: do not let the control thread wait for it.
                threading.Thread(target=self._answer_metadata, args=(message.id,), daemon=True).start()
                return
            case GetKernelInfo():
                self._reply(self._kernel_info(message.id))
                return
            case RunPlan() | RunTask() if self._uid(message) in self._accepted:
                self._reply(Reply(message.id, True, ALREADY_ACCEPTED))
                return
            case RunPlan():
                refusal = self._run_plan(message)
            case RunTask():
                refusal = self._run_task(message)
            case PausePlan():
                refusal = self._control.request_pause(message.option)
            case ContinuePlan():
                refusal = self._continue_plan(message)
            case SetPermissions():
                self._environment.set_permissions(message.permissions)
                refusal = ""
            case InterruptKernel():
                refusal = self._interrupt_kernel(message)
            case CloseEnvironment():
                refusal = self._close(message)
            case _:
                logger.warning("An unexpected message of the manager was dropped: %s", type(message).__name__)
                return
        self._reply(Reply(message.id, not refusal, refusal))

    def _take_word(self, message: Welcome | ReleaseKernel | StopTask) -> None:
        """Do what needs no answer."""
        match message:
            case Welcome():
                self._environment.set_permissions(message.permissions)
            case ReleaseKernel() if self._kernel is not None:
                self._kernel.release()
            case StopTask():
                self._tasks.stop_background(message.task_uid, message.reason)

    @staticmethod
    def _uid(command: RunPlan | RunTask) -> str:
        return command.item_uid if isinstance(command, RunPlan) else command.task_uid

    def _run_plan(self, command: RunPlan) -> str:
        state = self._board.current
        if state.re_state is None and state.environment_state in _OPEN:
            return NO_RUN_ENGINE
        if refusal := self._why_not_free():
            return refusal
        self._accepted.add(command.item_uid)
        self._control.expect_plan()
        self._board.change(
            environment_state=EnvironmentState.EXECUTING_PLAN.value,
            running_item_uid=command.item_uid,
            run_list=[],
        )
        self._submit(command)
        return ""

    def _run_task(self, command: RunTask) -> str:
        if command.background:
            state = self._board.current.environment_state
            if state not in _OPEN:
                return (
                    f"Incorrect environment state: '{state}'. Acceptable states: {[s.value for s in _OPEN]}"
                )
            self._accepted.add(command.task_uid)
            self._board.change(background=1)
            try:
                self._tasks.start_background(command)
            except (RuntimeError, MemoryError) as exc:  # the system has no more threads
                self._accepted.withdraw(command.task_uid)
                self._board.change(background=-1)
                return f"The task cannot be started: {exception_text(exc)}"
            return ""
        if refusal := self._why_not_free() or self._why_kernel_busy():
            return refusal
        self._accepted.add(command.task_uid)
        self._board.change(
            environment_state=EnvironmentState.EXECUTING_TASK.value, running_task_uid=command.task_uid
        )
        self._submit(command)
        return ""

    def _continue_plan(self, command: ContinuePlan) -> str:
        if self._control.end_unpaused(command.option):
            return ""
        refusal = self._why_kernel_busy() or self._control.expect_continuation(command.option)
        if not refusal:
            self._board.change(environment_state=EnvironmentState.EXECUTING_PLAN.value)
            self._submit(command)
        return refusal

    def _close(self, command: CloseEnvironment) -> str:
        if refusal := self._why_not_free():
            return refusal
        if self._why_kernel_busy():
            return "IPython kernel is busy and can not be stopped."
        self._board.change(environment_state=EnvironmentState.CLOSING.value)
        self._submit(command)
        return ""

    def _why_not_free(self) -> str:
        """Tell why the main thread cannot take work; empty if it can."""
        state = self._board.current
        if state.running_item_uid is not None:
            word = "paused" if state.environment_state == EnvironmentState.IDLE else "running"
            return f"The plan {state.running_item_uid} is {word}. Stop the plan and try again."
        if state.running_task_uid is not None:
            return f"The task {state.running_task_uid} is running. Try again when it is completed."
        if state.environment_state != EnvironmentState.IDLE:
            return f"Incorrect environment state: '{state.environment_state}'. Acceptable states: ['idle']"
        return ""

    def _why_kernel_busy(self) -> str:
        """Tell that a client keeps the kernel busy; empty if none does.

        A plan is not refused for that: the manager has looked before, and a client that was quicker by a
        moment only delays it.
        """
        return "IPython kernel (RE Worker) is busy." if self._board.current.kernel_is_taken else ""

    def _kernel_info(self, number: int) -> Reply:
        if self._kernel is None:
            return Reply(number, False, NO_KERNEL)
        return Reply(number, True, data=self._kernel.connection_info())

    def _interrupt_kernel(self, command: InterruptKernel) -> str:
        state = self._board.current.environment_state
        if self._kernel is None:
            return NO_KERNEL
        if state == EnvironmentState.EXECUTING_PLAN and not command.plan:
            return "Not allowed to interrupt running plan"
        if state == EnvironmentState.EXECUTING_TASK and not command.task:
            return "Not allowed to interrupt running task"
        self._kernel.interrupt()
        return ""

    def _answer_metadata(self, number: int) -> None:
        config = self._config
        try:
            text = metadata_text(self._control.engine, config.permitted_re_metadata_keys, config.encoding)
        except MetadataError as exc:
            self._reply(Reply(number, False, str(exc)))
        else:
            self._reply(Reply(number, True, data={"re_metadata": text}))
