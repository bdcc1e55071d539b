from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from remanager.cli import service
from remanager.cli.main import run
from remanager.cli.service_files import MARK, Installation
from remanager.cli.service_unit import UnitSpec

TOOL = """\
#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >> {log}
case "$*" in
*show*) cat {answer};;
esac
"""


class Systemd:
    """Stand-ins for the programs of systemd, which write down how they were called."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.log = directory / "log"
        self.answer = directory / "answer"
        self.bin = directory / "bin"
        for path in (self.root, self.bin):
            path.mkdir()
        for path in (self.log, self.answer):
            path.touch()
        for name in ("systemctl", "journalctl", "systemd-sysusers", "systemd-tmpfiles"):
            tool = self.bin / name
            tool.write_text(TOOL.format(log=self.log, answer=self.answer))
            tool.chmod(0o755)

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()

    def files(self) -> set[str]:
        return {str(p.relative_to(self.root)) for p in self.root.rglob("*") if p.is_file()}

    def run(self, command: str, *args: str) -> int:
        return run(["service", command, "--root", str(self.root), *args])


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    made = Systemd(tmp_path)
    monkeypatch.setattr(service, "BOOTED", made.bin)
    monkeypatch.setattr(service, "MACHINE", made.root)
    monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("XDG_CONFIG_HOME", "REMANAGER_STATE_DIR", "QSERVER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return made


SYSTEM_FILES = {
    "etc/systemd/system/remanager.service",
    "etc/sysusers.d/remanager.conf",
    "etc/tmpfiles.d/remanager.conf",
    "etc/remanager/remanager.yml",
    "etc/remanager/remanager.env",
}


def test_install_writes_and_starts_nothing(systemd: Systemd, capsys: pytest.CaptureFixture[str]) -> None:
    assert systemd.run("install", "--startup-dir", str(systemd.root)) == 0
    assert systemd.files() == SYSTEM_FILES
    assert systemd.calls() == []
    shown = capsys.readouterr().out
    assert "systemctl enable --now remanager.service" in shown
    unit = (systemd.root / "etc/systemd/system/remanager.service").read_text()
    (start,) = re.findall("ExecStart=(.*)", unit)
    expected = [sys.executable, "-P", "-m", "remanager", "start", "--config", "/etc/remanager/remanager.yml"]
    assert shlex.split(start) == [*expected, "--startup-dir", str(systemd.root)]
    assert (systemd.root / "etc/remanager/remanager.env").stat().st_mode & 0o777 == 0o600


def test_install_now(systemd: Systemd) -> None:
    assert systemd.run("install", "--now") == 0
    etc = systemd.root / "etc"
    assert systemd.calls() == [
        f"systemd-sysusers {etc}/sysusers.d/remanager.conf",
        f"systemd-tmpfiles --create {etc}/tmpfiles.d/remanager.conf",
        "systemctl daemon-reload",
        "systemctl enable --now remanager.service",
    ]


def test_dry_run_does_nothing(systemd: Systemd, capsys: pytest.CaptureFixture[str]) -> None:
    assert systemd.run("install", "--dry-run", "--now") == 0
    assert systemd.files() == set()
    assert systemd.calls() == []
    shown = capsys.readouterr().out
    assert "KillMode=process" in shown
    assert "systemctl enable --now remanager.service" in shown


def test_installing_again_keeps_the_configuration(systemd: Systemd) -> None:
    systemd.run("install")
    config = systemd.root / "etc/remanager/remanager.yml"
    config.write_text("network:\n  zmq_control_addr: tcp://*:60700\n")
    assert systemd.run("install") == 0
    assert "60700" in config.read_text()


def test_a_unit_of_somebody_else_is_not_touched(systemd: Systemd, capsys: pytest.CaptureFixture[str]) -> None:
    unit = systemd.root / "etc/systemd/system/remanager.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    assert systemd.run("install") == 5
    assert "was not written by this command" in capsys.readouterr().err
    assert systemd.run("uninstall") == 0
    assert unit.read_text() == "[Service]\n"


def test_instruments_get_ports_and_users_of_their_own(systemd: Systemd) -> None:
    for name in ("one", "two"):
        assert systemd.run("install", "--instrument", name) == 0
    config = systemd.root / "etc/remanager"
    assert "60615" in (config / "one.yml").read_text()
    assert "60635" in (config / "two.yml").read_text()
    assert "60645" in (config / "two.yml").read_text()
    assert {"remanager-one.conf", "remanager-two.conf"} == set(os.listdir(systemd.root / "etc/sysusers.d"))
    # As 'systemctl enable' makes them.
    wants = systemd.root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    for name in ("one", "two"):
        (wants / f"remanager@{name}.service").symlink_to("../remanager@.service")
    assert systemd.run("uninstall", "--instrument", "one") == 0
    assert "etc/systemd/system/remanager@.service" in systemd.files()
    assert "etc/sysusers.d/remanager-one.conf" not in systemd.files()
    (wants / "remanager@one.service").unlink()
    assert systemd.run("uninstall", "--instrument", "two") == 0
    kept = {path for path in systemd.files() if "wants" not in path}
    assert kept == {f"etc/remanager/{name}.{end}" for name in ("one", "two") for end in ("yml", "env")}


@pytest.mark.parametrize("name", ["One", "a b", "1", "../x", "x" * 21])
def test_names_of_instruments(systemd: Systemd, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert systemd.run("install", "--instrument", name) == 1
    assert "lower case" in capsys.readouterr().err
    assert systemd.files() == set()


def test_a_service_of_a_user(systemd: Systemd) -> None:
    assert systemd.run("install", "--user", "--now") == 0
    config = "home/me/.config"
    assert systemd.files() == {
        f"{config}/systemd/user/remanager.service",
        f"{config}/remanager/remanager.yml",
    }
    assert systemd.calls()[-1] == "systemctl --user enable --now remanager.service"
    assert systemd.run("uninstall", "--user") == 0
    assert systemd.files() == {f"{config}/remanager/remanager.yml"}


def test_an_instrument_may_have_the_name_of_a_program(
    systemd: Systemd, capsys: pytest.CaptureFixture[str]
) -> None:
    assert systemd.run("install", "--user", "--instrument", "systemctl") == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "  systemctl --user daemon-reload",
        "  systemctl --user enable --now remanager@systemctl.service",
    ]


def test_uninstall_spares_a_service_that_runs(systemd: Systemd, capsys: pytest.CaptureFixture[str]) -> None:
    systemd.run("install")
    systemd.answer.write_text("active\n")
    assert systemd.run("uninstall") == 5
    assert "give --now" in capsys.readouterr().err
    assert systemd.files() == SYSTEM_FILES
    assert systemd.run("uninstall", "--now") == 0
    assert "systemctl disable --now remanager.service" in systemd.calls()
    assert systemd.files() == {"etc/remanager/remanager.yml", "etc/remanager/remanager.env"}


def test_wrong_options_are_refused(systemd: Systemd, capsys: pytest.CaptureFixture[str]) -> None:
    assert systemd.run("install", "--zmq-encoding", "xml") == 1
    assert "zmq-encoding" in capsys.readouterr().err
    assert systemd.files() == set()


def test_who_may_not_write_is_told_what_to_do(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refuse)
    assert systemd.run("install") == 5
    assert "as root (sudo), or install a service of your own with --user" in capsys.readouterr().err


ACTIVE = """\
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
StatusText=running plan count (3/5)
NRestarts=2
"""


def test_status_joins_systemd_and_doctor(
    systemd: Systemd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    config = systemd.root / "etc/remanager/remanager.yml"
    systemd.run("install", "--zmq-control-addr", "tcp://127.0.0.1:*", "--state-dir", str(state))
    # The configuration that the unit names is that of this machine.
    unit = systemd.root / "etc/systemd/system/remanager.service"
    unit.write_text(unit.read_text().replace("--config /etc", f"--config {systemd.root}/etc"))
    config.write_text("")
    systemd.answer.write_text(ACTIVE)
    capsys.readouterr()
    systemd.run("status", "--json")
    shown = json.loads(capsys.readouterr().out)
    assert shown["unit"] == "remanager.service"
    assert shown["systemd"]["SubState"] == "running"
    findings = [(f["level"], f["topic"], f["text"]) for f in shown["findings"]]
    first = "remanager.service is active (running), enabled: running plan count (3/5)"
    assert findings[0] == ("ok", "service", first)
    assert findings[1] == ("warning", "service", "systemd has restarted it 2 times")
    assert ("ok", "settings", "make sense") in findings
    assert any(topic == "state directory" and str(state) in text for _, topic, text in findings)


@pytest.mark.parametrize(
    ("answer", "level", "text"),
    [
        ("LoadState=not-found\nActiveState=inactive\n", "fault", "is not installed"),
        ("LoadState=loaded\nActiveState=failed\nResult=watchdog\n", "fault", "watchdog"),
        (
            "LoadState=loaded\nActiveState=inactive\nSubState=dead\n",
            "warning",
            "inactive (dead), not enabled",
        ),
    ],
)
def test_status_of_a_service_that_does_not_run(
    systemd: Systemd, capsys: pytest.CaptureFixture[str], answer: str, level: str, text: str
) -> None:
    systemd.answer.write_text(answer)
    assert systemd.run("status", "--json") == (5 if level == "fault" else 0)
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["level"] == level
    assert text in finding["text"]
    assert finding["remedy"]


def test_logs(systemd: Systemd) -> None:
    assert systemd.run("logs", "-f", "-n", "5", "--instrument", "one", "--priority", "err") == 0
    assert systemd.run("logs", "--user") == 0
    assert systemd.calls() == [
        "journalctl --unit remanager@one.service --lines=5 --follow --priority err",
        "journalctl --user-unit remanager.service --lines=100 --no-pager",
    ]


def test_without_systemd(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(service, "BOOTED", systemd.root / "none")
    assert systemd.run("install", "--now") == 5
    assert "not started with it. Start the daemon with 'remanager start'" in capsys.readouterr().err
    assert systemd.files() == set()
    assert systemd.run("install") == 0  # as for the image of a machine
    assert systemd.run("status") == 5
    assert "systemd does not run here" in capsys.readouterr().out
    assert systemd.run("uninstall") == 0
    monkeypatch.setenv("PATH", str(systemd.root))
    assert systemd.run("logs") == 5
    assert "there is no 'journalctl'" in capsys.readouterr().err


def test_systemd_of_this_machine_is_not_told_of_an_image(
    systemd: Systemd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "image"
    systemd.answer.write_text("active\n")

    def call(command: str, *args: str) -> int:
        return run(["service", command, "--root", str(image), *args])

    assert call("install", "--now") == 5
    assert f"{image} is not the root directory of this machine" in capsys.readouterr().err
    assert not image.exists()
    assert call("install") == 0
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "To start it with the machine of the image:",
        f"  systemd-sysusers --root={image}",
        f"  systemd-tmpfiles --root={image} --create",
        f"  systemctl --root={image} enable remanager.service",
    ]
    assert call("status") == 5
    assert "is not the root directory" in capsys.readouterr().out
    assert call("logs") == 0
    assert call("uninstall") == 0
    assert not (image / "etc/systemd/system/remanager.service").exists()
    assert systemd.calls() == [f"journalctl --root={image} --unit remanager.service --lines=100 --no-pager"]


def test_a_python_for_a_user_may_be_in_the_home_of_that_user(
    systemd: Systemd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setattr(sys, "prefix", str(home))
    assert systemd.run("install", "--user") == 0
    assert "can not be entered" not in capsys.readouterr().out
    assert systemd.run("install") == 0
    assert "can not be entered by other users" in capsys.readouterr().out


def test_the_options_of_a_unit_are_read_back() -> None:
    environ = {"HOME": "/home/me", "XDG_CONFIG_HOME": "/home/me/c"}
    place = Installation.here(environ, "one", user=False, root=Path("/"))
    spec = UnitSpec(options=("--startup-dir", "/opt/my lab/100%", "--task-modules", "$x"))
    options = place.start_options(place.files(spec)[place.unit_path])
    assert options == ["--config", "/etc/remanager/one.yml", *spec.options]
    user = Installation.here(environ, "one", user=True, root=Path("/"))
    text = user.files(UnitSpec())[user.unit_path]
    assert text.startswith(MARK)
    state = ["--state-dir", "/home/me/.local/state/remanager/one"]
    assert user.start_options(text) == ["--config", "/home/me/c/remanager/one.yml", *state]
    assert user.start_options("") == []


def test_the_variables_of_a_service(tmp_path: Path) -> None:
    place = Installation.here({}, "", user=False, root=tmp_path)
    path = place.config_path.with_suffix(".env")
    path.parent.mkdir(parents=True)
    path.write_text("# QSERVER_A=1\nQSERVER_B='2'\n\nC = 3\n")
    got = place.environment({"REMANAGER_STATE_DIR": "mine", "PATH": "/bin"})
    assert got == {"PATH": "/bin", "STATE_DIRECTORY": "/var/lib/remanager", "QSERVER_B": "2", "C": "3"}
