"""Alerts: rules that compare figures with thresholds, and what they have raised."""

from __future__ import annotations

import json
import math
import operator
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, TypeGuard

from remanager.engine.task_queue.stored import read_each
from remanager.model.errors import InvalidParams, NotFound
from remanager.model.selector import Selector
from remanager.model.states import TaskState

KEPT = 200
"""Cleared alerts that are kept."""

_STATES = frozenset(TaskState)
_BESIDE_STATES = {"total", "history"}

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class AlertLevel(StrEnum):
    """How serious an alert is."""

    WARN = "warn"
    CRITICAL = "critical"


class AlertChange(StrEnum):
    """What has happened to an alert."""

    RAISED = "raised"
    ESCALATED = "escalated"
    EASED = "eased"  # from critical to warn
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """When to raise an alert.

    Attributes
    ----------
    metric : str
        Path of a figure, names separated by dots (:func:`figure_at`).
    op : str
        ``>``, ``>=``, ``<`` or ``<=``: how the figure compares with a threshold that it breaches.
    warn, critical : float or None
        Thresholds, at least one.
    for_s : float
        A threshold must be breached that long before the alert is raised or escalated, s.
    clear_for_s : float
        It must not be breached that long before the alert eases or clears, s.
    selector : dict
        Tasks that the figure is about; nothing here looks into it.
    """

    name: str
    metric: str
    op: str = ">"
    warn: float | None = None
    critical: float | None = None
    for_s: float = 0.0
    clear_for_s: float = 0.0
    enabled: bool = True
    selector: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or not self.metric:
            raise InvalidParams("An alert rule needs a 'name' and a 'metric'")
        if self.op not in _OPERATORS:
            raise InvalidParams(f"'op' must be one of {', '.join(_OPERATORS)}: '{self.op}'")
        thresholds = [value for value in (self.warn, self.critical) if value is not None]
        if not thresholds or not all(map(math.isfinite, thresholds)):
            raise InvalidParams("An alert rule needs 'warn' or 'critical', and finite values")
        if (
            self.warn is not None
            and self.critical is not None
            and _OPERATORS[self.op[0]](self.warn, self.critical)
        ):
            raise InvalidParams("'critical' must lie beyond 'warn'")
        for name, value in (("for_s", self.for_s), ("clear_for_s", self.clear_for_s)):
            if not 0 <= value < math.inf:
                raise InvalidParams(f"'{name}' must not be negative: {value}")

    def breaches(self, value: float | None) -> set[AlertLevel]:
        """Return the thresholds that a figure breaches; what is critical is a warning, too."""
        if value is None or math.isnan(value):
            return set()
        beyond = _OPERATORS[self.op]
        if self.critical is not None and beyond(value, self.critical):
            return {AlertLevel.WARN, AlertLevel.CRITICAL}
        return {AlertLevel.WARN} if self.warn is not None and beyond(value, self.warn) else set()


@dataclass(slots=True, kw_only=True, eq=False)
class Alert:
    """Something that a rule has raised. Times are epoch seconds.

    Attributes
    ----------
    value, threshold : float or None
        The figure as of the last look that showed the level, and what it breaches.
    task_uids : list of str
        Tasks concerned, as far as is known.
    """

    name: str
    level: AlertLevel
    value: float | None
    threshold: float | None
    time_raised: float
    time_cleared: float | None = None
    acked_by: str | None = None
    time_acked: float | None = None
    task_uids: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Watch:
    """Since when each level has been breached, or has not been, without a break."""

    breached: dict[AlertLevel, float] = field(default_factory=dict)
    kept: dict[AlertLevel, float] = field(default_factory=dict)

    def see(self, levels: set[AlertLevel], now: float) -> None:
        for level in AlertLevel:
            here, there = (self.breached, self.kept) if level in levels else (self.kept, self.breached)
            here.setdefault(level, now)
            there.pop(level, None)


