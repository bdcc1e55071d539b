"""Start-up code that both daemons get: simulated devices, bluesky's plans, and some that wait for a file."""

# ruff: noqa: F401, UP006, UP007, UP045, RUF013 - what is imported is offered to clients; old annotations, too

import time
import typing
from pathlib import Path

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from bluesky import RunEngine
from bluesky.plan_stubs import mv, mvr, null
from bluesky.plans import (
    adaptive_scan,
    count,
    fly,
    grid_scan,
    inner_product_scan,
    list_grid_scan,
    list_scan,
    log_scan,
    ramp_plan,
    rel_scan,
    scan,
    scan_nd,
    spiral,
    tune_centroid,
    x2x_scan,
)
from bluesky.protocols import Movable, Readable
from bluesky_queueserver.manager.annotation_decorator import parameter_annotation_decorator
from ophyd import Component, Device
from ophyd.sim import SynAxis, SynGauss, hw, motor, motor1

globals().update(vars(hw()))

RE = RunEngine({"instrument": "differential"})
GATE = Path(__file__).parent / "gate"


class Stage(Device):
    """Two axes."""

    x = Component(SynAxis, name="x", labels={"motors"})
    y = Component(SynAxis, name="y", labels={"motors"})


class Table(Device):
    """A stage on top and a detector that looks at it."""

    top = Component(Stage, name="top")
    eye = Component(
        SynGauss, name="eye", motor=motor1, motor_field="motor1", center=0, Imax=5, sigma=0.5, labels={"det"}
    )


table = Table(name="table")
_hidden_motor = SynAxis(name="_hidden_motor")


def held(label: str = "held"):
    """
    Open a run and wait at checkpoints until the gate is open.

    Parameters
    ----------
    label : str
        Goes into the metadata of the run.
    """
    yield from bps.open_run({"label": label})
    while not GATE.exists():
        yield from bps.checkpoint()
        yield from bps.sleep(0.05)
    yield from bps.close_run()


def held_without_checkpoint():
    """Wait until the gate is open, and never pass a checkpoint."""
    yield from bps.clear_checkpoint()
    while not GATE.exists():
        yield from bps.sleep(0.05)


def nested():
    """Two runs one inside the other; wait between their ends."""
    yield from bpp.set_run_key_wrapper(bps.open_run(), "outer")
    yield from bpp.set_run_key_wrapper(bps.open_run(), "inner")
    yield from bpp.set_run_key_wrapper(bps.close_run(), "inner")
    while not GATE.exists():
        yield from bps.checkpoint()
        yield from bps.sleep(0.05)
    yield from bpp.set_run_key_wrapper(bps.close_run(), "outer")


def broken(text: str = "told to fail"):
    """Fail after the first message."""
    yield from null()
    raise ValueError(text)


def broken_in_run():
    """Fail inside a run."""
    yield from bps.open_run()
    yield from null()
    raise RuntimeError("failed inside a run")


def silent():
    """Do nothing, without a run."""
    yield from null()


def no_generator(value: int):
    """Is called like a plan, but is none."""
    return value


def typed(
    a: int,
    b: float = 1.5,
    *values: float,
    c: typing.Optional[str] = None,
    d: typing.List[int] = (1, 2),
    e: typing.Union[int, str] = "e",
    f: typing.Literal["one", "two"] = "one",
    g: bool = False,
    h: typing.Dict[str, float] = None,
    i: typing.Tuple[int, str] = (1, "i"),
    **more: typing.Any,
):
    """
    Take parameters of many types.

    Parameters
    ----------
    a : int
        The first one.
    b : float
        The second one.
    c : str or None
        A text
        over two lines.
    """
    yield from null()


def modern(a: int | None = None, b: list[str] | str = "b", c: dict[str, int] | None = None):
    """Annotations of the newer kind."""
    yield from null()


def with_devices(detectors: list[Readable], axis: Movable, places: typing.Sequence[float] = (0.0,)):
    """Annotations by protocols."""
    for place in places:
        yield from bps.mv(axis, place)
        yield from bps.trigger_and_read(detectors)


def plain(first, second=10, *, third=None):
    yield from null()


@parameter_annotation_decorator(
    {
        "description": "Has a description of its own.",
        "parameters": {
            "detectors": {
                "description": "Detectors to read.",
                "annotation": "typing.List[Detectors]",
                "devices": {"Detectors": ("det1", "det2", ":^table:?.*$")},
            },
            "axis": {
                "description": "Axis to move.",
                "annotation": "Axes",
                "devices": {"Axes": ("motor1", "motor2", "table.top.x")},
            },
            "speed": {
                "description": "How fast.",
                "annotation": "Speeds",
                "enums": {"Speeds": ("slow", "fast")},
                "default": "slow",
            },
            "inner": {
                "description": "A plan to run.",
                "annotation": "typing.Optional[Plans]",
                "plans": {"Plans": ("count", "scan")},
                "default": None,
            },
            "number": {"annotation": "int", "min": 1, "max": 5, "step": 1, "default": 2},
            "anything": {"annotation": "__PLAN_OR_DEVICE__", "default": "det"},
            "name": {"annotation": "str", "convert_device_names": True, "default": "x"},
        },
    }
)
def annotated(detectors, axis, speed="slow", inner=None, number=2, anything="det", name="x"):
    yield from null()


@parameter_annotation_decorator(
    {
        "parameters": {
            "positions": {
                "description": "Where to go.",
                "annotation": "typing.List[float]",
                "min": -10,
                "max": 10,
                "step": 0.01,
            },
            "names": {
                "annotation": "typing.List[str]",
                "convert_plan_names": False,
                "convert_device_names": False,
            },
        }
    }
)
def limited(positions, names=("a",)):
    """Limits of the values in a list."""
    yield from null()


def _hidden_plan():
    yield from null()


def give(value=None, *rest, **named):
    """Return what was given."""
    return [value, list(rest), named] if rest or named else value


def give_array():
    """Return what no encoding takes."""
    return np.zeros(3)


def fail(text: str = "told to fail"):
    """Fail."""
    raise ValueError(text)


def wait_for_gate():
    """Wait until the gate is open."""
    while not GATE.exists():  # another process makes the file
        time.sleep(0.02)
    return "open"


def set_metadata(name, value):
    """Set a key of the metadata."""
    RE.md[name] = value


def _hidden_function():
    return 1
