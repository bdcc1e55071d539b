"""What the demonstration runs, and how each piece is expected to end."""

from __future__ import annotations

from dataclasses import dataclass

from remanager_api import BFunc, BPlan

SCRIPT = '''\
def count_both(num: int = 3):
    """Count with two detectors at once."""
    yield from count([diode, fluorescence], num=num)
'''
SCRIPT_NOTE = "a script that adds a plan"

FUNCTION = BFunc("set_sample", "copper foil")
FUNCTION_NOTE = "a function in the environment"


@dataclass(frozen=True, slots=True)
class Step:
    """A plan of the demonstration.

    Attributes
    ----------
    item : BPlan
        What is submitted.
    note : str
        What it shows.
    expected : str
        Exit status with which it must end.
    """

    item: BPlan
    note: str
    expected: str = "completed"


STEPS: tuple[Step, ...] = (
    Step(BPlan("count", ["diode"], num=5, delay=0.1), "read a detector five times"),
    Step(BPlan("scan", ["diode"], "theta", -5, 5, 21), "scan an axis"),
    Step(BPlan("rel_scan", ["fluorescence"], "stage.x", -3, 3, 13), "scan around the present place"),
    Step(BPlan("grid_scan", ["fluorescence"], "stage.x", -2, 3, 5, "stage.y", -3, 1, 4), "scan an area"),
    Step(BPlan("scan_places", ["diode"], "theta", [-4, -1, 0, 1, 2, 3, 6]), "scan given places"),
    Step(BPlan("align", "diode", "theta", half_range=6, points=13), "find the peak and go there"),
    Step(BPlan("break_down"), "a detector that breaks: fails on purpose", expected="failed"),
    Step(BPlan("fly", ["flyer"]), "a detector that takes data on its own"),
    Step(BPlan("measure_sample", ["slow_detector"], "copper foil", num=3), "a slow detector"),
    Step(BPlan("scan", ["diode", "fluorescence"], "energy", 7, 9, 9), "scan the energy"),
    Step(BPlan("count_both", num=4), "the plan that the script added"),
)
