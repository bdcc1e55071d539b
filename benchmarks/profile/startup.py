"""Start-up code of the instrument that the benchmarks run, the same for every daemon."""

import sys

import bluesky.plan_stubs as bps
from bluesky import RunEngine
from bluesky.plans import (  # noqa: F401 - the names are what the profile offers
    adaptive_scan,
    count,
    fly,
    grid_scan,
    list_grid_scan,
    list_scan,
    log_scan,
    rel_grid_scan,
    rel_scan,
    scan,
    scan_nd,
    spiral,
    spiral_fermat,
    tune_centroid,
    x2x_scan,
)
from ophyd.sim import hw

# A RunEngine imports ophyd-async, where it is installed, to note its version. That takes a quarter of a
# second, which must not count for the one daemon in whose virtual environment it happens to be.
sys.modules["ophyd_async"] = None

globals().update(vars(hw()))
RE = RunEngine({})


def bench_null():
    """Do nothing, without a run."""
    yield from bps.null()


def bench_noop():
    """Function that does nothing."""
    return 1
