"""Sends the same requests to bluesky-queueserver and to this daemon, and compares the answers field by field.

usage: python tests/differential/run.py [--peer-venv DIR] [--only WORD] [--encoding NAME] [--report FILE]

The exit code is 1 if an answer differs in a way that `rules.py` does not explain.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(1, str(ROOT / "benchmarks"))

import scenarios  # noqa: E402, F401 - registers the scripts
from daemons import OURS, PEER_ENVIRONMENT, Daemon, Target, end_on_sigterm, peer  # noqa: E402
from report import Outcome, Report  # noqa: E402
from scenario import SCENARIOS, Scenario, Setup  # noqa: E402
from session import EMERGENCY_KEY, ENDED_EARLY, Session, Step  # noqa: E402

PROFILE = HERE / "profile"
VARIABLES = {"QSERVER_EMERGENCY_LOCK_KEY_FOR_SERVER": EMERGENCY_KEY}
Pair = tuple[Session, Session]


@contextmanager
def _profile_of(setup: Setup) -> Iterator[Path]:
    """Make the start-up code of a set-up."""
    with tempfile.TemporaryDirectory(prefix="differential-") as directory:
        profile = Path(shutil.copytree(PROFILE, Path(directory) / "profile"))
        if setup.startup:
            (profile / "startup.py").write_text(setup.startup)
        yield profile


@contextmanager
def _sessions(setup: Setup, encoding: str, targets: tuple[Target, Target]) -> Iterator[Pair]:
    """Start both daemons and connect to each."""
    with ExitStack() as stack:
        profile = stack.enter_context(_profile_of(setup))
        options = (f"--zmq-encoding={encoding}", *setup.options)
        made = []
        for target in targets:
            daemon = stack.enter_context(Daemon(target, profile, options, VARIABLES))
            session = Session(daemon.address, encoding, daemon.profile)
            stack.callback(session.close)
            session.wait_quiet()
            made.append(session)
        yield made[0], made[1]


def _run_script(scenario: Scenario, session: Session) -> list[Step]:
    """Run a script on one daemon; what went wrong becomes its last step."""
    session.steps.clear()
    try:
        scenario.run(session)
    except (TimeoutError, RuntimeError, KeyError, ValueError) as exc:
        session.steps.append(Step("", ENDED_EARLY, None, f"{type(exc).__name__}: {exc}"))
    return list(session.steps)


def _run_setup(
    setup: Setup, encoding: str, scripts: list[Scenario], targets: tuple[Target, Target], report: Report
) -> None:
    """Run the scripts of one set-up; after one that ended early, with fresh daemons."""
    waiting = list(scripts)
    while waiting:
        with _sessions(setup, encoding, targets) as pair, ThreadPoolExecutor(2) as pool:
            directories = (str(pair[0].profile.parent), str(pair[1].profile.parent))
            while waiting:
                scenario = waiting.pop(0)
                start = time.monotonic()
                theirs, ours = pool.map(_run_script, [scenario] * 2, pair)
                outcome = Outcome.of(scenario, encoding, theirs, ours, directories)
                report.add(outcome)
                seconds = time.monotonic() - start
                print(
                    f"{seconds:5.1f} s  {setup.name}, {encoding}: {scenario.name}",
                    file=sys.stderr,
                    flush=True,
                )
                if outcome.broken:
                    break


def main() -> None:
    """Run the scripts and print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--peer-venv",
        type=Path,
        default=PEER_ENVIRONMENT,
        help="virtual environment of bluesky-queueserver, made if it does not exist",
    )
    parser.add_argument("--only", default="", help="only scripts whose name has this in it")
    parser.add_argument("--encoding", choices=("json", "msgpack"), help="only this encoding")
    parser.add_argument("--explained", action="store_true", help="show the explained differences, too")
    parser.add_argument("--report", type=Path, help="file for the report, in place of the terminal")
    options = parser.parse_args()
    end_on_sigterm()
    targets = (peer(options.peer_venv), OURS)
    complete = not options.only and options.encoding is None
    chosen = [s for s in SCENARIOS if options.only in s.name]
    report = Report(complete=complete, explained=options.explained)
    setups = {s.setup: None for s in chosen}
    try:
        for setup in setups:
            scripts = [s for s in chosen if s.setup is setup]
            for encoding in setup.encodings:
                if options.encoding in {None, encoding}:
                    _run_setup(setup, encoding, scripts, targets, report)
    finally:
        _write(report, options.report)
    sys.exit(0 if report.passed else 1)


def _write(report: Report, file: Path | None) -> None:
    """Write the report to a file, or to the terminal."""
    if file is None:
        print(report.text())
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(report.text() + "\n")
        print(report.summary())


if __name__ == "__main__":
    main()
