"""Start-up code as laboratories write it, and what becomes of it when it fails."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from system_harness import Daemon, Gate, function, plan

pytest.importorskip("bluesky")

HERE = Path(__file__).parent
PERMISSIONS = HERE / "profile" / "user_group_permissions.yaml"

ENGINE = "from bluesky import RunEngine\nRE = RunEngine({'made': 'here'})\n"
PLANS = """
from bluesky.plan_stubs import null

def nothing():
    yield from null()

def answer(value=None):
    return value

def where():
    return {"name": __name__, "keys": sorted(k for k in globals() if not k.startswith("_"))}
"""
QUESTIONS = """
from bluesky_queueserver import is_ipython_mode, is_re_worker_active
import bluesky_queueserver

at_load = is_re_worker_active()

def questions():
    return [at_load, is_re_worker_active(), is_ipython_mode(), hasattr(bluesky_queueserver, "__path__")]

def installed():
    return getattr(bluesky_queueserver, "__version__", None)
"""
HIDE = """
import importlib.machinery

_find_spec = importlib.machinery.PathFinder.find_spec


def _without_queueserver(name, path=None, target=None):
    return None if name.partition(".")[0] == "bluesky_queueserver" else _find_spec(name, path, target)


importlib.machinery.PathFinder.find_spec = staticmethod(_without_queueserver)
"""


class Lab:
    """A daemon whose start-up directory changes."""

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self.daemon = daemon
        self.client = daemon.client
        self.directory = directory

    def write(self, **files: str) -> None:
        """Replace the start-up code; names are given without suffix, ``n00_x`` stands for ``00-x``."""
        for path in self.directory.glob("*.py"):
            path.unlink()
        shutil.rmtree(self.directory / "__pycache__", ignore_errors=True)
        for name, text in files.items():
            stem = name.removeprefix("n").replace("_", "-", 1) if name[:2].startswith("n") else name
            (self.directory / f"{stem}.py").write_text(text)

    def call(self, name: str, *args: Any) -> Any:
        """Return what a function returns."""
        result = self.daemon.wait_task(self.daemon.execute(function(name, *args)))
        assert result["success"], result["traceback"]
        return result["return_value"]

    def run(self, name: str = "nothing") -> str:
        """Run a plan; return its exit status."""
        self.daemon.add(plan(name))
        before = self.daemon.history_size()
        self.client.ok("queue_start")
        self.daemon.wait(lambda s: s["items_in_history"] > before and s["manager_state"] == "idle")
        status: str = self.daemon.history()[-1]["result"]["exit_status"]
        return status

    def fail_to_open(self, *expected: str) -> str:
        """Try to open; texts must come on the console. Return the reason that the status gives."""
        with self.daemon.listen() as listener:
            self.client.ok("environment_open")
            listener.wait_status(lambda s: s["manager_state"] == "creating_environment")
            status = listener.wait_status(lambda s: s["manager_state"] == "idle")
            assert status["worker_environment_exists"] is False
            assert status["worker_environment_state"] == "closed"
            assert status["ready"] is False
            for text in ("could not be opened", *expected):
                listener.wait_text(re.escape(text))
            return str(status["not_ready_reason"])


@pytest.fixture(scope="module")
def shared(make_daemon: Callable[..., Daemon], tmp_path_factory: pytest.TempPathFactory) -> Lab:
    directory = tmp_path_factory.mktemp("lab")
    shutil.copy(PERMISSIONS, directory)
    daemon = make_daemon("--startup-dir", str(directory))
    daemon.start()
    return Lab(daemon, directory)


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    yield shared
    status = shared.client.call("status")
    if status["worker_environment_exists"] or status["manager_state"] != "idle":
        shared.client.ok("environment_destroy")
        shared.daemon.wait(lambda s: s["manager_state"] == "idle" and not s["worker_environment_exists"])
    shared.client.ok("queue_clear")


@pytest.fixture
def lists(tmp_path: Path) -> tuple[str, ...]:
    """Options for the files beside a script or a module."""
    directory = tmp_path / "config"
    directory.mkdir()
    shutil.copy(PERMISSIONS, directory)
    return ("--existing-plans-devices", str(directory), "--user-group-permissions", str(directory))


# ------------------------------------------------------------------------------------ layouts


def test_directory_is_loaded_in_order(lab: Lab) -> None:
    lab.write(
        n00_first=f"order = ['first']\n{PLANS}",
        n10_engine=f"order.append('engine')\n{ENGINE}",
        n99_last="order.append('last')\nfrom helper import helped\ndef get_order(): return order + [helped]",
        helper="helped = 'imported'",
    )
    lab.daemon.open_environment()
    assert lab.call("get_order")[:3] == ["first", "engine", "last"]
    assert lab.call("where")["name"] == "__main__"
    assert lab.run() == "completed"
    assert "nothing" in lab.client.ok("plans_allowed", user_group="primary")["plans_allowed"]


def make_ipython_dir(parent: Path, profile: str) -> Path:
    startup = parent / f"profile_{profile}" / "startup"
    startup.mkdir(parents=True)
    shutil.copy(PERMISSIONS, startup)
    (startup / "00-base.py").write_text(ENGINE + PLANS)
    (startup / "README").write_text("not code")
    return parent


@pytest.mark.parametrize("given", ["option", "variable", "default profile"])
def test_ipython_profile(make_daemon: Callable[..., Daemon], tmp_path: Path, given: str) -> None:
    if given == "option":
        directory = make_ipython_dir(tmp_path, "beamline")
        daemon = make_daemon("--startup-profile", "beamline", "--ipython-dir", str(directory))
    elif given == "variable":
        directory = make_ipython_dir(tmp_path, "beamline")
        daemon = make_daemon("--startup-profile", "beamline", env={"IPYTHONDIR": str(directory)})
    else:
        directory = make_ipython_dir(tmp_path, "default")
        daemon = make_daemon("--ipython-dir", str(directory))
    daemon.start()
    daemon.open_environment()
    assert Lab(daemon, directory).run() == "completed"
    daemon.close()


def test_single_script(make_daemon: Callable[..., Daemon], tmp_path: Path, lists: tuple[str, ...]) -> None:
    (tmp_path / "beside.py").write_text("neighbour = 5")
    script = tmp_path / "startup.py"
    script.write_text(f"from beside import neighbour\n{ENGINE}{PLANS}\ndef near(): return neighbour")
    daemon = make_daemon("--startup-script", str(script), *lists)
    daemon.start()
    daemon.open_environment()
    lab = Lab(daemon, tmp_path)
    assert lab.call("near") == 5
    assert lab.run() == "completed"
    upload = daemon.client.ok("script_upload", script="import beside\nbeside.neighbour")
    assert daemon.wait_task(upload["task_uid"])["success"]
    daemon.close()


def test_module(make_daemon: Callable[..., Daemon], tmp_path: Path, lists: tuple[str, ...]) -> None:
    package = tmp_path / "path" / "my_lab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "devices.py").write_text("number = 3")
    (package / "startup.py").write_text(
        f"from .devices import number\n{ENGINE}{PLANS}\ndef n(): return number"
    )
    daemon = make_daemon(
        "--startup-module", "my_lab.startup", *lists, env={"PYTHONPATH": _python_path(package.parent)}
    )
    daemon.start()
    daemon.open_environment()
    lab = Lab(daemon, tmp_path)
    assert lab.call("n") == 3
    assert lab.run() == "completed"
    daemon.close()


def test_missing_module(make_daemon: Callable[..., Daemon], tmp_path: Path, lists: tuple[str, ...]) -> None:
    daemon = make_daemon("--startup-module", "no_such_lab.startup", *lists)
    daemon.start()
    assert "no_such_lab" in Lab(daemon, tmp_path).fail_to_open("Traceback")
    daemon.close()


# ------------------------------------------------------------------------------------ the RunEngine


@pytest.mark.parametrize(
    "files",
    [
        {"startup": ENGINE + PLANS},
        {"n00_engine": "from lab_engine import RE\n" + PLANS, "lab_engine": ENGINE + "__all__ = ['RE']"},
        {"n00_engine": "from lab_engine import *\n" + PLANS, "lab_engine": ENGINE},
        {"n00_engine": PLANS + ENGINE.replace("RE =", "engine =") + "get_ipython().user_ns['RE'] = engine"},
        {
            "n00_engine": PLANS
            + "from IPython import get_ipython\n"
            + ENGINE.replace("RE =", "engine =")
            + "get_ipython().user_ns['RE'] = engine"
        },
    ],
    ids=["made here", "imported", "starred", "user_ns", "user_ns imported"],
)
def test_places_of_the_run_engine(lab: Lab, files: dict[str, str]) -> None:
    lab.write(**files)
    lab.daemon.open_environment()
    assert lab.client.call("status")["re_state"] == "idle"
    assert lab.run() == "completed"
    assert lab.client.ok("re_metadata")["re_metadata"]["made"] == "here"


def test_no_run_engine(lab: Lab) -> None:
    lab.write(n00_base=PLANS)
    lab.daemon.open_environment()
    status = lab.client.call("status")
    assert status["re_state"] is None
    assert status["ready"] is False
    assert "RE" in status["not_ready_reason"]
    lab.daemon.add(plan("nothing"))
    text = "Run Engine is not found in the RE Worker environment"
    for method in ("queue_start", "re_pause"):
        assert text in lab.client.refused(method)["msg"]
    assert (
        text
        in lab.client.refused(
            "queue_item_execute", item=plan("nothing"), user="tester", user_group="primary"
        )["msg"]
    )
    assert lab.call("answer", 5) == 5
    # A script that makes one must be allowed to.
    for update_re in (False, True):
        uid = lab.client.ok("script_upload", script=ENGINE, update_re=update_re)["task_uid"]
        assert lab.daemon.wait_task(uid)["success"]
        lab.daemon.wait(lambda s, known=update_re: (s["re_state"] == "idle") is known)
    lab.daemon.wait_idle()
    lab.client.ok("queue_start")
    lab.daemon.wait(lambda s: s["items_in_queue"] == 0 and s["manager_state"] == "idle")


def test_autostart_waits_for_the_run_engine(lab: Lab) -> None:
    lab.write(n00_base=PLANS)
    lab.daemon.open_environment()
    before = lab.daemon.history_size()
    lab.client.ok("queue_autostart", enable=True)
    lab.daemon.add(plan("nothing"))
    assert lab.client.call("status")["manager_state"] == "idle"
    lab.client.ok("script_upload", script=ENGINE, update_re=True)
    lab.daemon.wait(lambda s: s["items_in_history"] == before + 1)
    lab.client.ok("queue_autostart", enable=False)


# ------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise RuntimeError('the detector is off')", "the detector is off"),
        ("import no_such_library", "no_such_library"),
        ("def f(:\n  pass", "invalid syntax"),
        ("import sys\nsys.exit('the profile gave up')", "the profile gave up"),
        ("raise KeyboardInterrupt('stopped by hand')", "stopped by hand"),
    ],
    ids=["raises", "import", "syntax", "exit", "interrupt"],
)
def test_profile_that_fails(lab: Lab, code: str, expected: str) -> None:
    manager = lab.daemon.manager().pid
    lab.write(n00_base=ENGINE + PLANS, n50_broken=code)
    assert expected in lab.fail_to_open(expected, "Traceback (most recent call last)", "50-broken.py")
    assert lab.daemon.manager().pid == manager
    lab.write(n00_base=ENGINE + PLANS)
    lab.daemon.open_environment()
    assert lab.client.call("status")["not_ready_reason"] == ""
    assert lab.run() == "completed"


def test_profile_that_ends_its_process(lab: Lab) -> None:
    lab.write(n00_base="import os\nos._exit(5)")
    assert "exit code 5" in lab.fail_to_open()


def test_profile_that_is_empty(lab: Lab) -> None:
    lab.write()
    assert "contains no startup files" in lab.fail_to_open()


def test_profile_that_hangs(lab: Lab, gate: Gate) -> None:
    lab.write(n00_base=f"print('it hangs')\nopen({str(gate.pipe)!r}).read()")
    with lab.daemon.listen() as listener:
        lab.client.ok("environment_open")
        listener.wait_text("it hangs")
        assert lab.client.call("status")["manager_state"] == "creating_environment"
        worker = lab.daemon.worker()
        assert "in the process of creating" in lab.client.refused("environment_open")["msg"]
        lab.client.refused("environment_close")
        lab.client.ok("environment_destroy")
        listener.wait_status(lambda s: s["manager_state"] == "idle")
    assert psutil.wait_procs([worker], 10)[1] == []
    lab.write(n00_base=ENGINE + PLANS)
    lab.daemon.open_environment()
    assert lab.run() == "completed"


def test_worker_that_hangs_in_a_plan(lab: Lab, gate: Gate) -> None:
    """The plan blocks the RunEngine's loop: status and destroy work all the same."""
    code = (
        f"def blocked():\n    yield from null()\n    print('it hangs')\n    open({str(gate.pipe)!r}).read()\n"
    )
    lab.write(n00_base=ENGINE + PLANS + code)
    lab.daemon.open_environment()
    lab.daemon.add(plan("blocked"))
    with lab.daemon.listen() as listener:
        lab.client.ok("queue_start")
        listener.wait_text("it hangs")
        lab.client.ok("re_pause", option="immediate")
        assert lab.client.call("status")["manager_state"] == "executing_queue"
        lab.client.ok("environment_destroy")
        listener.wait_status(lambda s: s["manager_state"] == "idle")
    assert lab.daemon.history()[-1]["result"]["exit_status"] == "failed"


