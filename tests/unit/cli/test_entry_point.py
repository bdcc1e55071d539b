"""The entry point: supervisor, manager or command."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from remanager import __version__
from remanager.__main__ import main


def test_supervisor_imports_only_the_standard_library() -> None:
    code = """
import json, sys
before = set(sys.modules)
import remanager.__main__ as entry
import remanager.daemon.supervisor as supervisor
supervisor.run = lambda argv: print(json.dumps([argv, sorted(set(sys.modules) - before)])) or 5
sys.exit(entry.main(["start", "--zmq-encoding", "json"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    argv, modules = json.loads(done.stdout)
    assert argv == ["--zmq-encoding", "json"]
    roots = {name.partition(".")[0] for name in modules}
    assert roots <= set(sys.stdlib_module_names) | {"remanager"}
    assert not roots & {"argparse", "asyncio", "logging"}


def test_options_are_read_without_heavy_imports() -> None:
    code = """
import sys
from remanager.cli.start import parse
parse([])
print(*(m for m in ("click", "pydantic", "rich", "yaml", "zmq", "bluesky") if m in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_start_is_given_at_once(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as info:
        main(["start", flag])
    assert info.value.code == 0
    text = capsys.readouterr().out
    assert "--zmq-control-addr" in text
    assert "--supervisor-fd" not in text


@pytest.mark.parametrize("argv", [["start", "--supervisor-fd", "7"], ["start", "--supervisor-fd=7"]])
def test_manager_gets_settings_and_socket(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[tuple[object, int]] = []
    fake = SimpleNamespace(run=lambda settings, fd: got.append((settings, fd)) or 3)
    monkeypatch.setitem(sys.modules, "remanager.daemon.manager", fake)
    assert main([*argv, "--zmq-encoding=msgpack"]) == 3
    [(settings, fd)] = got
    assert fd == 7
    assert settings.zmq_encoding == "msgpack"  # type: ignore[attr-defined]


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    version = capsys.readouterr().out
    assert version.startswith(f"remanager {__version__} (Python 3.")
    assert "protocol of bluesky-queueserver 0.0." in version
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name in ("start", "demo", "status"):
        assert f"  {name} " in listed
        assert main([name, "--help"]) == 0 if name != "start" else True
    assert main(["nonsense"]) == 1
    assert "No such command 'nonsense'" in capsys.readouterr().err


def test_status_of_a_manager_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QSERVER_ZMQ_CONTROL_ADDRESS", "tcp://127.0.0.1:9")
    assert main(["status", "--timeout", "0.2"]) == 3
    assert "Is the daemon running?" in capsys.readouterr().err
