"""Wrong settings are refused in clear words; other sources and old names are understood."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.cli.start import parse, run
from remanager.daemon.options import OPTIONS, Kind, Option
from remanager.daemon.settings import SettingsError, default_state_dir
from remanager.daemon.sources import convert, read_configuration

Env = dict[str, str]


@pytest.fixture
def env(tmp_path: Path) -> Env:
    return {"STATE_DIRECTORY": str(tmp_path / "state")}


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--zmq-encoding", "xml"], "option --zmq-encoding: expected one of json, msgpack, got 'xml'"),
        (["--device-max-depth=-1"], "option --device-max-depth: expected a whole number"),
        (["--device-max-depth=1.5"], "whole number"),
        (["--ipython-hb-port=x"], "port number"),
        (["--console-output", "maybe"], "expected ON or OFF, got 'maybe'"),
        (["--task-result-retention=1"], "at least 120"),
        (["--zmq-control-addr="], "non-empty"),
        (["--zmq-control-addr=foo"], "expected an address such as tcp://*:60615"),
        (["--zmq-control-addr=tcp://localhost"], "expected an address such as tcp://*:60615"),
        (["--zmq-info-addr=tcp://*:65536"], "expected an address such as tcp://*:60615"),
        (["--user-group-permissions=/no/such.yaml"], "permissions does not exist: /no/such.yaml"),
        (["--update-existing-plans-devices", "SOMETIMES"], "NEVER, ENVIRONMENT_OPEN, ALWAYS"),
        (["--config", "/nonexistent.yml"], "configuration file /nonexistent.yml does not exist"),
    ],
)
def test_wrong_value(argv: list[str], text: str, env: Env) -> None:
    with pytest.raises(SettingsError) as info:
        parse(argv, env)
    assert text in str(info.value)


@pytest.mark.parametrize("argv", [["--unknown"], ["--verbose", "--quiet"], ["stray"], ["--state-dir"]])
def test_wrong_options_end_with_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as info:
        run(argv)
    assert info.value.code == 2
    assert capsys.readouterr().err


def test_wrong_setting_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--supervisor-fd=7", "--zmq-encoding=xml"]) == 2
    assert "expected one of json, msgpack" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("networks: {}", "unknown section 'networks'"),
        ("network: {zmq_adr: x}", "unknown key 'zmq_adr' in section 'network'"),
        ("network: [1]", "must hold keys and values"),
        ("- 1", "expected sections"),
        ("network: {", "cannot be read"),
        ("network: {zmq_publish_console: 5}", "key network/zmq_publish_console: expected ON or OFF"),
        ("startup: {device_max_depth: true}", "whole number"),
        ("startup: {keep_re: maybe}", "key startup/keep_re: expected ON or OFF, got 'maybe'"),
        ("startup: {ignore_invalid_plans: maybe}", "ignore_invalid_plans: expected ON or OFF, got 'maybe'"),
        ("worker: {permitted_re_metadata_keys: {a: 1}}", "a list of names"),
    ],
)
def test_wrong_configuration_file(text: str, message: str, tmp_path: Path, env: Env) -> None:
    path = tmp_path / "config.yml"
    path.write_text(text)
    with pytest.raises(SettingsError) as info:
        parse(["--config", str(path)], env)
    assert message in str(info.value)
    assert str(path) in str(info.value)


def test_directory_of_configuration_files(tmp_path: Path, env: Env) -> None:
    (tmp_path / "a.yml").write_text("network: {zmq_encoding: msgpack}")
    (tmp_path / "b.yml").write_text("operation: {console_logging_level: SILENT}\nstartup:")
    (tmp_path / ".hidden").write_text("nonsense: 1")
    (tmp_path / "code.py").write_text("nonsense")
    (tmp_path / "empty.yml").write_text("")
    settings, _ = parse([], env | {"QSERVER_CONFIG": str(tmp_path)})
    assert settings.zmq_encoding == "msgpack"
    assert settings.log_level > logging.CRITICAL
    (tmp_path / "c.yml").write_text("network: {zmq_encoding: json}")
    with pytest.raises(SettingsError, match="section 'network' is in two configuration files"):
        read_configuration(tmp_path)


def test_option_names_the_file_rather_than_the_variable(tmp_path: Path, env: Env) -> None:
    (tmp_path / "a.yml").write_text("network: {zmq_encoding: msgpack}")
    argv = ["--config", str(tmp_path / "a.yml")]
    assert parse(argv, env | {"QSERVER_CONFIG": "/nonexistent"})[0].zmq_encoding == "msgpack"


def test_variables_in_configuration_files(tmp_path: Path, env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB", "tcp://*:61234")
    key = "$LAB" + "a" * 36
    (tmp_path / "a.yml").write_text(f'network: {{zmq_control_addr: $LAB, zmq_private_key: "{key}"}}')
    settings, _ = parse(["--config", str(tmp_path / "a.yml")], env)
    assert settings.zmq_control_addr == "tcp://*:61234"
    assert settings.zmq_private_key == key


def test_old_names_and_unneeded_options_are_told(tmp_path: Path, env: Env) -> None:
    (tmp_path / "a.yml").write_text("startup: {keep_re: true}")
    settings, _ = parse(
        ["--zmq-addr", "tcp://*:1", "--redis-addr=x", "--keep-re", "--kafka-topic=x", f"--config={tmp_path}"],
        env | {"QSERVER_ZMQ_PRIVATE_KEY": "a" * 40},
    )
    assert settings.zmq_control_addr == "tcp://*:1"
    told = "\n".join(settings.notices)
    for word in (
        "--zmq-addr is an old name",
        "QSERVER_ZMQ_PRIVATE_KEY is an old name",
        "--redis-addr is not",
    ):
        assert word in told
    assert told.count("keep") == 1
    assert len(settings.notices) == 5
    both = ["--zmq-addr=tcp://*:1", "--zmq-control-addr=tcp://*:2"]
    assert parse(both, env)[0].zmq_control_addr == "tcp://*:2"


def test_supervisor_fd(env: Env) -> None:
    assert parse(["--supervisor-fd=5"], env)[1] == 5
    assert parse([], env)[1] is None


def test_default_state_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_state_dir({"STATE_DIRECTORY": "/s/a:/s/b"}, root=True) == Path("/s/a")
    assert default_state_dir({}, root=True) == Path("/var/lib/remanager")
    assert default_state_dir({"XDG_STATE_HOME": "/x"}, root=False) == Path("/x/remanager")
    assert default_state_dir({}, root=False) == Path("/home/somebody/.local/state/remanager")


def test_paths_are_expanded(env: Env, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert parse(["--state-dir=~/state"], env)[0].state_dir == tmp_path / "state"
    assert parse(["--state-dir=state"], env)[0].state_dir == tmp_path / "state"


@given(
    st.sampled_from([o for o in OPTIONS if o.kind is not Kind.PATH]), st.text() | st.integers() | st.none()
)
def test_any_value_is_taken_or_refused(option: Option, value: object) -> None:
    with contextlib.suppress(SettingsError):
        convert(option, value, "here")


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.kind is Kind.SECONDS], ids=lambda o: o.name)
def test_a_least_time_is_told_by_the_help(option: Option) -> None:
    assert "at least 120 s" in option.help
