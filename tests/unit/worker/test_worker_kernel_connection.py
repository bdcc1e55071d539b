"""Where the IPython kernel listens."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from remanager.model.worker_config import WorkerConfig
from remanager.worker import kernel_connection
from remanager.worker.kernel_connection import KernelAddress, kernel_address, resolve_ip


def address(tmp_path: Path, **settings: Any) -> KernelAddress:
    return kernel_address(WorkerConfig("w", "", "", use_ipython_kernel=True, **settings), tmp_path)


def write(path: Path, **changes: Any) -> None:
    info = {"ip": "127.0.0.1", "shell_port": 60000, "key": "k"}
    path.write_text(json.dumps(info | changes))


def test_free_ports_and_a_file_without_a_name(tmp_path: Path) -> None:
    assert address(tmp_path) == KernelAddress("127.0.0.1", {}, None)


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_ip("localhost") == "127.0.0.1"
    assert resolve_ip("192.0.2.7") == "192.0.2.7"
    assert len(resolve_ip("auto").split(".")) == 4

    class NoNetwork(socket.socket):
        def connect(self, _address: object) -> None:
            raise OSError("no network")

    monkeypatch.setattr(kernel_connection.socket, "socket", NoNetwork)
    assert resolve_ip("auto") == "127.0.0.1"


def test_the_file_lies_in_the_default_directory_or_in_the_given_one(tmp_path: Path) -> None:
    assert address(tmp_path, kernel_connection_file="f.json").file == tmp_path / "f.json"
    elsewhere = str(tmp_path / "elsewhere")
    given = address(tmp_path, kernel_connection_file="f.json", kernel_connection_dir=elsewhere)
    assert given.file == tmp_path / "elsewhere" / "f.json"


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, True),
        ({"kernel_ports": {"shell": 60000}}, True),
        ({"kernel_ports": {"shell": 60010}}, False),
        ({"kernel_ports": {"hb": 60003}}, False),
        ({"kernel_ip": "192.0.2.7"}, False),
    ],
)
def test_a_file_that_contradicts_the_settings_is_removed(
    tmp_path: Path, settings: dict[str, Any], kept: bool
) -> None:
    write(tmp_path / "f.json")
    assert address(tmp_path, kernel_connection_file="f.json", **settings).file == tmp_path / "f.json"
    assert (tmp_path / "f.json").exists() is kept


@pytest.mark.parametrize("content", ["", "[]", '"text"', "{}"])
def test_a_file_that_cannot_be_read_is_removed(tmp_path: Path, content: str) -> None:
    (tmp_path / "f.json").write_text(content)
    assert address(tmp_path, kernel_connection_file="f.json").file == tmp_path / "f.json"
    assert not (tmp_path / "f.json").exists()