class Alerts:
    """All rules, active alerts, and those that have cleared of late."""

    def __init__(self) -> None:
        self.rules: dict[str, AlertRule] = {}
        self.active: dict[str, Alert] = {}
        self.cleared: deque[Alert] = deque(maxlen=KEPT)
        self._watches: dict[str, _Watch] = {}

    def set_rule(self, rule: AlertRule, now: float) -> Alert | None:
        """Put a rule in force, in place of the one of the same name.

        Returns the alert that clears because the rule is switched off. One that is active stays so until
        figures say otherwise.
        """
        self.rules[rule.name] = rule
        self._watches.pop(rule.name, None)
        return None if rule.enabled else self._clear(rule.name, now)

    def remove_rule(self, name: str, now: float) -> Alert | None:
        """Remove a rule; return its alert, which clears.

        Raises
        ------
        NotFound
            There is no such rule.
        """
        if self.rules.pop(name, None) is None:
            raise NotFound(f"Alert rule '{name}' is not found")
        self._watches.pop(name, None)
        return self._clear(name, now)

    def evaluate(
        self, name: str, value: float | None, now: float, task_uids: Iterable[str] = ()
    ) -> tuple[AlertChange, Alert] | None:
        """Look at the figure of a rule.

        Parameters
        ----------
        value : float or None
            None: there is no such figure at the moment, which breaches nothing.
        now : float
            Epoch seconds.

        Returns
        -------
        tuple or None
            What happened, and the alert; None if nothing did.
        """
        rule = self.rules[name]
        if not rule.enabled:
            return None
        levels = rule.breaches(value)
        watch = self._watches.setdefault(name, _Watch())
        watch.see(levels, now)
        alert = self.active.get(name)
        level = _level(rule, watch, alert.level if alert else None, now)
        if alert is None:
            if level is None:
                return None
            alert = self.active[name] = Alert(
                name=name,
                level=level,
                value=value,
                threshold=_threshold(rule, level),
                time_raised=now,
                task_uids=list(task_uids),
            )
            return AlertChange.RAISED, alert
        if level is None:
            self._clear(name, now)
            return AlertChange.CLEARED, alert
        if alert.level in levels:
            alert.value, alert.task_uids = value, list(task_uids)
        if level is alert.level:
            return None
        escalated = level is AlertLevel.CRITICAL
        alert.level, alert.value, alert.threshold = level, value, _threshold(rule, level)
        if escalated:
            # Who has seen the warning has not seen this.
            alert.acked_by = alert.time_acked = None
        return AlertChange.ESCALATED if escalated else AlertChange.EASED, alert

    def acknowledge(self, name: str, user: str, now: float) -> Alert:
        """Note that somebody has seen an active alert.

        Raises
        ------
        NotFound
            No such alert is active.
        """
        alert = self.active.get(name)
        if alert is None:
            raise NotFound(f"No alert '{name}' is active")
        alert.acked_by, alert.time_acked = user, now
        return alert

    def to_json(self) -> str:
        """Return rules and alerts as JSON text."""
        return json.dumps(
            {
                "rules": [asdict(rule) for rule in self.rules.values()],
                "active": [asdict(alert) for alert in self.active.values()],
                "cleared": [asdict(alert) for alert in self.cleared],
            }
        )

    def load(self, text: str) -> list[str]:
        """Replace everything by what :meth:`to_json` has made. Times of breaches count anew.

        Returns what is wrong with each of those that cannot be read: they are left out.
        """
        data = json.loads(text)
        rules, faults = read_each(data["rules"], _rule)
        active, wrong = read_each(data["active"], _alert)
        cleared, also_wrong = read_each(data["cleared"], _alert)
        self.rules = {rule.name: rule for rule in rules}
        self.active = {alert.name: alert for alert in active if alert.name in self.rules}
        self.cleared = deque(cleared, maxlen=KEPT)
        self._watches.clear()
        return faults + wrong + also_wrong

    def _clear(self, name: str, now: float) -> Alert | None:
        alert = self.active.pop(name, None)
        if alert is not None:
            alert.time_cleared = now
            self.cleared.append(alert)
        return alert


def figure_at(figures: Mapping[str, Any], path: str) -> float | None:
    """Return a number from nested dictionaries.

    Parameters
    ----------
    path : str
        Names separated by dots. A name may hold dots itself: the longest one that exists is meant.

    Returns
    -------
    float or None
        None if there is no finite number.
    """
    inner, name = _follow(figures, path)
    value = inner.get(name)
    return float(value) if _is_number(value) and math.isfinite(value) else None


def figure_fault(figures: Mapping[str, Any], path: str) -> str:
    """Tell why a path leads to no figure; empty if it leads to one, also if that has no value at present."""
    inner, name = _follow(figures, path)
    if name not in inner:
        # Numbers by state have only the states that occur.
        if name in _STATES and inner.keys() <= _STATES | _BESIDE_STATES:
            return ""
        return f"there is no '{name}', but {', '.join(map(str, inner))}"
    value = inner[name]
    if isinstance(value, Mapping):
        return f"'{name}' has {', '.join(map(str, value))}: name one of them"
    return "" if value is None or _is_number(value) else f"'{name}' is no number"


def _follow(figures: Mapping[str, Any], path: str) -> tuple[Mapping[str, Any], str]:
    """Return the dictionary that a path leads into, and what is left of the path."""
    cut = -1 if path in figures else path.rfind(".")
    while cut > 0:
        inner = figures.get(path[:cut])
        if isinstance(inner, Mapping):
            return _follow(inner, path[cut + 1 :])
        cut = path.rfind(".", 0, cut)
    return figures, path


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _level(rule: AlertRule, watch: _Watch, present: AlertLevel | None, now: float) -> AlertLevel | None:
    """Return the level that an alert has from now on; None: it is not active."""
    for level in (AlertLevel.CRITICAL, AlertLevel.WARN):
        since = watch.breached.get(level)
        if since is not None and now - since >= rule.for_s:
            return max(level, present, key=_rank) if _stays(rule, watch, present, now) else level
    return present if _stays(rule, watch, present, now) else _eased(rule, watch, present, now)


def _stays(rule: AlertRule, watch: _Watch, present: AlertLevel | None, now: float) -> bool:
    """Tell whether the present level has not been left for long enough to ease."""
    if present is None:
        return False
    since = watch.kept.get(present)
    return since is None or now - since < rule.clear_for_s


def _eased(rule: AlertRule, watch: _Watch, present: AlertLevel | None, now: float) -> AlertLevel | None:
    lower = AlertLevel.WARN if present is AlertLevel.CRITICAL else None
    return lower if _stays(rule, watch, lower, now) else None


def _rank(level: AlertLevel | None) -> int:
    return 0 if level is None else 2 if level is AlertLevel.CRITICAL else 1


def _threshold(rule: AlertRule, level: AlertLevel) -> float | None:
    return rule.warn if level is AlertLevel.WARN else rule.critical


def _rule(row: dict[str, Any]) -> AlertRule:
    Selector.from_dict(row["selector"])  # refuses what could not be looked at
    return AlertRule(**row)


def _alert(row: dict[str, Any]) -> Alert:
    return Alert(**{**row, "level": AlertLevel(row["level"])})
