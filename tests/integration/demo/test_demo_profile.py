"""The simulated instrument works with a RunEngine of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from remanager.demo import PROFILE_DIR

pytest.importorskip("bluesky")
pytest.importorskip("ophyd")

CODE = """
import json, pathlib, sys
namespace = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)
globals().update(namespace)
statuses, readings = [], []

def collect(name, document):
    if name == "stop":
        statuses.append(document["exit_status"])
    elif name == "event" and "diode_intensity" in document["data"]:
        readings.append(document["data"]["diode_intensity"])

RE.subscribe(collect)
RE(count([diode], num=2))
RE(grid_scan([fluorescence], stage.x, -1, 1, 2, stage.y, -1, 1, 2))
RE(align(diode, theta, half_range=6, points=7))
peak = theta.position
RE(fly([flyer]))
RE(measure_sample([slow_detector], "copper"))
errors = []
for plan in (break_down(), scan([diode], theta, -1000, 1000, 2)):
    try:
        RE(plan)
    except (RuntimeError, ValueError) as exc:
        errors.append(str(exc))
RE(count([fragile]))
set_sample("copper")
print(json.dumps({"statuses": statuses, "errors": errors, "peak": peak, "readings": len(readings),
                  "status": read_status(), "md": RE.md["sample"]}))
"""


def test_plans_run() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(PROFILE_DIR)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["statuses"] == ["success"] * 5 + ["fail"] * 2 + ["success"]
    assert result["errors"][0] == "fragile: the detector does not answer"
    assert "outside of the limits" in result["errors"][1]
    assert result["peak"] == pytest.approx(2.0)
    assert result["readings"] == 9
    assert result["status"]["sample"] == result["md"] == "copper"
    assert result["status"]["shutter"] == "closed"
