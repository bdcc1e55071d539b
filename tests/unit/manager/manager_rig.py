"""A manager on a real store, with a worker and processes that the test plays."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from remanager.daemon.control import ControlCounters
from remanager.manager.manager import Manager
from remanager.manager.options import ManagerOptions
from remanager.manager.ports import NotConnected
from remanager.manager.recovery import restore
from remanager.manager.task_queue.options import TaskQueueOptions
from remanager.model.event_types import EVENT_TYPES
from remanager.model.link import (
    Ack,
    CloseEnvironment,
    ContinuePlan,
    EnvironmentFailed,
    EnvironmentReady,
    Heartbeat,
    Hello,
    ListsChanged,
    Message,
    PausePlan,
    PlanFinished,
    PlanPaused,
    Reply,
    RunPlan,
    RunTask,
    StateChanged,
    TaskFinished,
    Welcome,
    WorkerState,
    pack,
    unpack,
)
from remanager.model.pool_messages import (
    CancelTask,
    ChildAnswer,
    Drain,
    PoolHello,
    PoolReady,
    RunTasks,
    SubmitChild,
    TaskCheckpoint,
    TaskProgress,
    TasksEnded,
    TasksStarted,
)
from remanager.model.pool_worker_config import PoolWorkerConfig
from remanager.model.worker_config import WorkerConfig
from remanager.plans.lists_file import ExistingLists, write_lists
from remanager.store import Store
from remanager.verbs.dispatch import Dispatcher
from remanager.wire.codec import Encoding, encode_reply
from remanager.worker.pool.begun import BegunNote

TIMEOUT_S = 20.0

EVERYTHING = {"allowed_plans": [None], "allowed_devices": [None], "allowed_functions": [None]}
PERMISSIONS: dict[str, Any] = {"user_groups": {"root": EVERYTHING, "primary": EVERYTHING}}


def plan_description(name: str) -> dict[str, Any]:
    """Describe a plan with one optional parameter, ``num``."""
    parameter = {"name": "num", "kind": {"name": "POSITIONAL_OR_KEYWORD", "value": 1}, "default": "1"}
    return {"name": name, "parameters": [parameter], "properties": {"is_generator": True}, "module": ""}


PLANS = {name: plan_description(name) for name in ("count", "scan")}
FUNCTIONS: dict[str, dict[str, Any]] = {"work": {}, "other": {}}
"""Functions of the task modules and the default options of their tasks; all take any arguments."""
TASK_QUEUE = TaskQueueOptions(modules=("jobs",), workers=1)
DEVICES = {"det": {"classname": "Det", "is_readable": True, "is_movable": False, "is_flyable": False}}


async def hop() -> None:
    """Let the event loop turn once."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(future.set_result, None)
    await future


class Gate:
    """The store, behind a gate: while it is shut, transactions wait in front of it."""

    def __init__(self, store: Store, activity: Callable[[], None]) -> None:
        self._store = store
        self._activity = activity
        self._held: list[tuple[Any, Any, asyncio.Future[int]]] = []
        self.is_shut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def enqueue(self, writes: Sequence[Any], events: Sequence[Any] = ()) -> asyncio.Future[int]:
        """Hand a transaction to the store, or hold it."""
        assert {event.type for event in events} <= set(EVENT_TYPES)
        if not self.is_shut:
            future = self._store.enqueue(writes, events)
            future.add_done_callback(lambda _: self._activity())
            return future
        held: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._held.append((list(writes), list(events), held))
        return held

    async def purge(self, *args: Any, **kwargs: Any) -> int:
        """Purge, and say so."""
        rounds = await self._store.purge(*args, **kwargs)
        self._activity()
        return rounds

    def shut(self) -> None:
        """Hold transactions from now on."""
        self.is_shut = True

    async def open(self) -> None:
        """Let the held transactions through, in order."""
        self.is_shut = False
        held, self._held = self._held, []
        for writes, events, future in held:
            seq = await self.enqueue(writes, events)
            if not future.done():
                future.set_result(seq)
        await hop()

    def drop(self) -> None:
        """Lose the held transactions, as a crash would."""
        self._held.clear()
        self.is_shut = False