def test_profile_that_writes_a_lot(lab: Lab) -> None:
    lab.write(n00_base=ENGINE + PLANS + "for n in range(3000):\n    print('line', n)\nprint('the end')")
    with lab.daemon.listen() as listener:
        lab.client.ok("environment_open")
        listener.wait_text("the end")
        listener.wait_status(lambda s: s["worker_environment_exists"])
    assert lab.run() == "completed"


def test_output_of_subprocesses_and_of_libraries_is_captured(lab: Lab) -> None:
    lab.write(
        n00_base=ENGINE
        + PLANS
        + "import os, subprocess\nsubprocess.run(['echo', 'from a child'])\n"
        + "os.write(2, b'from a library\\n')\n"
    )
    with lab.daemon.listen() as listener:
        lab.client.ok("environment_open")
        listener.wait_status(lambda s: s["worker_environment_exists"])
        for text in ("RE Environment is ready", "from a child\n", "from a library\n"):
            listener.wait_text(text)


# ------------------------------------------------------------------------------------ questions


def test_questions_with_the_package_installed(lab: Lab) -> None:
    pytest.importorskip("bluesky_queueserver")
    lab.write(n00_base=ENGINE + QUESTIONS)
    lab.daemon.open_environment()
    assert lab.call("questions")[:3] == [True, True, False]
    assert lab.call("installed") is not None


