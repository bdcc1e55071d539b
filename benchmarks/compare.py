"""Measures the daemon, and bluesky-queueserver beside it if asked for; prints one table.

usage: python benchmarks/compare.py [--peer] [--suites rpc,plans] [--repeats N] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import bare_server
import psutil
from common import Figures, awake
from daemons import OURS, PEER_ENVIRONMENT, Target, end_on_sigterm, peer

SUITES = ("rpc", "queue_ops", "responsiveness", "tasks", "plans", "lists", "life")

WITHOUT_DISK = ("rpc",)
"""Suites that never wait for the disk: the cores are kept awake (see :func:`common.awake`)."""


def run(suites: list[str], targets: list[Target], repeats: int) -> dict[str, Figures]:
    """Run suites; the repeats of the targets alternate, so that a drift of the machine hits each alike."""
    columns = {target.name: Figures() for target in targets}
    for suite in suites:
        module = importlib.import_module(suite)
        for repeat in range(1, repeats + 1):
            for target in targets:
                print(f"{suite} {repeat}/{repeats}: {target.name}", file=sys.stderr, flush=True)
                with _machine_for(suite):
                    module.measure(target, columns[target.name])
            if suite in bare_server.SUITES:
                with _machine_for(suite):
                    bare_server.measure(suite, columns.setdefault(bare_server.NAME, Figures()))
    return columns


def _machine_for(suite: str) -> contextlib.AbstractContextManager[None]:
    return awake() if suite in WITHOUT_DISK else contextlib.nullcontext()


def print_table(columns: Mapping[str, Figures]) -> None:
    """Print medians with their range, and the ratios of the first column to each other one."""
    names = list(dict.fromkeys(name for figures in columns.values() for name in figures))
    ratios = ["ratio"] if len(columns) == 2 else [f"/ {name}" for name in list(columns)[1:]]
    rows = [["median (least..most)", *columns, *ratios]]
    for name in names:
        medians = [figures.medians().get(name) for figures in columns.values()]
        row = [name, *(_cell(figures.get(name, [])) for figures in columns.values())]
        ours, *others = medians
        row += [f"{ours / theirs:.3g}" if ours is not None and theirs else "" for theirs in others]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    shown = [_short(value) for value in (statistics.median(values), min(values), max(values))]
    return shown[0] if len(values) == 1 else f"{shown[0]} ({shown[1]}..{shown[2]})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _machine() -> dict[str, object]:
    """Describe the machine and how busy others keep it."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "busy_percent": psutil.cpu_percent(1.0),
        "time": time.time(),
    }


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", action="store_true", help="measure bluesky-queueserver too")
    parser.add_argument("--peer-only", action="store_true", help="measure bluesky-queueserver alone")
    parser.add_argument(
        "--peer-venv",
        type=Path,
        default=PEER_ENVIRONMENT,
        help="virtual environment of bluesky-queueserver, made if it does not exist",
    )
    parser.add_argument("--suites", default=",".join(SUITES), help=f"default: {','.join(SUITES)}")
    parser.add_argument("--repeats", type=int, default=3, help="default: 3")
    parser.add_argument("--json", type=Path, help="file for all values")
    options = parser.parse_args()
    suites = options.suites.split(",")
    if unknown := set(suites) - set(SUITES):
        parser.error(f"unknown suites: {', '.join(sorted(unknown))}")
    targets = [] if options.peer_only else [OURS]
    if options.peer or options.peer_only:
        targets.append(peer(options.peer_venv))
    end_on_sigterm()
    machine = _machine()
    columns = run(suites, targets, options.repeats)
    print_table(columns)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine, "figures": columns}, indent=1) + "\n")


if __name__ == "__main__":
    main()
