"""Plans of the simulated instrument: those of bluesky, and its own."""

# ruff: noqa: F401 - what is imported here is offered to clients

from collections.abc import Sequence

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.plan_stubs import mv, sleep
from bluesky.plans import (
    count,
    fly,
    grid_scan,
    list_scan,
    rel_scan,
    scan,
)
from bluesky.protocols import Movable, Readable
from bluesky_queueserver.manager.annotation_decorator import parameter_annotation_decorator


@parameter_annotation_decorator(
    {
        "description": "Scan an axis around where it is, then go to the place of the highest reading.",
        "parameters": {
            "detector": {
                "description": "Detector whose reading is maximized.",
                "annotation": "Detectors",
                "devices": {"Detectors": ["diode", "fluorescence", "slow_detector"]},
            },
            "axis": {
                "description": "Axis to move.",
                "annotation": "Axes",
                "devices": {"Axes": ["theta", "energy", "stage.x", "stage.y"]},
            },
            "half_range": {"description": "How far to go to each side.", "min": 0, "max": 20},
            "points": {"description": "Number of points.", "min": 3, "max": 500, "step": 1},
        },
    }
)
def align(detector, axis, half_range: float = 5.0, points: int = 11, md: dict | None = None):
    """Scan an axis around where it is, then go to the place of the highest reading."""
    start = axis.position
    best = (float("-inf"), start)

    @bpp.stage_decorator([detector])
    @bpp.run_decorator(md={"plan_name": "align", "num_points": points, **(md or {})})
    def measure():
        nonlocal best
        for n in range(points):
            target = start - half_range + 2 * half_range * n / (points - 1)
            yield from bps.mv(axis, target)
            yield from bps.trigger_and_read([detector, axis])
            best = max(best, (detector.intensity.get(), target))

    yield from measure()
    yield from bps.mv(axis, best[1])
    print(f"{axis.name} is at its best at {best[1]:.2f}")


def scan_places(detectors: Sequence[Readable], axis: Movable, places: list[float]):
    """Scan an axis over given places.

    Parameters
    ----------
    detectors : list of Readable
        Detectors to read.
    axis : Movable
        Axis to move.
    places : list of float
        Where to go.
    """
    yield from list_scan(detectors, axis, places)


def measure_sample(detectors: Sequence[Readable], name: str, num: int = 1, delay: float = 0.0):
    """Open the shutter, count, and close it whatever happens.

    Parameters
    ----------
    detectors : list of Readable
        Detectors to read.
    name : str
        Name of the sample, which goes into the metadata.
    num : int
        Number of readings.
    delay : float
        Time between two readings (s).
    """

    def closed():
        yield from bps.abs_set(shutter, "closed", wait=True)

    def measured():
        yield from bps.abs_set(shutter, "open", wait=True)
        yield from count(detectors, num=num, delay=delay, md={"sample": name})

    yield from bpp.finalize_wrapper(measured(), closed())


def break_down(num: int = 3):
    """Break the fragile detector, try to count with it, and repair it afterwards: a plan that fails.

    Parameters
    ----------
    num : int
        Number of readings that are tried.
    """

    def repaired():
        yield from bps.abs_set(fragile.broken, 0, wait=True)

    def failing():
        yield from bps.abs_set(fragile.broken, 1, wait=True)
        yield from count([fragile], num=num)

    yield from bpp.finalize_wrapper(failing(), repaired())
