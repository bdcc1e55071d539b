"""Dispatch switches, by themselves."""

from __future__ import annotations

import pytest

from remanager.engine.task_queue.card import Card, PauseReason
from remanager.engine.task_queue.scopes import Scope
from remanager.engine.task_queue.switches import Switches
from remanager.model.errors import InvalidParams
from remanager.model.states import TaskState
from remanager.model.task_spec import TaskSpec

T0 = 1_700_000_000.0

SPEC = TaskSpec(
    task_uid="t",
    name="work",
    user="ann",
    user_group="",
    body="",
    time_created=T0,
    group="g",
    schedule_uid="s",
)
CARD = Card(SPEC, 1, TaskState.PENDING, 128)


def test_reasons_are_a_set() -> None:
    switches = Switches()
    assert switches.covering(CARD) == set()
    for scope, name in (
        (Scope.ALL, ""),
        (Scope.GROUP, "g"),
        (Scope.TASK_TYPE, "work"),
        (Scope.SCHEDULE, "s"),
    ):
        switches.set(scope, name, now=T0)
    switches.set(Scope.DOMAIN, "elsewhere", now=T0)
    expected = {PauseReason.ALL, PauseReason.GROUP, PauseReason.TASK_TYPE, PauseReason.SCHEDULE}
    assert switches.covering(CARD) == expected
    switches.clear(Scope.ALL)
    assert switches.covering(CARD) == expected - {PauseReason.ALL}
    assert switches.is_off(Scope.GROUP, "g")
    assert not switches.is_off(Scope.ALL)


def test_a_change_keeps_the_begin_and_counts_once() -> None:
    switches = Switches()
    first = switches.set(Scope.GROUP, "g", now=T0, reason="beam down")
    version = switches.version
    assert switches.set(Scope.GROUP, "g", now=T0 + 5, reason="beam down") == first
    assert switches.version == version
    again = switches.set(Scope.GROUP, "g", now=T0 + 5, until=T0 + 9, reason="beam down")
    assert (again.since, again.until) == (T0, T0 + 9)
    assert switches.version > version
    assert switches.clear(Scope.GROUP, "g") == again
    assert switches.clear(Scope.GROUP, "g") is None


def test_timed_ones_are_due() -> None:
    switches = Switches()
    switches.set(Scope.ALL, now=T0)
    late = switches.set(Scope.GROUP, "g", now=T0, until=T0 + 20)
    soon = switches.set(Scope.DOMAIN, "d", now=T0, until=T0 + 10)
    assert switches.next_until() == T0 + 10
    assert switches.due(T0 + 9) == ()
    assert switches.due(T0 + 10) == (soon,)
    assert set(switches.due(T0 + 20)) == {soon, late}


def test_they_survive_a_restart() -> None:
    switches = Switches()
    switches.set(Scope.ALL, now=T0, reason="night")
    switches.set(Scope.SCHEDULE, "s", now=T0, until=T0 + 60)
    again = Switches()
    again.load(switches.to_json())
    assert again.list() == switches.list()


@pytest.mark.parametrize(
    ("scope", "name", "until"),
    [(Scope.USER, "ann", None), (Scope.ALL, "x", None), (Scope.GROUP, "", None), (Scope.ALL, "", T0)],
)
def test_what_makes_no_sense_is_refused(scope: Scope, name: str, until: float | None) -> None:
    with pytest.raises(InvalidParams):
        Switches().set(scope, name, now=T0, until=until)
