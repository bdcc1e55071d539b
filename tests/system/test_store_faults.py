"""What the daemon does when the store cannot be used."""

from __future__ import annotations

import random
from collections.abc import Callable

from system_harness import Daemon

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
