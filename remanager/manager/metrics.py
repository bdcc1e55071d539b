"""Figures for monitoring systems. Labels have few values: never a UID, a key or a user."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from remanager.engine.histogram import Histogram
from remanager.engine.task_queue.alerts import AlertLevel
from remanager.engine.task_queue.type_figures import COUNTERS, MAX_TYPES, OTHER, PER_MINUTE
from remanager.manager.stats_view import IO_KINDS
from remanager.model.selector import ALL
from remanager.model.states import TaskState, is_terminal
from remanager.store.reads import Reads
from remanager.store.task_figures import Depth, TypeCount
from remanager.wire.exposition import Family, FamilyKind

if TYPE_CHECKING:
    from remanager.manager.manager import Manager

MAX_VALUES = 200
"""Domains, and groups, with figures of their own, those with most tasks; others are added up."""

_QUANTILES = {"0.5": 50.0, "0.95": 95.0, "0.99": 99.0}
_HEALTH = {"ok": 0, "degraded": 1, "bad": 2}
_DENIED = "gate_denied:"


class Metrics:
    """Makes the figures from what ``stats`` answers, and a little more.

    Parameters
    ----------
    manager : Manager
        Whose figures they are.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    async def families(self) -> list[Family]:
        """Return all figures."""
        manager = self._manager
        stats: Any = await manager.statistics_view.stats(("summary", "queue", "io", "workers", "counters"))
        now = manager.clock()

        def read(reads: Reads) -> tuple[list[TypeCount], list[Depth]]:
            return reads.figures.by_type(), reads.figures.depths(ALL, ("domain", "task_group"), now=now)

        types, depths = await manager.store.read_heavy(read)
        return [
            *self._of_manager(stats),
            *_of_queue(stats["queue"]),
            _by_state(stats["summary"]),
            *_by_lane(depths),
            *self._by_type(types),
            *_of_counters(stats["counters"]),
            *_of_workers(stats["workers"], manager.task_queue.pool.restarts),
            *_of_io(stats["io"]),
            *self._of_controls(),
        ]

    def _of_manager(self, stats: Any) -> list[Family]:
        manager, pid = self._manager, os.getpid()
        state = manager.state
        found = [
            _gauge("start_time_seconds", "When the manager started, epoch seconds.", stats["time_started"]),
            _gauge("health", "0: ok, 1: degraded, 2: bad.", _HEALTH[stats["health"]["state"]]),
            _gauge("environment_open", "Whether the environment is open.", state.environment_exists),
            _gauge("plan_queue_items", "Items in the plan queue.", manager.queue.size),
            _gauge("plan_history_items", "Items in the plan history.", manager.queue.history_size),
            _gauge("plan_running", "Whether a plan runs or is paused.", state.running is not None),
        ]
        memory, cpu = manager.read_memory(pid), manager.read_cpu(pid)
        if memory is not None:
            found.append(_gauge("manager_resident_bytes", "Resident memory of the manager.", memory))
        if cpu is not None:
            found.append(_counter("manager_cpu_seconds", "Processor time of the manager.", cpu))
        return found

    def _by_type(self, rows: Collection[TypeCount]) -> list[Family]:
        figures = self._manager.statistics.figures
        names = figures.task_types()
        active: Counter[tuple[str, str]] = Counter()
        for row in rows:
            if not is_terminal(row.state):
                known = row.name if row.name in names or len(names) < MAX_TYPES else OTHER
                active[known, _place(row)] += row.number
        tasks = _family("type_tasks", FamilyKind.GAUGE, "Active tasks by type.")
        for (name, place), number in sorted(active.items()):
            tasks.add(number, type=name, state=place)
        found = [tasks]
        for word in PER_MINUTE:
            text = f"Done {word}, by type." if word in {"items", "bytes"} else f"Executions {word}, by type."
            family = _family(f"type_{word}_total", FamilyKind.COUNTER, text)
            for name in names:
                family.add(figures.total(word, name), type=name)
            found.append(family)
        texts = {
            "latency": "From the submission to the end.",
            "queue_wait": "From when a task could first have started to its first start.",
            "duration": "Of the last execution.",
        }
        for word, text in texts.items():
            family = _family(f"task_{word}_seconds", FamilyKind.SUMMARY, text)
            for name in names:
                _summary(family, getattr(figures.durations(name), word), name)
            found.append(family)
        return found

    def _of_controls(self) -> list[Family]:
        controls, dispatcher = self._manager.controls, self._manager.task_queue.scheduler.dispatcher
        alerts = _family("alerts_active", FamilyKind.GAUGE, "Active alerts by level.")
        levels = Counter(alert.level for alert in controls.alerts.alerts.active.values())
        for level in AlertLevel:
            alerts.add(levels[level], level=level.value)
        return [
            alerts,
            _gauge("schedules", "Schedules.", len(controls.schedules.all)),
            _gauge("paused_scopes", "Scopes that are switched off.", len(dispatcher.switches.list())),
            _gauge("limits", "Limits in force.", len(dispatcher.limits.list(self._manager.clock()))),
        ]


