from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from remanager.daemon import service_manager
from remanager.daemon.scopes import in_scope
from remanager.daemon.service_manager import Unit, is_restarting, unit_of, workers_outlive

UNIT = Unit("remanager@one.service", user=False)


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/remanager.service\n", Unit("remanager.service", user=False)),
        ("0::/system.slice/system-remanager.slice/remanager@one.service\n", UNIT),
        ("0::/system.slice/remanager.service/inner\n", Unit("remanager.service", user=False)),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/remanager.service\n",
            Unit("remanager.service", user=True),
        ),
        ("0::/user.slice/user-1000.slice/user@1000.service/init.scope\n", None),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
        (
            "4:memory:/a.service\n1:name=systemd:/system.slice/b.service\n0::/\n",
            Unit("b.service", user=False),
        ),
        ("0::/\n", None),
        ("garbage\n", None),
        ("", None),
    ],
)
def test_the_unit_is_read_from_the_control_group(cgroups: str, unit: Unit | None) -> None:
    assert unit_of(cgroups) == unit


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for systemctl: an executable file to be written, which may take its time."""
    monkeypatch.setattr(service_manager, "QUESTION_TIMEOUT_S", 30.0)
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    path = directory / "systemctl"
    path.touch(mode=0o755)
    return path


@pytest.mark.parametrize(
    ("jobs", "restarting"),
    [
        ("7 remanager@one.service restart running", True),
        ("7 remanager@one.service try-restart running", True),
        ("7 remanager@one.service stop running", False),
        ("8 other.service restart running\n7 remanager@one.service stop running", False),
        ("8 other.service restart running", False),
        ("", False),
    ],
)
def test_the_jobs_tell_a_restart_from_a_stop(systemctl: Path, jobs: str, restarting: bool) -> None:
    systemctl.write_text(f"#!/bin/sh\necho \"$@\" > {systemctl}.args\nprintf '%s\\n' '{jobs}'\n")
    assert asyncio.run(is_restarting(UNIT)) is restarting
    asked = Path(f"{systemctl}.args").read_text()
    assert asked == "list-jobs --no-legend --plain --full\n"
    assert asyncio.run(is_restarting(Unit(UNIT.name, user=True))) is restarting
    assert Path(f"{systemctl}.args").read_text().startswith("--user ")


def test_a_service_manager_that_does_not_answer(systemctl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl.write_text("#!/bin/sh\nexit 1\n")
    assert asyncio.run(is_restarting(UNIT)) is None
    systemctl.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    monkeypatch.setattr(service_manager, "QUESTION_TIMEOUT_S", 0.05)
    assert asyncio.run(is_restarting(UNIT)) is None
    monkeypatch.setenv("PATH", str(systemctl.parent / "nowhere"))
    assert asyncio.run(is_restarting(UNIT)) is None


@pytest.mark.parametrize(
    ("unit", "answer", "outlive"),
    [(UNIT, True, True), (UNIT, False, False), (UNIT, None, True), (None, True, False)],
)
async def test_workers_outlive_a_restart(
    monkeypatch: pytest.MonkeyPatch, unit: Unit | None, answer: bool | None, outlive: bool
) -> None:
    async def answered(_unit: Unit) -> bool | None:
        return answer

    monkeypatch.setattr(service_manager, "own_unit", lambda: unit)
    monkeypatch.setattr(service_manager, "is_restarting", answered)
    assert await workers_outlive("leave-on-restart") is outlive
    assert await workers_outlive("leave-workers") is True
    assert await workers_outlive("close") is False


def test_workers_in_scopes() -> None:
    assert in_scope(["a", "b"], "off") == ["a", "b"]
    wrapped = in_scope(["a", "b"], "user")
    assert wrapped[:3] == ["systemd-run", "--user", "--scope"]
    assert wrapped[-3:] == ["--", "a", "b"]
    assert "--system" in in_scope(["a"], "system")
    units = {part for _ in range(2) for part in in_scope(["a"], "user") if part.startswith("--unit=")}
    assert len(units) == 2
