"""Start-up code of a large instrument: 200 plans and 500 devices, the same for every daemon."""

import sys

import bluesky.plan_stubs as bps
from bluesky import RunEngine
from bluesky.protocols import Movable, Readable
from ophyd.sim import SynAxis

sys.modules["ophyd_async"] = None  # as in profile/

PLANS, DEVICES = 200, 500

RE = RunEngine({})

for _number in range(DEVICES):
    globals()[f"motor_{_number}"] = SynAxis(name=f"motor_{_number}", labels={"motors"})


def _make_plan(number):
    def plan(
        detectors: list[Readable],
        motor: Movable,
        start: float,
        stop: float,
        num: int = 10,
        *,
        sample: str = "none",
        md: dict | None = None,
    ):
        """Scan a motor and read detectors.

        Parameters
        ----------
        detectors : list of Readable
            What is read at each point.
        motor : Movable
            What is moved.
        start, stop : float
            First and last position.
        num : int
            Number of points.
        sample : str
            Name of the sample.
        md : dict, optional
            Metadata.
        """
        yield from bps.null()

    plan.__name__ = plan.__qualname__ = f"plan_{number}"
    return plan


for _number in range(PLANS):
    globals()[f"plan_{_number}"] = _make_plan(_number)
