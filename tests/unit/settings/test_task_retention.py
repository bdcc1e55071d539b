"""How long tasks are kept, as it is written."""

from __future__ import annotations

import pytest

from remanager.daemon.retention import parse_retention
from remanager.daemon.settings import SettingsError, resolve
from remanager.model.states import StateClass
from remanager.store.records import Keep


def test_what_is_said() -> None:
    assert parse_retention("") == {}
    assert parse_retention("failure=10, success=2.5/3,dropped=/7") == {
        StateClass.FAILURE: Keep(10.0, None),
        StateClass.SUCCESS: Keep(2.5, 3),
        StateClass.DROPPED: Keep(None, 7),
    }


@pytest.mark.parametrize(
    "text",
    ["failure", "failure=", "failed=3", "active=3", "failure=-1", "failure=1/x", "failure=1,failure=2"],
)
def test_what_is_wrong_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"task-retention.*CLASS=SECONDS"):
        resolve({"task_retention": text}, {})
