"""Motors, detectors and other devices of the simulated instrument."""

import time
from threading import Timer

import numpy as np
from ophyd import Component as Cpt
from ophyd import Device, Kind, Signal
from ophyd.sim import SynAxis
from ophyd.status import DeviceStatus


class SlowAxis(SynAxis):
    """A motor that takes its time: it moves with a velocity, in steps, and can be stopped on the way."""

    STEP_S = 0.05

    def __init__(self, *, name, velocity=10.0, limits=(-50.0, 50.0), egu="mm", **kwargs):
        super().__init__(name=name, **kwargs)
        self.velocity_value = velocity
        self.limits = limits
        self.egu = egu
        self._moving = None

    def check_value(self, value):
        low, high = self.limits
        if not low <= value <= high:
            raise ValueError(f"{self.name}: {value} {self.egu} is outside of the limits {low} to {high}")

    def set(self, value):
        self.check_value(value)
        self.stop()
        status = DeviceStatus(self)
        self._moving = status
        self._step(status, float(value))
        return status

    def _step(self, status, target):
        if status.done:
            return
        distance = target - self.position
        step = self.velocity_value * self.STEP_S
        if abs(distance) <= step:
            SynAxis.set(self, target)
            status.set_finished()
            return
        SynAxis.set(self, self.position + step * np.sign(distance))
        timer = Timer(self.STEP_S, self._step, (status, target))
        timer.daemon = True
        timer.start()

    def stop(self, *, success=False):
        status, self._moving = self._moving, None
        if status is not None and not status.done:
            status.set_exception(RuntimeError(f"{self.name} was stopped"))


class PointDetector(Device):
    """A detector whose reading is a Gaussian peak over the positions of motors, with some noise."""

    intensity = Cpt(Signal, value=0.0, kind=Kind.hinted)
    exposure_time = Cpt(Signal, value=0.02, kind=Kind.config)

    def __init__(self, *, name, peaks, height=1000.0, noise=0.02, **kwargs):
        super().__init__("", name=name, **kwargs)
        self._peaks = peaks
        self._height = height
        self._noise = noise
        self._random = np.random.default_rng(seed=len(name))

    def _measure(self):
        value = self._height
        for axis, (center, sigma) in self._peaks.items():
            value *= np.exp(-0.5 * ((axis.position - center) / sigma) ** 2)
        return float(value + self._random.normal(0, self._noise * self._height))

    def trigger(self):
        status = DeviceStatus(self)

        def done():
            self.intensity.put(self._measure())
            status.set_finished()

        timer = Timer(self.exposure_time.get(), done)
        timer.daemon = True
        timer.start()
        return status


class FailingDetector(PointDetector):
    """A detector that breaks when its signal ``broken`` is set, as real ones do unasked."""

    broken = Cpt(Signal, value=0, kind=Kind.config)

    def trigger(self):
        if self.broken.get():
            raise RuntimeError(f"{self.name}: the detector does not answer")
        return super().trigger()


class Stage(Device):
    """A sample stage with two motors."""

    x = Cpt(SlowAxis, name="x", velocity=20.0)
    y = Cpt(SlowAxis, name="y", velocity=20.0)


class FlyingDetector(Device):
    """A detector that takes data on its own while an axis sweeps; the data are collected at the end."""

    def __init__(self, *, name, points=20, sweep_s=0.6, **kwargs):
        super().__init__("", name=name, **kwargs)
        self._points = points
        self._sweep_s = sweep_s
        self._started = None

    def kickoff(self):
        self._started = time.time()
        status = DeviceStatus(self)
        status.set_finished()
        return status

    def complete(self):
        status = DeviceStatus(self)
        timer = Timer(self._sweep_s, status.set_finished)
        timer.daemon = True
        timer.start()
        return status

    def describe_collect(self):
        source = f"SIM:{self.name}"
        return {
            self.name: {
                f"{self.name}_position": {"source": source, "dtype": "number", "shape": []},
                f"{self.name}_counts": {"source": source, "dtype": "number", "shape": []},
            }
        }

    def collect(self):
        for n in range(self._points):
            stamp = self._started + self._sweep_s * n / self._points
            position = n / (self._points - 1)
            data = {
                f"{self.name}_position": position,
                f"{self.name}_counts": float(np.exp(-20 * (position - 0.5) ** 2)),
            }
            yield {"time": stamp, "data": data, "timestamps": dict.fromkeys(data, stamp)}


theta = SlowAxis(name="theta", velocity=40.0, limits=(-180.0, 180.0), egu="deg", labels={"motors"})
energy = SlowAxis(name="energy", velocity=10.0, limits=(4.0, 25.0), egu="keV", labels={"motors"}, value=8.0)
stage = Stage(name="stage", labels={"motors"})

diode = PointDetector(name="diode", peaks={theta: (2.0, 3.0)}, labels={"detectors"})
fluorescence = PointDetector(
    name="fluorescence", peaks={stage.x: (1.0, 2.0), stage.y: (-1.0, 2.0)}, labels={"detectors"}
)
slow_detector = PointDetector(name="slow_detector", peaks={theta: (0.0, 10.0)}, labels={"detectors"})
slow_detector.exposure_time.put(0.5)
fragile = FailingDetector(name="fragile", peaks={theta: (0.0, 5.0)}, labels={"detectors"})
flyer = FlyingDetector(name="flyer")

shutter = Signal(name="shutter", value="closed")
sample_name = Signal(name="sample_name", value="none")
