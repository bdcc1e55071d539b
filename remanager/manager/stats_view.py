"""What ``stats`` answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from remanager.engine.histogram import Histogram
from remanager.engine.task_queue.card import Stage
from remanager.engine.task_queue.scopes import Scope
from remanager.engine.task_queue.type_figures import COUNTERS, MAX_TYPES, Durations
from remanager.engine.windows import SLOT_S, SLOTS
from remanager.manager.queue_view import Depths
from remanager.manager.silence import SILENT_S
from remanager.manager.task_queue.worker_process import PoolWorkerState
from remanager.manager.type_stats import type_stats
from remanager.model.errors import NotFound
from remanager.model.selector import ALL
from remanager.model.states import STATE_CLASS, ItemType, StateClass, TaskState, is_terminal
from remanager.store.reads import Reads
from remanager.store.task_figures import PriorityDepth, TypeCount
from remanager.store.task_rows import EndedSample

if TYPE_CHECKING:
    from remanager.manager.manager import Manager

SECTIONS = ("summary", "queue", "rates", "types", "io", "workers", "counters")
RATES = {"1m": 60.0, "5m": 300.0, "20m": 1200.0}
IO_KINDS = ("disk_read", "disk_write", "net_rx", "net_tx")

NEARLY_FULL = 0.9
"""Part of the active tasks that the settings allow from which on this is worth a word."""

_ACTIVE = [state for state in TaskState if STATE_CLASS[state] is StateClass.ACTIVE]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What one snapshot of the store says.

    Attributes
    ----------
    by_type : list of TypeCount
        All tasks by type and state.
    by_priority : list of PriorityDepth
        Queued tasks of the task queue.
    """

    by_type: list[TypeCount]
    by_priority: list[PriorityDepth]
    depths: Depths


