"""Messages between the manager and the environment worker.

The manager listens on a Unix socket; a worker connects and gives its ``worker_uid`` in the first frame
(:mod:`remanager.model.frames`). Each message is one frame (:func:`pack`, :func:`unpack`). Events carry a
``seq`` that counts from 1 in each worker; the worker keeps an event until an :class:`Ack` (or a
:class:`Welcome`) covers it, so nothing is lost while the manager is away. Items travel as JSON text, the form
in which the store keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias, cast, get_args

import msgpack

if TYPE_CHECKING:
    from remanager.model.pool_messages import PoolToManager, PoolToWorker

# ------------------------------------------------------------------------------------------ state


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker says of itself whenever it changes.

    Attributes
    ----------
    environment_state : str
        A value of :class:`remanager.model.states.EnvironmentState`.
    re_state : str or None
        State of the RunEngine (``idle``, ``running``, ``paused``, ...); None without a RunEngine.
    running_item_uid, running_task_uid : str or None
        The plan (running or paused) and the foreground task, if any.
    background_tasks : int
        Number of tasks running in background threads.
    deferred_pause : bool
        A deferred pause was asked for and not taken yet.
    run_list : list of dict
        Runs of the running plan:
        ``{"uid": str, "scan_id": int | None, "is_open": bool, "exit_status": str | None}``.
    run_list_rev : int
        Grows with each change of ``run_list``.
    ip_kernel_state : str
        ``disabled`` in plain Python mode, else ``starting``, ``idle`` or ``busy``.
    ip_kernel_captured : bool
        Whether the main thread belongs to the manager; always True in plain Python mode. A kernel that is
        busy without being captured works for somebody else.
    """

    environment_state: str = "initializing"
    re_state: str | None = None
    running_item_uid: str | None = None
    running_task_uid: str | None = None
    background_tasks: int = 0
    deferred_pause: bool = False
    run_list: list[dict[str, Any]] = field(default_factory=list)
    run_list_rev: int = 0
    ip_kernel_state: str = "disabled"
    ip_kernel_captured: bool = True

    @property
    def kernel_is_taken(self) -> bool:
        """Whether the IPython kernel works for somebody else than the manager."""
        return self.ip_kernel_state == "busy" and not self.ip_kernel_captured


# ------------------------------------------------------------------------------------------ manager -> worker


class Welcome(NamedTuple):
    """Answer to :class:`Hello`: who the manager is and what it has already recorded."""

    manager_uid: str
    acked_seq: int
    permissions: dict[str, Any]


class Ack(NamedTuple):
    """Every event up to and including ``seq`` is on disk."""

    seq: int


class RunPlan(NamedTuple):
    """Run a plan.

    Attributes
    ----------
    body : str
        The item as JSON text: name, args, kwargs, meta, user, user_group, item_uid.
    attempt : int
        1, and one more for each time that the item returned to the queue unfinished.
    principal : str or None
        Who submitted it; None where clients are not identified.
    """

    id: int
    item_uid: str
    body: str
    attempt: int = 1
    principal: str | None = None


class PausePlan(NamedTuple):
    """Pause the running plan; ``option`` is ``deferred`` or ``immediate``."""

    id: int
    option: str


class ContinuePlan(NamedTuple):
    """Go on with a paused plan; ``option`` is ``resume``, ``stop``, ``abort`` or ``halt``."""

    id: int
    option: str


class RunTask(NamedTuple):
    """Run a function or a script.

    ``kind`` is ``function`` (``body``: the item as JSON text) or ``script`` (``body``: JSON text of
    ``{"script": str, "update_lists": bool, "update_re": bool}``; an environment update is an empty script).
    ``attempt`` and ``timeout_s`` are what the function finds in its context.
    """

    id: int
    task_uid: str
    kind: str
    body: str
    background: bool
    attempt: int = 1
    timeout_s: float | None = None


class StopTask(NamedTuple):
    """Tell a background task to stop; it may listen or not."""

    task_uid: str
    reason: str


class SetPermissions(NamedTuple):
    """Use these user group permissions from now on."""

    id: int
    permissions: dict[str, Any]


class GetMetadata(NamedTuple):
    """Answer with the RunEngine's metadata: ``Reply.data["re_metadata"]`` is JSON text."""

    id: int


class GetKernelInfo(NamedTuple):
    """Answer with ``Reply.data``: what clients need to connect to the IPython kernel."""

    id: int


class InterruptKernel(NamedTuple):
    """Interrupt what the IPython kernel executes; a task or plan of the manager only if that is allowed."""

    id: int
    task: bool
    plan: bool


class ReleaseKernel(NamedTuple):
    """No plan follows soon: the IPython kernel may turn to its clients at once."""


class CloseEnvironment(NamedTuple):
    """Leave in an orderly way. Refused while a plan or a foreground task runs."""

    id: int


