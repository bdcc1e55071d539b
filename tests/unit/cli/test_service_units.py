"""The unit files: those that are shipped are those that are made, and systemd understands them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from remanager.cli.service_sandbox import SANDBOX
from remanager.cli.service_unit import UnitSpec, quoted, shipped_files, sysusers_text, unit_text

SHIPPED = Path(__file__).parents[3] / "systemd"
MOST_EXPOSURE = 3.0
ANALYZE = shutil.which("systemd-analyze")
needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def directives(text: str) -> dict[str, str]:
    """Return the last value of each directive."""
    lines = (line for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture(params=[name for name in shipped_files() if name.endswith(".service")])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A shipped unit file that calls a program that exists."""
    text = (SHIPPED / request.param).read_text()
    path = tmp_path / request.param
    path.write_text(text.replace("/opt/remanager/bin/remanager", sys.executable))
    return path


def test_shipped_files_are_current() -> None:
    found = {str(p.relative_to(SHIPPED)): p.read_text() for p in SHIPPED.rglob("*") if p.is_file()}
    assert found == shipped_files(), "run 'make reference'"


@needs_analyze
@pytest.mark.parametrize("template", [False, True])
def test_systemd_understands_the_unit_of_a_user(tmp_path: Path, template: bool) -> None:
    spec = UnitSpec(user=True, template=template, command=(sys.executable, "-m", "remanager"))
    path = tmp_path / spec.file_name
    path.write_text(unit_text(spec))
    verify(path)


@needs_analyze
def test_systemd_understands_the_units(unit: Path) -> None:
    verify(unit)


def verify(unit: Path) -> None:
    """Have systemd read a unit file."""
    command = [str(ANALYZE), "verify", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_analyze
def test_the_exposure(unit: Path) -> None:
    command = [str(ANALYZE), "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= MOST_EXPOSURE, done.stdout


def test_what_hardware_needs_is_not_kept_from_it() -> None:
    sandbox = directives(SANDBOX)
    for name in ("PrivateDevices", "PrivateNetwork", "PrivateTmp", "ProtectClock", "MemoryDenyWriteExecute"):
        assert sandbox[name] == "no"
    # Any of these would close all devices that it does not name.
    assert not {"DevicePolicy", "DeviceAllow"} & set(sandbox)
    assert {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"} <= set(sandbox["RestrictAddressFamilies"].split())


def test_workers_can_outlive_the_service() -> None:
    for spec in (UnitSpec(), UnitSpec(template=True), UnitSpec(user=True)):
        unit = directives(unit_text(spec))
        assert unit["KillMode"] == "process"
        assert unit["Environment"] == "REMANAGER_ON_STOP=leave-on-restart"
        assert unit["OOMPolicy"] == "continue"
        assert (unit["Type"], unit["NotifyAccess"]) == ("notify", "main")


def test_instruments_share_nothing() -> None:
    unit = directives(unit_text(UnitSpec(template=True)))
    for name in ("User", "ExecStart", "StateDirectory", "EnvironmentFile", "WorkingDirectory"):
        assert "%i" in unit[name], name
    assert "--state-dir %h/.local/state/remanager/%i" in unit_text(UnitSpec(template=True, user=True))


def test_an_own_user_and_a_given_one() -> None:
    assert directives(unit_text(UnitSpec()))["User"] == "remanager"
    given = directives(unit_text(UnitSpec(run_as="operator")))
    assert (given["User"], given["SupplementaryGroups"]) == ("operator", "remanager")
    assert "Group" not in given
    assert sysusers_text().splitlines()[2:] == ['u remanager - "Run manager" /var/lib/remanager']
    assert sysusers_text(run_as="operator").splitlines()[2:] == ["m operator remanager"]
    assert "u remanager-one " in sysusers_text("one")


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("/opt/python", "/opt/python"),
        ("/opt/my lab/python", '"/opt/my lab/python"'),
        ("100%$x", "100%%$$x"),
        ('a"b\\', '"a\\"b\\\\"'),
        ("", '""'),
    ],
)
def test_words_of_a_command_line(word: str, shown: str) -> None:
    assert quoted(word) == shown
