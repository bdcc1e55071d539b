"""A daemon with encryption and keys of clients, managed on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from system_harness import Daemon

from remanager_api.zmq import REManagerAPI

CLEARED = ("QSERVER_ZMQ_PUBLIC_KEY", "REMANAGER_CLIENT_PRIVATE_KEY", "QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER")


def command(daemon: Daemon, *words: str, **variables: str) -> tuple[int, str]:
    environ = {k: v for k, v in os.environ.items() if k not in CLEARED}
    environ |= {"REMANAGER_STATE_DIR": str(daemon.state_dir), "QSERVER_ZMQ_CONTROL_ADDRESS": daemon.control}
    done = subprocess.run(
        [sys.executable, "-m", "remanager", *words],
        env=environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def made(daemon: Daemon, *words: str) -> dict[str, Any]:
    code, text = command(daemon, *words, "--json")
    assert code == 0, text
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.timeout(180)  # each command is a process
def test_keys_on_the_command_line(
    make_daemon: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CLEARED:
        monkeypatch.delenv(name, raising=False)
    daemon = make_daemon()
    public = made(daemon, "keys", "server", "--make")["public_key"]
    ann = made(daemon, "keys", "add", "ann", "--role", "admin")["private_key"]
    eve = made(daemon, "keys", "add", "eve", "--role", "observer")["private_key"]
    assert command(daemon, "keys", "legacy", "--role", "none")[0] == 0
    daemon.launch()
    settings = {"zmq_control_addr": daemon.control, "zmq_public_key": public, "timeout_recv": 30.0}
    with REManagerAPI(**settings, zmq_client_private_key=ann) as api:
        assert api.queue_get()["items"] == []
    keys = {"QSERVER_ZMQ_PUBLIC_KEY": public}
    assert command(daemon, "ping", "--timeout", "1")[0] == 3
    assert command(daemon, "ping", "--timeout", "1", **keys)[0] == 3
    assert command(daemon, "status", **keys, REMANAGER_CLIENT_PRIVATE_KEY=eve)[0] == 0
    code, text = command(daemon, "queue", "clear", **keys, REMANAGER_CLIENT_PRIVATE_KEY=eve)
    assert (code, "not_permitted" in text) == (2, True)
    code, text = command(daemon, "lock", "all", "-k", "abc", **keys, REMANAGER_CLIENT_PRIVATE_KEY=ann)
    assert code == 0, text
    code, text = command(daemon, "events", "--json", **keys, REMANAGER_CLIENT_PRIVATE_KEY=eve)
    (event,) = [e for e in json.loads(text)["events"] if e["type"] == "locked"]
    assert event["data"]["principal"] == "ann"
    assert command(daemon, "manager", "stop", **keys, REMANAGER_CLIENT_PRIVATE_KEY=ann)[0] == 0
    assert daemon.process is not None
    assert daemon.process.wait(20) == 0
