"""Plans and functions that say where they are and wait for the tests."""

import ctypes
import os
import resource
import time

import bluesky.plan_stubs as bps
import numpy as np
from bluesky.plan_stubs import null

from remanager.tasks import current


def _append(path, line):
    with open(path, "a") as file:
        file.write(f"{line}\n")


def note(path: str, line: str):
    """Append a line to a file."""
    _append(path, line)
    yield from null()


def held(path: str, gate: str, line: str = "held"):
    """Open a run, append a line to a file, and wait until another file is there."""
    yield from bps.open_run()
    _append(path, line)
    print(f"the plan is held: {line}")  # noqa: T201
    while not os.path.exists(gate):
        yield from bps.checkpoint()
        yield from bps.sleep(0.02)
    yield from bps.close_run()
    _append(path, f"{line} done")


def segfault():
    """Die as of a fault of a C library."""
    yield from null()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def held_at_half(gate: str, num: int):
    """Count, and wait after half of the points until a file is there."""
    taken = 0

    def one_point(detectors):
        nonlocal taken
        while taken == num // 2 and not os.path.exists(gate):
            yield from bps.sleep(0.02)
        yield from bps.one_shot(detectors)
        taken += 1

    yield from count([diode], num=num, per_shot=one_point)  # noqa: F821 - of the other files


def steps(path: str, line: str):
    """Note the beginning, take a few short steps, and note the end."""
    _append(path, f"begin {line}")
    yield from bps.open_run()
    for _ in range(5):
        yield from bps.checkpoint()
        yield from bps.sleep(0.01)
    yield from bps.close_run()
    _append(path, f"end {line}")


def broken(path: str, line: str):
    """Append a line to a file and fail."""
    _append(path, line)
    yield from null()
    raise ValueError("the plan was told to fail")


def hold(path: str, fifo: str, line: str = "hold") -> str:
    """Append a line to a file, and wait until somebody writes to a named pipe."""
    _append(path, line)
    print(f"the function is held: {line}")  # noqa: T201
    with open(fifo) as pipe:
        return pipe.read()


def listen(path: str, line: str = "listening"):
    """Append a line to a file, and go on until it is told to stop."""
    _append(path, line)
    while True:
        current().check_cancelled()
        time.sleep(0.01)


def count_up(path: str, line: str) -> int:
    """Append a line to a file and return how many there are."""
    _append(path, line)
    with open(path) as file:
        return len(file.readlines())


def give(value=None):
    """Return what was given."""
    return value


def give_array():
    """Return what no encoding takes."""
    return np.zeros(3)


def fail(msg: str = "the function was told to fail"):
    """Fail."""
    raise ValueError(msg)
