"""Alerts: rules that compare figures with thresholds, and what they have raised."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field

from remanager.engine.task_queue.alerts import Alert, AlertRule
from remanager.manager.manager import Manager
from remanager.manager.task_queue.submission import Seconds
from remanager.model.principal import asked_by
from remanager.verbs.registry import LockParams, LockScope, Params, fixed, verb
from remanager.verbs.selectors import SelectorModel, selector_of
from remanager.wire.codec import Reply

Name = Annotated[str, Field(min_length=1, max_length=200)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class RuleParams(LockParams):
    """Parameters of ``alert_rule_set``."""

    name: Name = Field(description="name of the rule and of its alert")
    metric: Name = Field(
        description="``oldest_pending_age_s``, ``running_age_s`` or ``task_count`` of the selected tasks; or "
        "the path of a figure in the answer of ``stats``, such as ``queue.depth``, or of ``type_stats``, "
        "such as ``type_stats.NAME.failure_rate``"
    )
    selector: SelectorModel | None = Field(
        None,
        description="which tasks; with a path it can only name types: then the path begins within the "
        "figures of each, and the worst counts",
    )
    op: Literal[">", ">=", "<", "<="] = Field(">", description="how the figure compares with a threshold")
    warn: Number | None = Field(None, description="threshold of a warning")
    critical: Number | None = Field(None, description="threshold of something critical")
    for_s: Seconds = Field(0.0, description="a threshold is breached that long before it is told (s)")
    clear_for_s: Seconds = Field(0.0, description="all is well that long before the alert clears (s)")
    enabled: bool = Field(True, description="false: the rule is kept and not looked at")


class RuleNameParams(LockParams):
    """Parameters of ``alert_rule_remove``."""

    name: Name = Field(description="name of the rule")


class ListParams(Params):
    """Parameters of ``alert_list``."""

    active: bool = Field(True, description="only active ones; false: those that have cleared of late, too")
    name: Name | None = Field(None, description="only this one")


class AckParams(LockParams):
    """Parameters of ``alert_ack``."""

    name: Name = Field(description="name of the alert")
    user: Annotated[str, Field(max_length=200)] = Field("", description="who has seen it")


_NO_RULES = fixed(rules=[])


@verb("alert_rule_set", RuleParams, lock=LockScope.QUEUE, fillers=_NO_RULES)
async def alert_rule_set(manager: Manager, params: RuleParams) -> Reply:
    """Put a rule in force, in place of the one of the same name; it is looked at every few seconds.

    What it raises has the level ``warn`` or ``critical``, and clears by itself. The answer is that of
    ``alert_rule_list``.
    """
    selector = selector_of(params.selector)
    rule = AlertRule(
        name=params.name,
        metric=params.metric,
        op=params.op,
        warn=params.warn,
        critical=params.critical,
        for_s=params.for_s,
        clear_for_s=params.clear_for_s,
        enabled=params.enabled,
        selector=selector.to_dict(),
    )
    await manager.controls.alerts.set_rule(rule, selector)
    return _rules(manager)


@verb("alert_rule_remove", RuleNameParams, lock=LockScope.QUEUE, fillers=_NO_RULES)
async def alert_rule_remove(manager: Manager, params: RuleNameParams) -> Reply:
    """Remove a rule; its alert clears. The answer is that of ``alert_rule_list``."""
    await manager.controls.alerts.remove_rule(params.name)
    return _rules(manager)


@verb("alert_rule_list", fillers=_NO_RULES)
def alert_rule_list(manager: Manager, _params: object) -> Reply:
    """Return the rules.

    ``value`` is the figure of each as it was looked at last: null as long as there is none, such as that of a
    type of which no task has run.
    """
    return _rules(manager)


@verb("alert_list", ListParams, fillers=fixed(alerts=[], alerts_uid=None))
def alert_list(manager: Manager, params: ListParams) -> Reply:
    """Return what is wrong, what is worst first; ``task_uids`` names tasks where it is about few.

    ``value`` is the last figure that breached the threshold; the event ``alert_cleared`` has the one that
    does no more. ``alerts_uid`` changes whenever an alert or a rule does.
    """
    alerts = manager.controls.alerts.alerts
    found = sorted(alerts.active.values(), key=lambda a: (a.level, a.time_raised))
    if not params.active:
        found += reversed(alerts.cleared)
    told = [_told(a) for a in found if params.name is None or a.name == params.name]
    return {"alerts": told, "alerts_uid": manager.state.alerts_uid}


@verb("alert_ack", AckParams, mutating=True, fillers=fixed(alert=None))
async def alert_ack(manager: Manager, params: AckParams) -> Reply:
    """Note that somebody has seen an active alert; it stays active. One that gets worse is new again."""
    user = params.user or asked_by.get() or "somebody"
    return {"alert": _told(await manager.controls.alerts.acknowledge(params.name, user))}


def _rules(manager: Manager) -> Reply:
    alerts = manager.controls.alerts
    rules = alerts.alerts.rules.values()
    return {"rules": [{**asdict(rule), "value": alerts.values.get(rule.name)} for rule in rules]}


def _told(alert: Alert) -> dict[str, Any]:
    return asdict(alert)