class FakeProcesses:
    """Processes that live until the test, or the manager, ends them."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._pids = itertools.count(1000)
        self._watches: dict[int, Callable[[int | None], None]] = {}
        self.alive: set[int] = set()
        self.foreign: set[int] = set()
        self.killed: list[int] = []
        self.spawn_error: OSError | None = None
        self.ignore_kill = False

    async def spawn(self, argv: Sequence[str], _env: Mapping[str, str] | None, _cwd: str | None) -> int:
        await hop()
        if self.spawn_error is not None:
            raise self.spawn_error
        return self._start(Path(argv[-1]), pool="remanager.worker.pool" in argv)

    def _start(self, config_path: Path, *, pool: bool) -> int:
        pid = next(self._pids)
        self.alive.add(pid)
        if pool:
            config = PoolWorkerConfig.from_json(config_path.read_text())
            worker = FakePoolWorker(self._rig, config.worker_uid, pid, Path(config.begun_path))
            self._rig.pool[config.worker_uid] = worker
            if self._rig.pool_greets:
                worker.hello()
                worker.ready()
        else:
            uid = WorkerConfig.from_json(config_path.read_text()).worker_uid
            self._rig.worker = FakeWorker(self._rig, uid, pid)
        self._rig.activity()
        return pid

    def is_alive(self, pid: int, start_ticks: int) -> bool:
        return pid in self.alive and start_ticks == pid

    def take_over(self, pid: int, start_ticks: int, _settings: Path) -> bool:
        return self.is_alive(pid, start_ticks) and pid not in self.foreign

    def start_ticks(self, pid: int) -> int:
        return pid if pid in self.alive else 0

    def watch(self, pid: int, on_exit: Callable[[int | None], None]) -> None:
        self._watches[pid] = on_exit
        if pid not in self.alive:
            asyncio.get_running_loop().call_soon(self.end, pid, None)

    def kill(self, pid: int) -> None:
        self.killed.append(pid)
        if pid in self.alive and not self.ignore_kill:
            self.end(pid, -9)

    def end(self, pid: int, returncode: int | None) -> None:
        """End a process."""
        self.alive.discard(pid)
        for worker in (self._rig.worker, *self._rig.pool.values()):
            if worker is not None and worker.pid == pid:
                worker.connected = False
        on_exit = self._watches.pop(pid, None)
        if on_exit is not None:
            asyncio.get_running_loop().call_soon(on_exit, returncode)

    def forget_watches(self) -> None:
        """The manager that watched is gone."""
        self._watches.clear()


class FakeWorker:
    """An environment worker whose every move the test decides; commands are accepted unless it says no."""

    def __init__(self, rig: Rig, uid: str, pid: int) -> None:
        self._rig = rig
        self.uid, self.pid = uid, pid
        self.connected = False
        self.silent = False
        self.refusals: dict[type, str] = {}
        self.replies: dict[type, dict[str, Any]] = {}
        self.received: list[Message] = []
        self.accepted: list[str] = []
        self.state = WorkerState()
        self.acked = 0
        self._seq = 0
        self._unacked: dict[int, Message] = {}

    # ---------------------------------------------------------------- from the manager

    def take(self, message: Message) -> None:
        """Take a message of the manager."""
        message = unpack(pack(message))
        self.received.append(message)
        if isinstance(message, Welcome):
            self._acknowledge(message.acked_seq)
        elif isinstance(message, Ack):
            self._acknowledge(message.seq)
        elif not self.silent and hasattr(message, "id"):
            self.answer(message)
        self._rig.activity()

    def answer(self, command: Any) -> None:
        """Accept or refuse a command, as told."""
        refusal = self.refusals.get(type(command), "")
        uid = getattr(command, "item_uid", None) or getattr(command, "task_uid", None)
        if uid in self.accepted:
            refusal = ""
        elif uid is not None and not refusal:
            self.accepted.append(uid)
        data = self.replies.get(type(command))
        self.send(Reply(command.id, not refusal, refusal, data))

    def _acknowledge(self, seq: int) -> None:
        self.acked = max(self.acked, seq)
        self._unacked = {s: e for s, e in self._unacked.items() if s > seq}

    def commands(self, kind: type) -> list[Any]:
        """Return the received messages of a kind."""
        return [m for m in self.received if isinstance(m, kind)]

    @property
    def plans(self) -> list[str]:
        """Uids of the plans that the worker was told to run, in order."""
        return [m.item_uid for m in self.commands(RunPlan)]

    # ---------------------------------------------------------------- to the manager

    def send(self, message: Message) -> None:
        """Send a message, in the next turn of the loop."""
        frame = pack(message)
        asyncio.get_running_loop().call_soon(self._deliver, frame)

    def _deliver(self, frame: bytes) -> None:
        if self.connected and self._rig.running:
            self._rig.manager.on_worker_message(self.uid, unpack(frame))

    def hello(self) -> None:
        """Connect (again): say hello and repeat what was not acknowledged."""
        self.connected = True
        self.send(Hello(self.uid, self.pid, self._seq, list(self.accepted), self.state))
        for event in self._unacked.values():
            self.send(event)

    def repeat(self, event: Message) -> None:
        """Send an event again."""
        self.send(event)

    def event(self, kind: type, **fields: Any) -> Any:
        """Make the next event and send it; it is kept until it is acknowledged."""
        self._seq += 1
        event = kind(seq=self._seq, time=1.0, **fields)
        self._unacked[self._seq] = event
        self.send(event)
        return event

    async def report(self, kind: type, **fields: Any) -> Any:
        """Send an event and wait for its acknowledgement."""
        event = self.event(kind, **fields)
        await self._rig.until(lambda: self.acked >= event.seq)
        return event

    async def change(self, **fields: Any) -> None:
        """Change the state and announce it."""
        self.state = replace(self.state, **fields)
        self.send(StateChanged(self.state))
        await hop()
        await hop()

    async def ready(self, plans: Any = None, devices: Any = None, *, re_state: str | None = "idle") -> None:
        """Say that the environment is open."""
        await self.change(environment_state="idle", re_state=re_state)
        await self.report(
            EnvironmentReady,
            plans=json.dumps(PLANS if plans is None else plans),
            devices=json.dumps(DEVICES if devices is None else devices),
        )

    async def lists_changed(self, plans: Any, devices: Any) -> None:
        """Say that the lists changed."""
        await self.report(ListsChanged, plans=json.dumps(plans), devices=json.dumps(devices))

    async def failed(self, msg: str = "no beam") -> None:
        """Say that start-up code failed, and end."""
        await self.report(EnvironmentFailed, msg=msg, traceback="Traceback: ...")
        self._rig.processes.end(self.pid, 1)

    def plan_finished(self, uid: str, exit_status: str = "completed", **fields: Any) -> dict[str, Any]:
        """Fields of a report on a plan."""
        values = {"run_uids": [f"run-{uid[:4]}"], "scan_ids": [1], "msg": "", "traceback": ""}
        values |= {"time_start": 10.0, "time_stop": 11.0, "stop_queue": False, **fields}
        return {"item_uid": uid, "exit_status": exit_status, **values}

    async def finish(self, uid: str | None = None, exit_status: str = "completed", **fields: Any) -> Any:
        """End a plan, by default the last one that was started."""
        uid = self.plans[-1] if uid is None else uid
        return await self.report(PlanFinished, **self.plan_finished(uid, exit_status, **fields))

    async def pause(self) -> None:
        """Pause the running plan."""
        self.state = replace(self.state, re_state="paused", running_item_uid=self.plans[-1])
        await self.report(PlanPaused, item_uid=self.plans[-1])
        await self.change()

    async def end_task(
        self, uid: str, *, success: bool = True, value: object = None, msg: str = "", **fields: Any
    ) -> Any:
        """End a function or script."""
        values = {"traceback": "", "codec": "json", "payload": json.dumps(value).encode()}
        values |= {"time_start": 10.0, "time_stop": 11.0, **fields}
        return await self.report(TaskFinished, task_uid=uid, success=success, msg=msg, **values)

    def die(self, returncode: int = -9) -> None:
        """End without a word."""
        self._rig.processes.end(self.pid, returncode)


@dataclass(slots=True)
class Handed:
    """A task that a worker of the pool was handed."""

    uid: str
    epoch: int
    attempt: int
    item: dict[str, Any]
    timeout_s: float | None
    checkpoint: bytes | None
    finishing: bool


class FakePoolWorker:
    """A worker of the pool whose every move the test decides."""

    def __init__(self, rig: Rig, uid: str, pid: int, begun_path: Path) -> None:
        self._rig = rig
        self.uid, self.pid = uid, pid
        self.connected = False
        self.received: list[Message] = []
        self.tasks: dict[str, Handed] = {}
        self.began: dict[str, float] = {}
        self.drained = False
        self.acked = 0
        self._note = BegunNote(str(begun_path))
        self._seq = 0
        self._unacked: dict[int, Message] = {}

    # ---------------------------------------------------------------- from the manager

    def take(self, message: Message) -> None:
        """Take a message of the manager."""
        message = unpack(pack(message))
        self.received.append(message)
        match message:
            case Welcome(acked_seq=seq) | Ack(seq=seq):
                self.acked = max(self.acked, seq)
                self._unacked = {s: e for s, e in self._unacked.items() if s > seq}
            case RunTasks(tasks=rows):
                for uid, epoch, attempt, body, *rest in rows:
                    self.tasks[uid] = Handed(uid, epoch, attempt, json.loads(body), *rest)
            case Drain():
                self.drained = True
        self._rig.activity()

    @property
    def cancels(self) -> list[str]:
        """Uids of the tasks that it was told to stop."""
        return [m.task_uid for m in self.received if isinstance(m, CancelTask)]

    @property
    def answers(self) -> list[ChildAnswer]:
        """Answers to its children."""
        return [m for m in self.received if isinstance(m, ChildAnswer)]

    # ---------------------------------------------------------------- to the manager

    def send(self, message: Message) -> None:
        """Send a message, in the next turn of the loop."""
        frame = pack(message)
        asyncio.get_running_loop().call_soon(self._deliver, frame)

    def _deliver(self, frame: bytes) -> None:
        if self.connected and self._rig.running:
            self._rig.manager.on_worker_message(self.uid, unpack(frame))

    def hello(self) -> None:
        """Connect (again): say hello and repeat what was not acknowledged."""
        self.connected = True
        held = [[t.uid, t.epoch, self.began.get(t.uid)] for t in self.tasks.values()]
        self.send(PoolHello(self.uid, self.pid, self._seq, held))
        for event in self._unacked.values():
            self.send(event)

    def heartbeat(self) -> None:
        """Say that it is there."""
        self.send(Heartbeat(self._rig.now))

    def event(self, kind: type, **fields: Any) -> Any:
        """Make the next event and send it; it is kept until it is acknowledged."""
        self._seq += 1
        event = kind(seq=self._seq, time=self._rig.now, **fields)
        self._unacked[self._seq] = event
        self.send(event)
        return event

    async def report(self, kind: type, **fields: Any) -> Any:
        """Send an event and wait for its acknowledgement."""
        event = self.event(kind, **fields)
        await self._rig.until(lambda: self.acked >= event.seq)
        return event

    def ready(
        self, functions: Mapping[str, Any] | None = None, failures: Mapping[str, str] | None = None
    ) -> None:
        """Say which functions the task modules have."""
        rows = [function_row(n, o) for n, o in (FUNCTIONS if functions is None else functions).items()]
        self.event(PoolReady, functions=json.dumps(rows), failures=dict(failures or {}))

    def begin(self, uid: str, *, tell: bool = True) -> None:
        """Begin a task; a short one is not told of."""
        task = self.tasks[uid]
        self._note.put(uid, task.epoch, self._rig.now)
        self.began[uid] = self._rig.now
        if tell:
            self.send(TasksStarted([[uid, task.epoch, self._rig.now]]))

    def outcome(
        self,
        uid: str,
        kind: str = "completed",
        *,
        value: object = None,
        reason: str = "",
        error: Sequence[str] | None = None,
        retry_after_s: float | None = None,
        report: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """Let go of a task; return the row of its outcome."""
        task = self.tasks.pop(uid)
        start = self.began.pop(uid, self._rig.now)
        payload = json.dumps(value).encode() if kind == "completed" else None
        codec = "json" if payload is not None else None
        told = list(error) if error is not None else None
        return [
            *(uid, task.epoch, kind, start, self._rig.now, reason, told, retry_after_s),
            *(codec, payload, None if report is None else dict(report)),
        ]

    async def end(self, uid: str, kind: str = "completed", **fields: Any) -> None:
        """End a task, and wait until that is recorded; kinds are those of ``OutcomeKind``."""
        await self.report(TasksEnded, outcomes=[self.outcome(uid, kind, **fields)])

    async def fail(self, uid: str, kind: str = "error", msg: str = "it broke") -> None:
        """Let a task fail."""
        await self.end(uid, kind, error=["ValueError", msg, f"Traceback: {msg}"])

    async def checkpoint(self, uid: str, payload: bytes) -> None:
        """Keep a value for the next attempt."""
        epoch = self.tasks[uid].epoch
        await self.report(TaskCheckpoint, task_uid=uid, lease_epoch=epoch, payload=payload)

    def progress(self, uid: str, **report: Any) -> None:
        """Tell how far a task is."""
        self.send(TaskProgress(uid, self.tasks[uid].epoch, self._rig.now, report))

    def child(self, number: int, parent: str, item: Mapping[str, Any], **options: Any) -> None:
        """Submit a child of a task."""
        epoch = self.tasks[parent].epoch
        self.send(SubmitChild(number, parent, epoch, json.dumps(item), json.dumps(options)))

    def die(self, returncode: int = -9) -> None:
        """End without a word."""
        self._rig.processes.end(self.pid, returncode)

    def leave(self) -> None:
        """End as it was told to."""
        self.die(0)


def function_row(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a worker tells of a function that takes any arguments."""
    parameters = [
        {"name": "args", "kind": "VAR_POSITIONAL", "required": False},
        {"name": "kwargs", "kind": "VAR_KEYWORD", "required": False},
    ]
    return {"name": name, "module": "jobs", "doc": "", "parameters": parameters, "options": dict(options)}


