"""What the daemon does when the store cannot be used."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from system_harness import USER, Daemon, plan

pytest.importorskip("bluesky")

from remanager.store.store import DATABASE_NAME

MakeDaemon = Callable[..., Daemon]


def test_damaged_page(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon()
    daemon.start()
    daemon.stop()
    with (daemon.state_dir / DATABASE_NAME).open("r+b") as file:
        file.seek(8192)
        file.write(random.Random(1).randbytes(20_000))
    code, said = daemon.run_to_end()
    assert code == 2
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if "malformed" in line]
    for text in (DATABASE_NAME, "is damaged", "remanager doctor", "remanager backup"):
        assert text in line


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def test_full_disk(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 << 19))
    daemon = Daemon(small_disk / "s")
    daemon.log = small_disk.parent / "log"
    item = plan("count", ["diode"]) | {"meta": {"text": "x" * 20_000}}
    try:
        daemon.start()
        daemon.open_environment()
        client, first = daemon.client, daemon.manager().pid
        added = 0
        while (reply := client.call("queue_item_add", item=item, **USER))["success"]:
            added += 1
        assert reply["code"] == "storage"
        status = daemon.wait(lambda s: not s["ready"] and "disk" in s["not_ready_reason"])
        assert status["items_in_queue"] == added
        manager = daemon.manager().pid
        assert manager != first
        for _ in range(3):
            refusal = client.refused("queue_item_add", item=item, **USER)
            assert refusal["code"] == "storage"
            assert "Make room" in refusal["msg"]
        assert len(client.ok("queue_get")["items"]) == added
        assert client.ok("stats")["health"]["state"] == "bad"
        client.ok("history_get")
        assert daemon.manager().pid == manager
        filler = small_disk / "filler"  # what the end of the manager has set free
        filler.touch()
        assert daemon.stop() == 0
        fill(filler)
        daemon.start()
        assert len(client.ok("queue_get")["items"]) == added
        manager = daemon.manager().pid
        assert client.refused("queue_item_add", item=item, **USER)["code"] == "storage"
        filler.unlink()
        ballast.unlink()
        daemon.wait(lambda s: "disk" not in s["not_ready_reason"])
        daemon.open_environment()
        client.ok("queue_item_add", item=item, **USER)
        assert daemon.manager().pid == manager
        assert daemon.stop() == 0
        daemon.start()
        assert client.call("status")["items_in_queue"] == added + 1
    finally:
        daemon.close()


def test_first_start_on_a_full_disk(small_disk: Path) -> None:
    daemon = Daemon(small_disk / "s")
    daemon.log = small_disk.parent / "log"
    daemon.start()
    daemon.stop()
    fill(small_disk / "filler")
    code, said = daemon.run_to_end()
    assert code == 2
    assert said.endswith("its disk is full. Make room.\n")
    daemon.close()
