"""Plans with devices of ophyd-async: they are told by their children, and named by components."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from worker_harness import Worker

from remanager.model.link import EnvironmentReady
from remanager.model.states import ExitStatus

pytest.importorskip("ophyd_async.sim")

STARTUP = """
    from __future__ import annotations

    import asyncio
    from typing import Annotated, Optional

    from bluesky import RunEngine
    from bluesky.plan_stubs import mv, prepare
    from bluesky.plans import count, scan
    from bluesky.protocols import HasName, Locatable, Movable
    from ophyd_async.core import DeviceVector, StandardReadable, StrictEnum, init_devices, soft_signal_rw
    from ophyd_async.sim import PatternGenerator, SimMotor, SimPointDetector, SimStage

    RE = RunEngine({})


    class Gain(StrictEnum):
        LOW = "low"
        HIGH = "high"


    class Amplifier(StandardReadable):
        def __init__(self, name=""):
            with self.add_children_as_readables():
                self.gain = soft_signal_rw(Gain, Gain.LOW)
                self.channels = DeviceVector({1: soft_signal_rw(float), 2: soft_signal_rw(float)})
            super().__init__(name=name)


    pattern = PatternGenerator()
    with init_devices():
        stage = SimStage(pattern)
        detector = SimPointDetector(pattern, 2)
        amplifier = Amplifier()


    def typed(
        axis: Movable[float],
        *,
        other: Optional[SimMotor] = None,
        third: Locatable[float],
        fourth: HasName,
        gain: Gain,
        position: Annotated[float, "mm"] = 0.1,
    ):
        for device in (axis, other, third, fourth):
            assert isinstance(device, SimMotor), device
        yield from mv(axis, position, amplifier.gain, gain)


    def gain_now():
        future = asyncio.run_coroutine_threadsafe(amplifier.gain.get_value(), RE.loop)
        return str(future.result(5))
"""


@pytest.fixture(scope="module")
def worker(launch: Callable[..., Worker]) -> Worker:
    return launch(STARTUP)


def tree(devices: dict[str, Any]) -> dict[str, Any]:
    return {name: tree(entry.get("components", {})) for name, entry in devices.items()}


def test_lists(worker: Worker) -> None:
    ready = worker.manager.expect(EnvironmentReady)
    devices = json.loads(ready.devices)
    assert set(devices) == {"amplifier", "detector", "stage"}
    assert {"gain", "channels"} == set(tree(devices)["amplifier"])
    axis = devices["stage"]["components"]["x"]
    assert (axis["is_readable"], axis["is_movable"], axis["classname"]) == (True, True, "SimMotor")
    types = {
        p["name"]: p.get("annotation", {}).get("type") for p in json.loads(ready.plans)["typed"]["parameters"]
    }
    assert types == {
        "axis": "__MOVABLE__",
        "other": None,
        "third": "__DEVICE__",
        "fourth": "__DEVICE__",
        "gain": None,
        "position": "typing.Annotated[float, 'mm']",
    }


def test_plans(worker: Worker) -> None:
    worker.manager.expect_state(environment_state="idle")
    for name, args, kwargs in (
        ("count", (["detector", "stage", "amplifier"], 2), {}),
        ("scan", (["detector"], "stage.x", -0.1, 0.1, 3), {}),
        ("mv", ("stage.y", 0.1, "amplifier.gain", "low"), {}),
        (
            "typed",
            ("stage.x",),
            {"other": "stage.y", "third": "stage.x", "fourth": "stage.y", "gain": "high"},
        ),
    ):
        finished = worker.run_plan(name, *args, **kwargs)
        assert finished.exit_status == ExitStatus.COMPLETED, finished.traceback
    assert b"high" in worker.call("gain_now").payload
