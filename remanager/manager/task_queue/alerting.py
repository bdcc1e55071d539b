"""Alerts at work: rules are looked at every few seconds, what they raise is kept and told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from remanager.engine.task_queue.alerts import Alert, AlertChange, AlertRule, Alerts, figure_at, figure_fault
from remanager.manager.ledger import Batch, Ledger
from remanager.manager.ports import Clock
from remanager.manager.state import State, change_uid
from remanager.manager.task_queue.restoring import tell_unreadable
from remanager.model.errors import InvalidParams, TooLarge
from remanager.model.selector import Selector
from remanager.model.states import TaskState
from remanager.store.reads import Reads
from remanager.store.store import Store
from remanager.store.task_rows import TaskRecord

SETTING = "task_alerts"
PERIOD_S = 5.0
MAX_RULES = 200
MAX_NAMED = 20
"""Tasks that an alert names."""

MAX_RUNNING = 1000
TYPE_SAMPLE = 500

OLDEST_PENDING = "oldest_pending_age_s"
RUNNING_AGE = "running_age_s"
TASK_COUNT = "task_count"
OF_TASKS = (OLDEST_PENDING, RUNNING_AGE, TASK_COUNT)
"""Metrics of the tasks that the selector of a rule speaks of; all others are paths of figures."""

_BY_TYPE = ("type_stats", "types")
"""Where the answers have figures of each type."""

Figures = Mapping[str, Any]
Stats = Callable[[], Awaitable[Figures]]
TypeStats = Callable[[Collection[str], float | None, int], Awaitable[Mapping[str, Figures]]]


class AlertService:
    """Looks at the rules.

    Parameters
    ----------
    stats, type_stats : callable
        Return the figures.
    task_types : callable
        Returns the names of the types that have figures.
    unknown_type : callable
        Returns those in ``stats`` of a type that has not run.
    store, state, ledger, clock
        As elsewhere in this room.

    Attributes
    ----------
    values : dict
        The figure of each rule by its name, as of the last look; None: there was none.
    """

    def __init__(
        self,
        stats: Stats,
        type_stats: TypeStats,
        task_types: Callable[[], Collection[str]],
        unknown_type: Callable[[], Figures],
        *,
        store: Store,
        state: State,
        ledger: Ledger,
        clock: Clock,
        stored: object,
    ) -> None:
        self._stats = stats
        self._type_stats = type_stats
        self._task_types = task_types
        self._unknown_type = unknown_type
        self._store = store
        self._state = state
        self._ledger = ledger
        self._clock = clock
        self.alerts = Alerts()
        self.values: dict[str, float | None] = {}
        if isinstance(stored, str):
            tell_unreadable("alert", self.alerts.load(stored))
        self._state.alerts_active = len(self.alerts.active)

    # -------------------------------------------------------------------------------- requests

    async def set_rule(self, rule: AlertRule, selector: Selector) -> None:
        """Put a rule in force, in place of the one of the same name.

        Raises
        ------
        InvalidParams, TooLarge
            There is no such metric, the selector does not fit it, or there are too many rules.
        """
        if rule.name not in self.alerts.rules and len(self.alerts.rules) >= MAX_RULES:
            raise TooLarge(f"There are {MAX_RULES} rules already")
        if rule.metric not in OF_TASKS and selector != Selector(name=selector.name):
            raise InvalidParams(
                f"With the metric '{rule.metric}' a selector can only name types of tasks; others go with "
                f"{', '.join(OF_TASKS)}"
            )
        await self._check_metric(rule.metric, selector)
        value, _ = await self._measure(rule, await self._figures([rule]))
        self.values[rule.name] = value
        batch = self._ledger.batch()
        cleared = self.alerts.set_rule(rule, self._clock())
        batch.event("alert_rule_set", None, name=rule.name, metric=rule.metric, enabled=rule.enabled)
        if cleared is not None:
            _tell(batch, AlertChange.CLEARED, cleared, value)
        await self._commit(batch)

    async def remove_rule(self, name: str) -> None:
        """Remove a rule; its alert clears.

        Raises
        ------
        NotFound
            There is none.
        """
        cleared = self.alerts.remove_rule(name, self._clock())
        batch = self._ledger.batch()
        batch.event("alert_rule_removed", None, name=name)
        value = self.values.pop(name, None)
        if cleared is not None:
            _tell(batch, AlertChange.CLEARED, cleared, value)
        await self._commit(batch)

    async def acknowledge(self, name: str, user: str) -> Alert:
        """Note that somebody has seen an active alert.

        Raises
        ------
        NotFound
            No such alert is active.
        """
        alert = self.alerts.acknowledge(name, user, self._clock())
        batch = self._ledger.batch()
        batch.event("alert_acknowledged", None, name=name, user=user)
        await self._commit(batch)
        return alert

    async def _check_metric(self, metric: str, selector: Selector) -> None:
        """Refuse the path of what is no figure; one of a type that has not run yet is a figure."""
        if metric in OF_TASKS:
            return
        of_type = [(await self._type_stats([""], None, 1))[""], self._unknown_type()]
        part, _, rest = metric.partition(".")
        if selector.name is not None:
            faults = [figure_fault(figures, metric) for figures in of_type]
        elif part in _BY_TYPE and "." in rest:
            # The name of a type may hold dots.
            figures = of_type[_BY_TYPE.index(part)]
            paths = [rest[place + 1 :] for place, letter in enumerate(rest) if letter == "."]
            faults = [figure_fault(figures, path) for path in paths]
        else:
            faults = [figure_fault({**await self._stats(), **{part: {} for part in _BY_TYPE}}, metric)]
            if not all(figure_fault(figures, metric) for figures in of_type):
                faults = ["name types in the selector, or write 'type_stats.NAME.' before it"]
        if all(faults):
            raise InvalidParams(
                f"The metric '{metric}' is neither one of tasks ({', '.join(OF_TASKS)}) nor the path of a "
                f"number in 'stats' or 'type_stats': {faults[0]}"
            )

    # -------------------------------------------------------------------------------- at work

    async def run(self) -> None:
        """Look at the rules every few seconds, without an end."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await self.evaluate()

    async def evaluate(self) -> None:
        """Look at all rules once."""
        rules = [rule for rule in self.alerts.rules.values() if rule.enabled]
        if not rules:
            return
        await self._ledger.flush()
        figures = await self._figures(rules)
        found = [(rule, *await self._measure(rule, figures)) for rule in rules]
        now, batch = self._clock(), self._ledger.batch()
        for rule, value, uids in found:
            if self.alerts.rules.get(rule.name) is not rule:  # it was changed meanwhile
                continue
            self.values[rule.name] = value
            change = self.alerts.evaluate(rule.name, value, now, uids)
            if change is not None:
                _tell(batch, *change, value)
        if batch.events:
            await self._commit(batch)

    async def _figures(self, rules: Collection[AlertRule]) -> Figures:
        """Return the figures that the rules look at."""
        paths = [rule for rule in rules if rule.metric not in OF_TASKS]
        if not paths:
            return {}
        named = {name for rule in paths for name in Selector.from_dict(rule.selector).name or ()}
        for rule in paths:
            if rule.metric.startswith("type_stats."):
                rest = rule.metric.partition(".")[2]
                named |= {name for name in self._task_types() if rest.startswith(f"{name}.")}
        stats = await self._stats()
        of_types = await self._type_stats(sorted(named), None, TYPE_SAMPLE) if named else {}
        return {**stats, "type_stats": of_types}

    async def _measure(self, rule: AlertRule, figures: Figures) -> tuple[float | None, list[str]]:
        """Return the figure of a rule, and the tasks that it is about as far as there are few."""
        selector = Selector.from_dict(rule.selector)
        if rule.metric in OF_TASKS:
            return await self._store.read_heavy(lambda reads: _of_tasks(reads, rule, selector, self._clock()))
        values = []
        if selector.name is None:
            return figure_at(figures, rule.metric), []
        for name in selector.name:
            for part in _BY_TYPE:
                inner = figures.get(part, {}).get(name)
                value = None if inner is None else figure_at(inner, rule.metric)
                if value is not None:
                    values.append(value)
                    break
        worst = max if rule.op.startswith(">") else min
        return worst(values, default=None), []

    async def _commit(self, batch: Batch) -> None:
        batch.setting(SETTING, self.alerts.to_json())
        self._state.alerts_active = len(self.alerts.active)
        self._state.alerts_uid = change_uid()
        self._ledger.touch()
        await self._ledger.commit(batch)


