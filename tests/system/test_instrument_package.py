"""An instrument package as templates make it: a module, devices in a file, a configuration for the daemon.

The package puts its devices into ``__main__``, decorates plans so that they find their devices, writes its
configuration for bluesky-queueserver, and expects to be started in the directory of its scripts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from system_harness import Daemon, plan

pytest.importorskip("bluesky")
pytest.importorskip("ophyd")

PERMISSIONS = Path(__file__).parent / "profile" / "user_group_permissions.yaml"

PACKAGE = {
    "__init__.py": "",
    "devices.yml": "ophyd.sim.SynAxis: [axis, second_axis]\nophyd.sim.SynSignal: [detector]\n",
    "registry.py": '''
        import functools
        import importlib
        import sys

        import yaml

        devices = {}


        def make_devices(path):
            for class_path, names in yaml.safe_load(path.read_text()).items():
                module, _, class_name = class_path.rpartition(".")
                for name in names:
                    devices[name] = getattr(importlib.import_module(module), class_name)(name=name)
                    setattr(sys.modules["__main__"], name, devices[name])


        def with_devices(plan):
            """Give the devices to a plan; the result is no generator function."""

            @functools.wraps(plan)
            def wrapper(*args, **kwargs):
                return plan(devices, *args, **kwargs)

            return wrapper
    ''',
    "plans.py": '''
        from __future__ import annotations

        from bluesky import plan_stubs as bps
        from bluesky import plans as bp

        from .registry import with_devices


        @with_devices
        def simulated_scan(devices, num: int = 3):
            """Scan an axis."""
            yield from bp.scan([devices["detector"]], devices["axis"], -1, 1, num)


        def measure(num: int = 3, *, title: str = "nothing"):
            """Scan an axis."""
            yield from bps.null()
            return (yield from simulated_scan(num))
    ''',
    "startup.py": """
        import logging
        from pathlib import Path

        from bluesky import RunEngine

        from .registry import make_devices

        logger = logging.getLogger(__name__)
        RE = RunEngine({"scan_id": 7})

        from bluesky_queueserver import is_re_worker_active

        if is_re_worker_active():
            from bluesky.plans import *
        else:
            from bluesky import plans as bp

        make_devices(Path(__file__).parent / "devices.yml")

        from .plans import measure, simulated_scan
    """,
}
CONFIG = """
network:
    redis_addr: localhost:6379
    redis_name_prefix: qs_default
    zmq_publish_console: true

operation:
    console_logging_level: NORMAL
    print_console_output: true
    update_existing_plans_and_devices: ENVIRONMENT_OPEN
    user_group_permissions_reload: ON_STARTUP

startup:
    keep_re: true
    startup_module: instrument_rm.startup
    existing_plans_and_devices_path: ./
    user_group_permissions_path: ./

worker:
    use_ipython_kernel: {kernel}
    ipython_matplotlib: agg
"""


@pytest.fixture(params=[False, True], ids=["python", "kernel"])
def daemon(
    request: pytest.FixtureRequest, make_daemon: Callable[..., Daemon], tmp_path: Path
) -> Iterator[Daemon]:
    kernel: bool = request.param
    if kernel:
        pytest.importorskip("ipykernel")
    package, server = tmp_path / "src" / "instrument_rm", tmp_path / "src" / "instrument_rm" / "qserver"
    server.mkdir(parents=True)
    for name, text in PACKAGE.items():
        (package / name).write_text(dedent(text).lstrip())
    (tmp_path / "ipython").mkdir()
    config = server / "qs-config.yml"
    config.write_text(CONFIG.format(kernel=str(kernel).lower()))
    shutil.copy(PERMISSIONS, server)
    made = make_daemon(
        f"--config={config}",
        f"--user-group-permissions={server}/user_group_permissions.yaml",
        f"--existing-plans-devices={server}/existing_plans_and_devices.yaml",
        env={"PYTHONPATH": str(tmp_path / "src"), "IPYTHONDIR": str(tmp_path / "ipython")},
    )
    made.start()
    yield made
    made.close()
    assert "measure" in (server / "existing_plans_and_devices.yaml").read_text()


@pytest.mark.timeout(180)  # a kernel starts slowly
def test_instrument_package_with_its_configuration(daemon: Daemon) -> None:
    with daemon.listen() as listener:
        daemon.client.ok("environment_open")
        listener.wait_text("RE Environment is ready")
        listener.wait_status(lambda s: s["manager_state"] == "idle" and s["worker_environment_exists"])
        listener.wait_text("Not listed as plans[^\n]*: simulated_scan")
        plans = daemon.client.ok("plans_allowed", user_group="primary")["plans_allowed"]
        devices = daemon.client.ok("devices_allowed", user_group="primary")["devices_allowed"]
        assert {"measure", "count", "scan", "list_scan"} <= set(plans)
        assert "simulated_scan" not in plans
        assert [p.get("annotation") for p in plans["measure"]["parameters"]] == [
            {"type": "int"},
            {"type": "str"},
        ]
        assert set(devices) == {"axis", "second_axis", "detector"}
        daemon.add(plan("measure", num=2))
        daemon.add(plan("scan", ["detector"], "axis", -1, 1, 3))
        daemon.add(plan("list_scan", ["detector"], "axis", [1, 2], "second_axis", [3, 4]))
        daemon.client.ok("queue_start")
        listener.wait_status(lambda s: s["items_in_history"] == 3 and s["manager_state"] == "idle")
    results = [item["result"] for item in daemon.history()]
    assert [r["exit_status"] for r in results] == ["completed"] * 3
    assert [len(r["run_uids"]) for r in results] == [1] * 3
    assert [r["scan_ids"] for r in results] == [[8], [9], [10]]
    daemon.close_environment()