def test_questions_with_the_package_hidden(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    hide, startup = tmp_path / "hide", tmp_path / "startup"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text(HIDE)
    startup.mkdir()
    shutil.copy(PERMISSIONS, startup)
    decorated = (
        "from bluesky_queueserver.manager.annotation_decorator import parameter_annotation_decorator\n"
        "from bluesky_queueserver.manager.profile_tools import set_user_ns\n"
        "@parameter_annotation_decorator({'description': 'It does nothing.'})\n"
        "def idle(n: int = 1):\n    yield from null()\n"
        "@set_user_ns\ndef engine_name(user_ns): return type(user_ns['RE']).__name__\n"
    )
    (startup / "00-base.py").write_text(ENGINE + PLANS + QUESTIONS + decorated)
    daemon = make_daemon("--startup-dir", str(startup), env={"PYTHONPATH": _python_path(hide)})
    daemon.start()
    daemon.open_environment()
    lab = Lab(daemon, startup)
    assert lab.call("questions")[:3] == [True, True, False]
    assert lab.call("installed") is None
    assert lab.call("engine_name") == "RunEngine"
    assert lab.run("idle") == "completed"
    described = daemon.client.ok("plans_allowed", user_group="primary")["plans_allowed"]["idle"]
    assert described["description"] == "It does nothing."
    daemon.close()


def _python_path(directory: Path) -> str:
    rest = os.environ.get("PYTHONPATH")
    return f"{directory}:{rest}" if rest else str(directory)