class StatsView:
    """Makes the answer from the figures and one snapshot of the store; nothing is counted here.

    Parameters
    ----------
    manager : Manager
        Whose state it is.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def stats(
        self, sections: Collection[str] | None = None, worker_uid: str | None = None
    ) -> dict[str, object]:
        """Return the sections that are asked for, by default all; ``workers`` can be of a single one.

        Raises
        ------
        NotFound
            There is no such worker.
        """
        manager = self._manager
        stored: _Stored | None = None
        if sections is None or {"summary", "queue", "types"} & set(sections):
            await manager.ledger.flush()
            stored = await manager.store.read_heavy(lambda reads: self._read(reads, manager.clock()))
        now = manager.clock()
        parts: dict[str, object] = {}
        for name in SECTIONS:
            if sections is not None and name not in sections:
                continue
            match name:
                case "workers":
                    parts[name] = self.workers(now, worker_uid)
                case "rates":
                    parts[name] = self._rates(now)
                case "io":
                    parts[name] = self._io()
                case "counters":
                    parts[name] = self.counters(now)
                case _:
                    assert stored is not None
                    make = {"summary": self._summary, "queue": self._queue, "types": self._types}[name]
                    parts[name] = make(stored, now)
        return {
            "time": now,
            "time_started": manager.statistics.time_started,
            "role": "leader",
            "manager_uid": manager.uid,
            "health": self.health(now),
            "window": {"slots": SLOTS, "slot_s": SLOT_S, "order": "oldest_first", "last_is_partial": True},
            **parts,
        }

    def _read(self, reads: Reads, now: float) -> _Stored:
        rows = reads.figures.depths(ALL, (), now=now)
        depths = self._manager.queue_view.depths(reads, rows, ALL, now)
        return _Stored(reads.figures.by_type(), reads.figures.by_priority(), depths)

    # -------------------------------------------------------------------------------- sections

    def health(self, now: float) -> dict[str, object]:
        """Return how the manager is, and why, if not well: ``bad`` where work cannot go on."""
        manager, queue = self._manager, self._manager.task_queue
        state, pool = manager.state, manager.task_queue.pool
        bad, degraded = [], []
        if manager.ledger.no_room:
            bad.append(manager.ledger.no_room)
        if pool.start_error:
            bad.append(pool.start_error)
        active, most = len(queue.scheduler.cards), queue.options.max_active
        if active >= most:
            bad.append(f"the task queue is full: {active} tasks are active")
        elif active >= NEARLY_FULL * most:
            degraded.append(f"the task queue is nearly full: {active} of {most} tasks are active")
        if state.environment_error and not state.environment_exists:
            degraded.append(f"the environment could not be opened: {state.environment_error}")
        has_come_up = state.environment_exists or state.worker_state is not None
        if state.worker and has_come_up and (age := now - state.worker.last_heartbeat) > SILENT_S:
            degraded.append(f"the environment worker has been silent for {age:.0f} s")
        for worker in pool.workers.values():
            if (
                worker.state is not PoolWorkerState.STARTING
                and (age := now - worker.last_heartbeat) > SILENT_S
            ):
                degraded.append(f"a worker of the pool (pid {worker.pid}) has been silent for {age:.0f} s")
        degraded += [f"the task module {name} could not be imported" for name in queue.functions.failures]
        return {"state": "bad" if bad else "degraded" if degraded else "ok", "reasons": [*bad, *degraded]}

    def _summary(self, stored: _Stored, _now: float) -> dict[str, object]:
        live: Counter[str] = Counter(dict.fromkeys((str(s) for s in _ACTIVE), 0))
        ended: Counter[str] = Counter()
        for row in stored.by_type:
            (ended if is_terminal(row.state) else live)[row.state.value] += row.number
        durations = self._manager.statistics.figures.durations()
        return {
            "live": {**live, "total": live.total()},
            "retained": {
                **ended,
                "total": ended.total(),
                "history": self._manager.queue.history_size,
            },
            **durations_ms(durations),
        }

    def _queue(self, stored: _Stored, now: float) -> dict[str, object]:
        figures = stored.depths.as_dict(now)
        return {
            "depth": figures.pop("queued"),
            **figures,
            "by_priority": [
                {
                    "priority": row.priority,
                    "queued": row.queued,
                    "oldest_age_s": None if row.oldest is None else max(now - row.oldest, 0.0),
                }
                for row in stored.by_priority
            ],
            "next_wakeup": self._manager.task_queue.scheduler.next_wakeup(now),
        }

    def _rates(self, now: float) -> dict[str, object]:
        figures = self._manager.statistics.figures
        rates: dict[str, object] = {}
        for name, seconds in RATES.items():
            latency = figures.latency_s(seconds, now)
            rates[name] = {
                "throughput_per_s": figures.throughput_per_s(seconds, now),
                "error_rate": figures.error_rate(seconds, now),
                "latency_ms": None if latency is None else 1e3 * latency,
            }
        return rates

    def _types(self, stored: _Stored, now: float) -> dict[str, object]:
        figures, queue = self._manager.statistics.figures, self._manager.task_queue
        counts: dict[str, Counter[TaskState]] = {}
        plans: set[str] = set()
        queued = Counter[str]()
        for row in stored.by_type:
            queued[row.name] += row.number if row.is_queued else 0
            counts.setdefault(row.name, Counter())[row.state] += row.number
            if row.item_type in (ItemType.PLAN, ItemType.INSTRUCTION):
                plans.add(row.name)
        active = {name for name, states in counts.items() if any(not is_terminal(s) for s in states)}
        known = sorted(counts, key=lambda name: (name not in active, -counts[name].total()))
        names = sorted({*figures.task_types(), *known[:MAX_TYPES]})
        finishing, resources = Counter[str](), dict[str, list[str]]()
        for card in queue.scheduler.running.values():
            finishing[card.spec.name] += card.stage is Stage.FINISHING
            if card.spec.options.resource_lock:
                resources.setdefault(card.spec.name, []).append(card.spec.options.resource_lock)
        found: dict[str, object] = {}
        for name in names:
            states = counts.get(name, Counter())
            waiting = queued[name]
            ready = self._ready(name, states[TaskState.PENDING], name in plans)
            held = resources.get(name, [])
            found[name] = self._type(name, states, (waiting, ready, finishing[name]), held, now)
        return found

    def _type(
        self,
        name: str,
        states: Counter[TaskState],
        stages: tuple[int, int, int],
        resources: Collection[str],
        now: float,
    ) -> dict[str, object]:
        """Return the figures of a type; ``stages`` says how many are queued, ready and finishing."""
        figures = self._manager.statistics.figures
        queued, ready, finishing = stages
        done = sum(n for state, n in states.items() if is_terminal(state))
        succeeded = sum(n for state, n in states.items() if STATE_CLASS[state] is StateClass.SUCCESS)
        errors = figures.errors(name)
        return {
            "enable": self._is_enabled(name),
            "preparing_cnt": queued,
            "ready_cnt": ready,
            "worker_doing_cnt": max(states.total() - done - queued - finishing, 0),
            "finishing_cnt": finishing,
            "resources": resources,
            "total_tasks_cnt": states.total(),
            "done_tasks_cnt": done,
            "succeeded_tasks_cnt": succeeded,
            "per_min": figures.per_minute(now, name),
            "total_err_cnt": errors.total,
            "err_stats": [asdict(kind) for kind in errors.list()],
            **durations_ms(figures.durations(name)),
        }

    def unknown_type(self) -> dict[str, object]:
        """Return the figures that a type has, as they are while it has not run."""
        return self._type("", Counter(), (0, 0, 0), [], self._manager.clock())

    def _is_enabled(self, name: str) -> bool:
        switches = self._manager.task_queue.scheduler.dispatcher.switches
        return not (switches.is_off(Scope.ALL) or switches.is_off(Scope.TASK_TYPE, name))

    def _ready(self, name: str, pending: int, is_plan: bool) -> int:
        if is_plan:
            return pending if self._manager.queue_view.plans_run() else 0
        return max(pending - self._manager.task_queue.scheduler.dispatcher.delayed[name], 0)

    def _io(self) -> dict[str, object]:
        """Return bytes that the running tasks are expected to move, and have moved so far."""
        queue = self._manager.task_queue
        expected, actual = (Counter[str](dict.fromkeys(IO_KINDS, 0)) for _ in range(2))
        for card in queue.scheduler.running.values():
            expected.update(card.spec.options.expected_io)
            actual.update(queue.progress.io_of(card.uid))
        return {"expected": dict(expected), "actual": dict(actual)}

    async def type_stats(
        self, names: Collection[str], since: float | None, sample: int
    ) -> dict[str, dict[str, object]]:
        """Return what ``type_stats`` answers for each type; see :func:`type_stats`."""
        manager = self._manager
        await manager.ledger.flush()

        def read(reads: Reads) -> tuple[list[TypeCount], dict[str, list[EndedSample]]]:
            return reads.figures.by_type(), {n: reads.tasks.type_sample(n, sample) for n in names}

        rows, samples = await manager.store.read_heavy(read)
        counts: dict[str, Counter[TaskState]] = {name: Counter() for name in names}
        for row in rows:
            if row.name in counts:
                counts[row.name][row.state] += row.number
        return {name: type_stats(counts[name], samples[name], since) for name in names}

    def workers(self, now: float, worker_uid: str | None = None) -> Sequence[dict[str, object]]:
        """Return the worker processes: of the environment, and of the pool.

        Raises
        ------
        NotFound
            There is no such worker.
        """
        manager = self._manager
        found = [*self._environment_worker(now), *manager.task_queue.pool.describe()]
        if worker_uid is not None:
            found = [worker for worker in found if worker["worker_uid"] == worker_uid]
            if not found:
                raise NotFound(f"There is no worker '{worker_uid}'")
        return [{**worker, "cpu_s": manager.read_cpu(int(str(worker["pid"])))} for worker in found]

    def _environment_worker(self, now: float) -> list[dict[str, object]]:
        state = self._manager.state
        if state.worker is None:
            return []
        running = [state.running.uid] if state.running else []
        return [
            {
                "worker_uid": state.worker.uid,
                "kind": "environment",
                "pid": state.worker.pid,
                "state": state.worker_state.environment_state if state.worker_state else None,
                "running": [*running, *self._manager.tasks.running],
                "slots": 1,
                "heartbeat_age_s": now - state.worker.last_heartbeat,
                "lease_expires_at": None,  # it holds its plan however long it is silent
                "tasks_done": None,
                "tasks_failed": None,
                "restarts": None,
                "rss_bytes": state.worker.rss_bytes,
                "time_started": None,
            }
        ]

    def counters(self, now: float) -> dict[str, object]:
        """Return what was counted since the start (and, apart, since ever), and what the sockets counted."""
        self._manager.task_queue.figures.count_denials(now)
        figures = self._manager.statistics.figures
        zeros = dict.fromkeys(COUNTERS, 0)
        return {
            **zeros,
            **figures.since_start,
            **self._manager.transport_counters(),
            "since_ever": {**zeros, **figures.since_ever},
        }


def durations_ms(durations: Durations) -> dict[str, dict[str, float | int | None]]:
    """Return the distributions of times (ms)."""
    return {
        "latency_ms": _distribution(durations.latency),
        "queue_wait_ms": _distribution(durations.queue_wait),
        "duration_ms": _distribution(durations.duration),
    }


def _distribution(histogram: Histogram) -> dict[str, float | int | None]:
    p50, p95, p99 = histogram.percentiles([50, 95, 99])
    values = {
        "avg": histogram.average,
        "min": histogram.minimum,
        "max": histogram.maximum,
        "p50": p50,
        "p95": p95,
        "p99": p99,
    }
    return {"count": histogram.count, **{n: None if v is None else 1e3 * v for n, v in values.items()}}