def _tell(batch: Batch, change: AlertChange, alert: Alert, value: float | None) -> None:
    """Add the event of a change; ``value`` is the figure at present, which may not be that of the breach."""
    batch.event(
        f"alert_{change.value}",
        None,
        name=alert.name,
        level=alert.level,
        value=value,
        threshold=alert.threshold,
        task_uids=alert.task_uids,
    )


def _of_tasks(
    reads: Reads, rule: AlertRule, selector: Selector, now: float
) -> tuple[float | None, list[str]]:
    if rule.metric == TASK_COUNT:
        return float(reads.pages.count(selector, now=now)), []
    records: list[TaskRecord]
    if rule.metric == OLDEST_PENDING:
        wanted = replace(selector.within(TaskState.PENDING), ready=True)
        uids = reads.pages.uids(wanted, now=now, limit=1)
        records = [r for uid, _ in uids if (r := reads.tasks.record(uid)) is not None]
        since = {r.task_uid: r.time_ready or r.time_created for r in records}
    else:
        wanted = selector.within(TaskState.RUNNING)
        page = reads.pages.page(wanted, now=now, limit=MAX_RUNNING)
        records = reads.tasks.records(page.ids, bodies=False)
        since = {r.task_uid: r.time_start or r.time_created for r in records}
    ages = {uid: max(now - time, 0.0) for uid, time in since.items()}
    longest = sorted(ages, key=lambda uid: -ages[uid])
    named = [uid for uid in longest if rule.breaches(ages[uid])][:MAX_NAMED]
    return max(ages.values(), default=0.0), named