# ------------------------------------------------------------------------------------------ worker -> manager


class Hello(NamedTuple):
    """First message after each (re)connection.

    ``accepted`` lists the uids of plans and tasks that the worker accepted lately (at least the last 1000):
    what is not in it never reached the worker.
    """

    worker_uid: str
    pid: int
    last_seq: int
    accepted: list[str]
    state: WorkerState


class Heartbeat(NamedTuple):
    """Sent every few seconds by the control thread."""

    time: float


class Reply(NamedTuple):
    """Answer to the command with the same ``id``: accepted or not."""

    id: int
    success: bool
    msg: str = ""
    data: dict[str, Any] | None = None


class StateChanged(NamedTuple):
    """The worker's state changed. Never needed for correctness: :class:`Hello` repeats it."""

    state: WorkerState


class Progress(NamedTuple):
    """How far the running plan is; ``total`` is None where it is not known."""

    item_uid: str
    done: int
    total: int | None


class EnvironmentReady(NamedTuple):
    """Start-up code was loaded. ``plans`` and ``devices`` are JSON texts of the descriptions."""

    seq: int
    time: float
    plans: str
    devices: str


class EnvironmentFailed(NamedTuple):
    """Start-up code failed; the worker exits after this."""

    seq: int
    time: float
    msg: str
    traceback: str


class ListsChanged(NamedTuple):
    """Existing plans or devices changed. JSON texts as in :class:`EnvironmentReady`."""

    seq: int
    time: float
    plans: str
    devices: str


class PlanPaused(NamedTuple):
    """The running plan is paused."""

    seq: int
    time: float
    item_uid: str


class PlanFinished(NamedTuple):
    """The running plan ended.

    ``exit_status`` is a value of :class:`remanager.model.states.ExitStatus`; ``pause_pending`` tells that a
    pause was asked for and the plan ended before it came. ``error_type`` is the class of the exception.
    """

    seq: int
    time: float
    item_uid: str
    exit_status: str
    run_uids: list[str]
    scan_ids: list[int]
    msg: str
    traceback: str
    time_start: float
    time_stop: float
    stop_queue: bool = False
    pause_pending: bool = False
    error_type: str = ""


class TaskFinished(NamedTuple):
    """A function or script ended. ``payload`` is its return value in ``codec`` (``json`` or ``msgpack``).

    ``cancelled`` tells that it stopped because it was told to, ``error_type`` is the class of the exception.
    """

    seq: int
    time: float
    task_uid: str
    success: bool
    msg: str
    traceback: str
    codec: str
    payload: bytes
    time_start: float
    time_stop: float
    cancelled: bool = False
    error_type: str = ""


Command = (
    RunPlan
    | PausePlan
    | ContinuePlan
    | RunTask
    | SetPermissions
    | GetMetadata
    | GetKernelInfo
    | InterruptKernel
    | CloseEnvironment
)
Event = EnvironmentReady | EnvironmentFailed | ListsChanged | PlanPaused | PlanFinished | TaskFinished
ToWorker = Command | Welcome | Ack | ReleaseKernel | StopTask
ToManager = Event | Hello | Heartbeat | Reply | StateChanged | Progress
Message: TypeAlias = "ToWorker | ToManager | PoolToWorker | PoolToManager"


# ------------------------------------------------------------------------------------------ codec


class _Registry:
    classes: ClassVar[dict[str, type[Any]]] = {}
    state: ClassVar[tuple[str, ...]] = tuple(f.name for f in fields(WorkerState))


def register(*kinds: type) -> None:
    """Add kinds of messages: named tuples whose fields msgpack can encode."""
    for kind in kinds:
        _Registry.classes[kind.__name__] = kind


register(*get_args(ToWorker), *get_args(ToManager))


def _plain(value: object) -> object:
    if type(value) is WorkerState:
        return [getattr(value, n) for n in _Registry.state]
    return value


def pack(message: Message) -> bytes:
    """Encode a message as one frame."""
    values = map(_plain, message)
    # Lone surrogates, as in the text of an exception about a file's name, have no UTF-8 form.
    return cast(bytes, msgpack.packb([type(message).__name__, *values], unicode_errors="backslashreplace"))


def unpack(frame: bytes | bytearray) -> Message:
    """Decode a frame.

    Raises
    ------
    ValueError
        The frame is not one of these messages.
    """
    try:
        name, *values = msgpack.unpackb(frame, strict_map_key=False)
        kind = _Registry.classes[name]
        data = dict(zip(kind._fields, values, strict=False))
        if "state" in data:
            data["state"] = WorkerState(*data["state"])
        return cast(Message, kind(**data))
    except (TypeError, KeyError, ValueError, msgpack.UnpackException) as exc:
        raise ValueError(f"not a link message: {exc}") from exc
