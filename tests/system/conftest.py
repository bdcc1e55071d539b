"""Real daemons for the tests of this directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from system_harness import Daemon, Gate, make_profile

MakeDaemon = Callable[..., Daemon]


@pytest.fixture(scope="module")
def make_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeDaemon]:
    """Make daemons that end with the module."""
    made: list[Daemon] = []

    def make(*options: str, env: dict[str, str] | None = None) -> Daemon:
        daemon = Daemon(tmp_path_factory.mktemp("state") / "s", *options, env=env)
        made.append(daemon)
        return daemon

    yield make
    for daemon in made:
        daemon.close()


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A start-up directory: the simulated instrument, and the plans and functions of these tests."""
    return make_profile(tmp_path_factory.mktemp("profile") / "startup")


@pytest.fixture(scope="module")
def daemon(make_daemon: MakeDaemon, profile: Path) -> Daemon:
    """A running daemon with the simulated instrument, its environment open."""
    made = make_daemon("--startup-dir", str(profile))
    made.start()
    made.open_environment()
    return made


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Lets plans and functions of the tests' profile go on."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe by which a task and its test wait for one another."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path