class FakeWorkers:
    """The sockets towards workers."""

    link_address = "ipc://link"
    console_address = "ipc://console"

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.strangers: list[tuple[str, Message]] = []

    def send(self, worker_uid: str, message: Message) -> None:
        pool = self._rig.pool.get(worker_uid)
        worker = pool or self._rig.worker
        if worker is not None and worker.uid == worker_uid:
            if not worker.connected:
                raise NotConnected
            worker.take(message)
        else:
            self.strangers.append((worker_uid, message))


class Rig:
    """The manager and everything around it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1_000_000.0
        self.worker: FakeWorker | None = None
        self.pool: dict[str, FakePoolWorker] = {}
        self.pool_greets = True
        self.processes = FakeProcesses(self)
        self.workers = FakeWorkers(self)
        self.statuses: list[dict[str, Any]] = []
        self.news: list[Mapping[str, Any]] = []
        self.faults: list[BaseException] = []
        self.stopped = asyncio.Event()
        self.running = False
        self.changed = asyncio.Event()
        self.actions = 0
        (path / "runtime").mkdir(exist_ok=True)
        write_lists(path / "lists.yaml", ExistingLists(PLANS, DEVICES))
        (path / "permissions.yaml").write_text(json.dumps(PERMISSIONS))
        self.options = ManagerOptions(
            version="1.0",
            runtime_dir=path / "runtime",
            worker_python="python",
            worker=WorkerConfig("", "", ""),
            lists_path=path / "lists.yaml",
            permissions_path=path / "permissions.yaml",
            lists_update="ENVIRONMENT_OPEN",
            permissions_reload="ON_REQUEST",
            retention_s=120.0,
            emergency_lock_key="emergency",
            allow_kill=False,
        )

    # ---------------------------------------------------------------- life

    def make(self) -> Manager:
        """Make a manager over the store, without starting it."""
        self.gate = Gate(Store.open(self.path / "state"), self.activity)
        self.manager = Manager(
            store=self.gate,
            options=self.options,
            clock=lambda: self.now,
            workers=self.workers,
            processes=self.processes,
            publish_status=self._publish,
            status_wanted=lambda: True,
            on_fault=self._on_fault,
            on_stop=self.stopped.set,
            transport_counters=ControlCounters().as_dict,
            publish_info=self.news.append,
        )
        self.running = True
        return self.manager

    async def start(self, *, first_start: bool = True) -> None:
        """Start a manager."""
        await restore(self.make(), first_start=first_start)
        await self.manager.started.wait()
        self.dispatcher = Dispatcher(self.manager)

    async def crash(self) -> None:
        """End the manager at once; held transactions are lost, processes live on."""
        self.running = False
        self.gate.drop()
        self.gate.shut()  # what it still wants to say is not heard
        self.processes.forget_watches()
        for worker in (self.worker, *self.pool.values()):
            if worker is not None:
                worker.connected = False
        self.manager.task_queue.disarm()
        await self.manager.background.close()
        await asyncio.to_thread(self.gate.close)

    async def restart(self, *, greet: bool = True) -> None:
        """Crash, and start the next manager; a living worker greets it."""
        await self.crash()
        await self.restart_after_crash(greet=greet)

    async def restart_after_crash(self, *, greet: bool = True) -> None:
        """Start the next manager; a living worker greets it."""
        self.make()
        starting = asyncio.ensure_future(restore(self.manager, first_start=False))
        await hop()
        for worker in (self.worker, *self.pool.values()):
            if greet and worker is not None and worker.pid in self.processes.alive:
                worker.hello()
        await starting
        await self.manager.started.wait()
        self.dispatcher = Dispatcher(self.manager)
        await self.settle()

    async def close(self) -> None:
        """End everything; a fault that no test expected fails it."""
        if self.running:
            await self.crash()
        assert not self.faults, self.faults

    def with_options(self, **changes: Any) -> ManagerOptions:
        """Return the options with changes."""
        return replace(self.options, **changes)

    def _on_fault(self, exc: BaseException) -> None:
        self.faults.append(exc)
        self.activity()

    def _publish(self, status: Any) -> None:
        self.statuses.append(json.loads(encode_reply(status, Encoding.JSON)))
        self.activity()

    # ---------------------------------------------------------------- waiting

    def activity(self) -> None:
        """Note that something happened."""
        self.actions += 1
        self.changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def settle(self) -> None:
        """Wait until nothing happens any more."""
        quiet = 0
        while quiet < 6:
            before = self.actions
            if not self.gate.is_shut:
                await self.manager.ledger.flush()
            await hop()
            quiet = quiet + 1 if self.actions == before else 0

    # ---------------------------------------------------------------- asking

    async def call(self, method: str, /, **params: Any) -> dict[str, Any]:
        """Send a request as a client would; return the decoded reply."""
        return await self.request({"method": method, "params": params})

    async def request(self, request: object) -> dict[str, Any]:
        """Send any object as a request."""
        answer = self.dispatcher(request, Encoding.JSON)
        if isinstance(answer, Awaitable):
            async with asyncio.timeout(TIMEOUT_S):
                answer = await answer
        return json.loads(encode_reply(answer, Encoding.JSON))

    async def ok(self, method: str, /, **params: Any) -> dict[str, Any]:
        """Send a request that must succeed."""
        reply = await self.call(method, **params)
        assert reply["success"], reply
        return reply

    async def refused(self, method: str, /, **params: Any) -> str:
        """Send a request that must be refused; return its ``msg``."""
        reply = await self.call(method, **params)
        assert reply["success"] is False, reply
        assert reply["code"] != "internal", reply
        return str(reply["msg"])

    @property
    def status(self) -> Mapping[str, Any]:
        """The present status."""
        return self.manager.status.status

    @property
    def state(self) -> str:
        """``manager_state``."""
        return str(self.status["manager_state"])

    def events(self, kind: str | None = None) -> list[Any]:
        """Return the journal, or its events of one type."""
        rows = self.gate.reads.events(0, 100_000)
        return [r for r in rows if kind is None or r.type == kind]

    # ---------------------------------------------------------------- doing

    async def open_environment(self, *, re_state: str | None = "idle") -> FakeWorker:
        """Open the environment."""
        await self.ok("environment_open")
        worker = await self.spawned()
        worker.hello()
        await worker.ready(re_state=re_state)
        await self.settle()
        return worker

    async def spawned(self) -> FakeWorker:
        """Wait until the worker process was started and recorded."""
        await self.until(
            lambda: self.manager.state.worker is not None and self.manager.state.worker.start_ticks
        )
        await self.settle()
        assert self.worker is not None
        return self.worker

    async def add(self, name: str = "count", /, **params: Any) -> str:
        """Add a plan to the queue; return its uid."""
        reply = await self.ok("queue_item_add", **{**user(), "item": plan(name), **params})
        return str(reply["item"]["item_uid"])

    async def queue(self) -> list[str]:
        """Return the uids of the queue."""
        return [i["item_uid"] for i in (await self.ok("queue_get"))["items"]]

    async def history(self) -> list[dict[str, Any]]:
        """Return the history."""
        return list((await self.ok("history_get"))["items"])

    async def pool_worker(self) -> FakePoolWorker:
        """Wait for the first worker of the pool that can take tasks."""
        await self.until(lambda: any(w.acked for w in self.living_pool()))
        await self.settle()
        return next(w for w in self.living_pool() if w.acked)

    def living_pool(self) -> list[FakePoolWorker]:
        """Return the workers of the pool whose processes live."""
        return [w for w in self.pool.values() if w.pid in self.processes.alive]

    async def submit(self, name: str = "work", /, *args: Any, **options: Any) -> str:
        """Submit a task; return its uid."""
        reply = await self.ok("task_submit", **user(), item=function(name, args=args), options=options)
        await self.settle()
        return str(reply["task_uid"])

    async def submit_many(self, number: int, **options: Any) -> list[str]:
        """Submit a job; return the uids."""
        items = [{"item": function("work", args=[n])} for n in range(number)]
        reply = await self.ok("task_submit_batch", **user(), items=items, defaults=options)
        await self.settle()
        return [r["task_uid"] for r in reply["results"]]

    async def task(self, uid: str) -> dict[str, Any]:
        """Return the record of a task."""
        return dict((await self.ok("task_info", task_uid=uid))["task"])

    async def task_states(self, *uids: str) -> list[str]:
        """Return the states of tasks."""
        states = (await self.ok("task_status", task_uid=list(uids)))["state"]
        return [states[uid] for uid in uids]

    async def pass_time(self, seconds: float) -> None:
        """Let time pass; workers give signs of life, and what has become due is done."""
        self.now += seconds
        for worker in self.living_pool():
            self.manager.task_queue.pool.workers[worker.uid].last_heartbeat = self.now
        self.manager.task_queue.tick()
        await self.settle()

    async def run_plan(self, name: str = "count") -> str:
        """Add a plan and start the queue."""
        uid = await self.add(name)
        await self.ok("queue_start")
        await self.settle()
        return uid


def plan(name: str = "count", **fields: Any) -> dict[str, Any]:
    """Return a plan item."""
    return {"item_type": "plan", "name": name, **fields}


def function(name: str = "f", **fields: Any) -> dict[str, Any]:
    """Return a function item."""
    return {"item_type": "function", "name": name, **fields}


QUEUE_STOP = {"item_type": "instruction", "name": "queue_stop"}


def user() -> dict[str, str]:
    """Return the parameters that say who asks."""
    return {"user": "Jo", "user_group": "primary"}


__all__ = [
    "DEVICES",
    "EVERYTHING",
    "FUNCTIONS",
    "PERMISSIONS",
    "PLANS",
    "QUEUE_STOP",
    "TASK_QUEUE",
    "CloseEnvironment",
    "ContinuePlan",
    "FakePoolWorker",
    "FakeWorker",
    "PausePlan",
    "Rig",
    "RunPlan",
    "RunTask",
    "function",
    "hop",
    "plan",
    "plan_description",
    "user",
]
