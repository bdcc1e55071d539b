"""What ``stats`` and ``queue_status`` answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from remanager.model.states import ManagerState

if TYPE_CHECKING:
    from remanager.manager.manager import Manager

SECTIONS = ("summary", "queue", "rates", "types", "workers", "counters")
RATES = {"1m": 60.0, "5m": 300.0, "20m": 1200.0}
SLOTS = ("started", "finished", "succeeded", "failed", "cancelled")


class StatsView:
    """Makes the answers from the manager's state; nothing is counted here.

    Parameters
    ----------
    manager : Manager
        Whose state it is.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def queue_status(self) -> dict[str, object]:
        """Return depths: of the plan queue, of everything, and by lane."""
        manager = self._manager
        state, items = manager.state, manager.queue.items()
        unacked = len(manager.tasks.running) + (state.running is not None)
        lanes = Counter((str(i.get("user", "")), str(i.get("item_type", ""))) for i in items)
        return {
            "plan_queue": {
                "items_in_queue": len(items),
                "running_item_uid": state.running.uid if state.running else None,
                "queue_mode": manager.queue.mode.as_dict(),
                "queue_stop_pending": state.queue_stop_pending,
                "autostart": state.autostart,
                "manager_state": state.manager_state.value,
                "plan_queue_uid": state.plan_queue_uid,
            },
            "queued": len(items),
            "ready": len(items) if self._queue_runs() else 0,
            "delayed": 0,
            "unacked": unacked,
            "total": len(items) + unacked,
            "users_count": len({user for user, _ in lanes}),
            "lanes": [
                {"lane": f"{user}/{kind}", "user": user, "domain": None, "task_type": kind, "queued": n}
                for (user, kind), n in sorted(lanes.items())
            ],
        }

    def stats(self, sections: Collection[str] | None) -> dict[str, object]:
        """Return the sections that are asked for, by default all."""
        manager = self._manager
        now = manager.clock()
        makers = {
            "summary": self._summary,
            "queue": self._queue,
            "rates": self._rates,
            "types": self._types,
            "workers": self._workers,
            "counters": self._counters,
        }
        parts: dict[str, object] = {n: makers[n](now) for n in SECTIONS if sections is None or n in sections}
        return {
            "time": now,
            "time_started": manager.statistics.time_started,
            "role": "leader",
            "manager_uid": manager.uid,
            "health": self._health(),
            "window": {"slots": 20, "slot_s": 60},
            **parts,
        }

    def _queue_runs(self) -> bool:
        return self._manager.state.manager_state in (
            ManagerState.EXECUTING_QUEUE,
            ManagerState.STARTING_QUEUE,
        )

    def _health(self) -> dict[str, object]:
        state, reasons = self._manager.state, []
        if state.environment_error and not state.environment_exists:
            reasons.append(f"the environment could not be opened: {state.environment_error}")
        if state.worker is not None:
            age = self._manager.clock() - state.worker.last_heartbeat
            if age > 10.0:
                reasons.append(f"the environment worker has been silent for {age:.0f} s")
        return {"state": "degraded" if reasons else "ok", "reasons": reasons}

    def _summary(self, _now: float) -> dict[str, object]:
        manager = self._manager
        live = Counter({"pending": manager.queue.size})
        live["running"] = len(manager.tasks.running) + (manager.state.running is not None)
        return {"live": dict(live), "retained": {"history": manager.queue.history_size}}

    def _queue(self, _now: float) -> dict[str, object]:
        status = self.queue_status()
        return {
            "depth": status["queued"],
            **{k: status[k] for k in ("ready", "delayed", "unacked", "total")},
        }

    def _rates(self, now: float) -> dict[str, object]:
        windows = self._manager.statistics.windows
        rates: dict[str, object] = {}
        for name, seconds in RATES.items():
            done, failed = (windows.rate(word, seconds, now) for word in ("succeeded", "failed"))
            rates[name] = {
                "throughput_per_s": done,
                "error_rate": failed / (done + failed) if done + failed else 0.0,
            }
        return rates

    def _types(self, now: float) -> dict[str, object]:
        windows = self._manager.statistics.windows
        return {
            kind: {
                "enable": True,
                "total_tasks_cnt": windows.total("started", task_type=kind),
                "done_tasks_cnt": windows.total("finished", task_type=kind),
                "total_err_cnt": windows.total("failed", task_type=kind),
                "per_min": {slot: windows.slots(slot, now, task_type=kind) for slot in SLOTS},
                "duration_ms": self._duration_ms(kind),
            }
            for kind in windows.task_types()
        }

    def _duration_ms(self, kind: str) -> dict[str, float | None]:
        histogram = self._manager.statistics.durations.get(kind)
        if histogram is None:
            return {}
        values = [histogram.average, *histogram.percentiles([50, 95, 99])]
        names = ("avg", "p50", "p95", "p99")
        return {n: None if v is None else 1e3 * v for n, v in zip(names, values, strict=True)}

    def _workers(self, now: float) -> list[dict[str, object]]:
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
                "heartbeat_age_s": now - state.worker.last_heartbeat,
            }
        ]

    def _counters(self, _now: float) -> dict[str, object]:
        return {**self._manager.statistics.counters, **self._manager.transport_counters()}
