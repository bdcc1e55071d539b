"""Options, environment variables and configuration files, from the command line to what the daemon does."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
import zmq
from system_harness import Daemon, RawClient, free_port, function, plan

MakeDaemon = Callable[..., Daemon]
TASKS = Path(__file__).parent / "tasks"


def version_of(daemon: Daemon) -> str:
    """What the daemon reports: easily set from every source."""
    daemon.start()
    text: str = daemon.client.call("status")["msg"]
    daemon.stop()
    return text.removeprefix("RE Manager v")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.yml"
    path.write_text(yaml.safe_dump({"remanager": {"report_version": "1.file"}}))
    return path


def test_option_before_variable_before_file(make_daemon: MakeDaemon, config: Path) -> None:
    variable = {"REMANAGER_REPORT_VERSION": "1.variable"}
    assert version_of(make_daemon("--config", str(config))) == "1.file"
    assert version_of(make_daemon("--config", str(config), env=variable)) == "1.variable"
    everything = make_daemon("--config", str(config), "--report-version=1.option", env=variable)
    assert version_of(everything) == "1.option"
    named = make_daemon(env={"QSERVER_CONFIG": str(config)})
    assert version_of(named) == "1.file"


def test_addresses_from_variables(make_daemon: MakeDaemon) -> None:
    """The option wins: the daemon of this test is found at the address that the option says."""
    elsewhere = f"tcp://127.0.0.1:{free_port()}"
    daemon = make_daemon(env={"QSERVER_ZMQ_CONTROL_ADDRESS_FOR_SERVER": elsewhere})
    daemon.start()
    client = RawClient(elsewhere)
    with pytest.raises(TimeoutError):
        client.call("status", timeout=0.2)
    client.close()
    daemon.stop()


def test_configuration_of_a_lab(make_daemon: MakeDaemon, tmp_path: Path, profile: Path) -> None:
    """A file as it is written for bluesky-queueserver, with environment variables in it."""
    path = tmp_path / "qserver.yml"
    control, info = f"tcp://127.0.0.1:{free_port()}", f"tcp://127.0.0.1:{free_port()}"
    content = {
        "network": {
            "zmq_control_addr": control,
            "zmq_info_addr": info,
            "zmq_publish_console": True,
            "redis_addr": "localhost:6379",
            "redis_name_prefix": "lab",
        },
        "startup": {
            "keep_re": True,
            "startup_dir": "${LAB_PROFILE}",
            "existing_plans_and_devices_path": "${LAB_PROFILE}",
            "user_group_permissions_path": "${LAB_PROFILE}",
        },
        "operation": {
            "print_console_output": True,
            "console_logging_level": "NORMAL",
            "update_existing_plans_and_devices": "ENVIRONMENT_OPEN",
            "user_group_permissions_reload": "ON_STARTUP",
            "emergency_lock_key": "emergency",
        },
        "worker": {"permitted_re_metadata_keys": ["/facility"]},
    }
    path.write_text(yaml.safe_dump(content))
    daemon = make_daemon(env={"LAB_PROFILE": str(profile), "QSERVER_CONFIG": str(path)})
    daemon.control, daemon.info = control, info
    daemon.client.address = control
    daemon.without_addresses = True
    daemon.start()
    daemon.client.ok("lock", lock_key="key", queue=True, user="tester")
    daemon.client.ok("unlock", lock_key="emergency")
    daemon.open_environment()
    assert daemon.client.ok("re_metadata")["re_metadata"] == {"facility": "simulation"}
    daemon.stop()  # then all of the log is written
    log = daemon.log.read_text()
    assert log.count("redis") == 2
    assert "network/redis_addr in the configuration file is not needed" in log


def test_options_that_are_not_needed(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon("--redis-addr=localhost:6379", "--redis-name-prefix", "lab", "--keep-re")
    daemon.start()
    assert daemon.stop() == 0
    log = daemon.log.read_text()
    for option in ("--redis-addr", "--redis-name-prefix", "--keep-re"):
        (line,) = [text for text in log.splitlines() if f"{option} is not needed" in text]
        assert "Traceback" not in line


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--no-such-option",), "--no-such-option"),
        (("unexpected",), "unexpected"),
        (("--zmq-encoding=xml",), "zmq-encoding"),
        (("--device-max-depth=-1",), "--device-max-depth"),
        (("--zmq-control-addr=nonsense",), "nonsense"),
        (("--zmq-control-addr=tcp://256.256.256.256:1",), "256.256.256.256"),
        (("--task-result-retention=5",), "at least 120"),
        (("--startup-dir=/no/such/directory",), "/no/such/directory"),
        (("--startup-dir=/tmp", "--startup-profile=x"), "twice"),
        (("--startup-script=/tmp/x.py",), "--existing-plans-devices"),
        (("--startup-module=x",), "--existing-plans-devices"),
        (("--config=/no/such/file.yml",), "/no/such/file.yml"),
        (("--verbose", "--quiet"), "--quiet"),
        (("--update-existing-plans-devices=SOMETIMES",), "ENVIRONMENT_OPEN"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_wrong_options(make_daemon: MakeDaemon, options: tuple[str, ...], expected: str) -> None:
    code, text = make_daemon().run_to_end(*options)
    assert code == 2, text
    assert expected in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("QSERVER_ZMQ_ENCODING_FOR_SERVER", "xml"),
        ("QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER", "too short"),
        ("REMANAGER_TASK_RESULT_RETENTION", "soon"),
        ("QSERVER_CONFIG", "/no/such/file.yml"),
    ],
)
def test_wrong_variables(make_daemon: MakeDaemon, variable: str, value: str) -> None:
    code, text = make_daemon(env={variable: value}).run_to_end()
    assert code == 2, text
    assert "Traceback" not in text
    if "KEY" in variable:
        assert value not in text  # it is a secret
    else:
        assert variable in text or value in text


@pytest.mark.parametrize(
    "content",
    ["network: {zmq_control_adr: x}", "nework: {}", "- a\n- b", "a: b: c", "network: 5", "\x00"],
    ids=["key", "section", "list", "syntax", "no mapping", "binary"],
)
def test_wrong_configuration_files(make_daemon: MakeDaemon, tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.yml"
    path.write_text(content)
    code, text = make_daemon("--config", str(path)).run_to_end()
    assert code == 2, text
    assert str(path) in text
    assert "Traceback" not in text


def test_state_directory_is_private(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    old = os.umask(0)
    try:
        daemon.start()
    finally:
        os.umask(old)
    private = [daemon.state_dir, daemon.state_dir / "run"]
    for directory in private:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700, directory
    for path in daemon.state_dir.rglob("*"):
        with suppress(FileNotFoundError):  # removed meanwhile
            found = path.stat().st_mode
            assert not (stat.S_ISREG(found) and found & 0o077), path
    daemon.stop()


def test_state_directory_that_cannot_be_used(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    daemon = make_daemon()
    daemon.state_dir.write_text("a file is in the way")
    code, text = daemon.run_to_end()
    assert code == 2, text
    assert str(daemon.state_dir) in text
    assert "Traceback" not in text


def test_store_that_is_damaged(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.state_dir.mkdir(mode=0o700)
    (daemon.state_dir / "remanager.sqlite").write_bytes(b"this is no database " * 1000)
    code, text = daemon.run_to_end()
    assert code == 2, text
    assert "remanager.sqlite" in text
    assert "Traceback" not in text


def test_encoding_of_what_is_published(make_daemon: MakeDaemon) -> None:
    import msgpack

    daemon = make_daemon("--zmq-encoding=msgpack")
    daemon.start()
    with daemon.client.context.socket(zmq.SUB) as sub:
        sub.linger = 0
        sub.subscribe(b"QS_Info")
        sub.connect(daemon.info)
        assert sub.poll(10_000)
        message = msgpack.unpackb(sub.recv_multipart()[1])
    assert message["msg"]["status"]["manager_state"] == "idle"
    assert msgpack.unpackb(daemon.client.send_raw(b"\x00"))["success"] is False
    daemon.stop()


def test_silence_on_the_terminal(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon("--silent", "--console-output=OFF")
    daemon.start()
    assert daemon.stop() == 0
    assert daemon.log.read_text() == ""


@pytest.mark.parametrize(("option", "levels"), [("--quiet", "E"), ("--silent", "")])
def test_level_of_the_log(make_daemon: MakeDaemon, option: str, levels: str) -> None:
    """It holds for the workers, too; what start-up code, plans and scripts print is shown all the same."""
    daemon = make_daemon(option, "--task-paths", str(TASKS), "--task-modules", "queue_tasks")
    daemon.start()
    daemon.open_environment()
    daemon.add(plan("count", ["diode"], num=1))
    daemon.client.ok("queue_start")
    daemon.wait_idle()
    failing = daemon.client.ok("script_upload", script="print('printed')\n1/0")["task_uid"]
    assert not daemon.wait_task(failing)["success"]
    daemon.wait_ended(daemon.submit(function("add", 1)))
    assert daemon.stop() == 0
    log = daemon.log.read_text()
    assert "printed\n" in log
    found = re.findall(r"^\[([A-Z]) \d.*? remanager", log, re.MULTILINE)
    assert sorted(set(found)) == sorted(levels), log


def test_encryption(make_daemon: MakeDaemon) -> None:
    public, secret = zmq.curve_keypair()
    daemon = make_daemon(env={"QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER": secret.decode()})
    daemon.launch()
    client_public, client_secret = zmq.curve_keypair()
    with daemon.client.context.socket(zmq.REQ) as sock:
        sock.linger = 0
        sock.curve_serverkey, sock.curve_publickey, sock.curve_secretkey = (
            public,
            client_public,
            client_secret,
        )
        sock.connect(daemon.control)
        sock.send(b'{"method": "status"}')
        assert sock.poll(20_000), daemon.log_tail()
        assert b"manager_state" in sock.recv()
    with pytest.raises(TimeoutError):
        daemon.client.call("status", timeout=0.5)
    assert secret.decode() not in daemon.log.read_text()
    assert daemon.stop() == 0


def test_nothing_of_a_long_state_directory_stays_elsewhere(tmp_path: Path) -> None:
    """Sockets have short addresses: theirs is another directory."""
    with tempfile.TemporaryDirectory(prefix="rm") as short:
        daemon = Daemon(tmp_path / ("x" * 200) / "s", env={"TMPDIR": short})
        daemon.state_dir.parent.mkdir()
        try:
            daemon.start()
            assert list(Path(short).glob("remanager-*/*/link"))
            daemon.stop()
        finally:
            daemon.close()
        assert not list(Path(short).glob("remanager-*/*"))