def _of_queue(queue: Any) -> list[Family]:
    texts = {
        "depth": "Tasks and plans that were accepted and not handed to a worker.",
        "ready": "Those of them that could start now.",
        "delayed": "Those of them that wait for a time.",
        "unacked": "Tasks and plans that were handed to a worker and have not ended.",
        "oldest_age_s": "Age of the oldest that is queued.",
    }
    found = []
    for key, text in texts.items():
        name = "oldest_age_seconds" if key == "oldest_age_s" else key
        found.append(_gauge(f"queue_{name}", text, queue[key] or 0))
    return found


def _by_state(summary: Any) -> Family:
    family = _family("tasks", FamilyKind.GAUGE, "Tasks of all kinds that are kept, by state.")
    for state in TaskState:
        number = summary["live"].get(state.value, 0) + summary["retained"].get(state.value, 0)
        family.add(number, state=state.value)
    return family


def _by_lane(depths: Iterable[Depth]) -> list[Family]:
    found = []
    rows = list(depths)
    for place, label in enumerate(("domain", "group")):
        numbers: Counter[str] = Counter()
        active: Counter[tuple[str, str]] = Counter()
        for row in rows:
            numbers[row.lane[place]] += row.number
        own = {value for value, _ in numbers.most_common(MAX_VALUES)}
        for row in rows:
            value = row.lane[place]
            active[value if value in own else OTHER, _place(row)] += row.number
        family = _family(f"{label}_tasks", FamilyKind.GAUGE, f"Active tasks by {label}.")
        for (value, word), number in sorted(active.items()):
            family.add(number, **{label: value, "state": word})
        found.append(family)
    return found


def _place(row: Depth | TypeCount) -> str:
    return "queued" if row.is_queued else "running"


def _of_counters(counters: Any) -> list[Family]:
    ever = counters["since_ever"]
    found = [
        _counter(f"tasks_{name}", f"Tasks and executions: {name.replace('_', ' ')}.", ever[name])
        for name in COUNTERS
    ]
    denied = _family("gate_denied_total", FamilyKind.COUNTER, "Starts that were held back, by reason.")
    for name, number in sorted(ever.items()):
        if name.startswith(_DENIED):
            denied.add(number, reason=name.removeprefix(_DENIED))
    transport = [
        _counter(f"control_{name}", f"Control socket: {name.replace('_', ' ')}.", number)
        for name, number in counters.items()
        if name not in COUNTERS and isinstance(number, int) and not name.startswith(_DENIED)
    ]
    return [*found, denied, *transport]


def _of_workers(workers: Iterable[Any], restarts: int) -> list[Family]:
    number = _family("workers", FamilyKind.GAUGE, "Worker processes by kind and state.")
    memory = _family("worker_resident_bytes", FamilyKind.GAUGE, "Resident memory of workers, by kind.")
    states, sizes = Counter[tuple[str, str]](), Counter[str]()
    for worker in workers:
        states[str(worker["kind"]), str(worker["state"] or "unknown")] += 1
        sizes[str(worker["kind"])] += worker["rss_bytes"] or 0
    for (kind, state), n in sorted(states.items()):
        number.add(n, kind=kind, state=state)
    for kind, size in sorted(sizes.items()):
        memory.add(size, kind=kind)
    ended = _counter("worker_restarts", "Workers of the pool that ended and had not been told to.", restarts)
    return [number, memory, ended]


def _of_io(io: Any) -> list[Family]:
    found = []
    for word, text in (("expected", "expected to move"), ("actual", "moved so far")):
        family = _family(f"running_io_{word}_bytes", FamilyKind.GAUGE, f"What running tasks have {text}.")
        sizes: Counter[str] = Counter()
        for kind, size in io[word].items():  # tasks can name others
            sizes[kind if kind in IO_KINDS else OTHER] += size
        for kind, size in sorted(sizes.items()):
            family.add(size, kind=kind)
        found.append(family)
    return found


def _summary(family: Family, histogram: Histogram, task_type: str) -> None:
    values = histogram.percentiles(list(_QUANTILES.values()))
    for quantile, value in zip(_QUANTILES, values, strict=True):
        if value is not None:
            family.add(value, type=task_type, quantile=quantile)
    family.add(histogram.total, "_sum", type=task_type)
    family.add(histogram.count, "_count", type=task_type)


def _family(name: str, kind: FamilyKind, text: str) -> Family:
    return Family(f"remanager_{name}", kind, text)


def _gauge(name: str, text: str, value: float) -> Family:
    family = _family(name, FamilyKind.GAUGE, text)
    family.add(float(value))
    return family


def _counter(name: str, text: str, value: float) -> Family:
    family = _family(f"{name}_total", FamilyKind.COUNTER, text)
    family.add(value)
    return family
