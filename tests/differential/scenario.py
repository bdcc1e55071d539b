"""The register of scripts, and how the daemons are started for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from session import Session

Run = Callable[[Session], None]


@dataclass(frozen=True, slots=True)
class Setup:
    """How the daemons are started.

    Attributes
    ----------
    name : str
        Shown in the report.
    options : tuple of str
        Options for both daemons.
    startup : str
        Replaces the start-up code, if not empty.
    encodings : tuple of str
        Encodings in which the scripts are run.
    """

    name: str
    options: tuple[str, ...] = ()
    startup: str = ""
    encodings: tuple[str, ...] = ("json", "msgpack")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script.

    Attributes
    ----------
    name : str
        Shown in the report, and part of the name of its steps.
    setup : Setup
        How the daemons are started.
    run : callable
        Sends the requests.
    """

    name: str
    setup: Setup
    run: Run


DEFAULT = Setup("default")
SCENARIOS: list[Scenario] = []


def scenario(name: str, setup: Setup = DEFAULT) -> Callable[[Run], Run]:
    """Register a script."""

    def register(run: Run) -> Run:
        SCENARIOS.append(Scenario(name, setup, run))
        return run

    return register
