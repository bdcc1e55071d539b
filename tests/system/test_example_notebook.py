"""The example notebook runs from its first to its last cell against a real daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from system_harness import Daemon

pytest.importorskip("nbclient")

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebooks" / "tour.ipynb"
TIMEOUT_S = 240.0
# As jupyter-execute does it, in a process of its own: what nbclient leaves behind is gone with it.
EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
try:
    NotebookClient(notebook, kernel_name="tour", timeout=120).execute()
finally:
    nbformat.write(notebook, sys.argv[2])
"""
# The clients of the notebooks have the default, which a machine that stands still for a while exceeds.
START_UP = """
from remanager_api.zmq.aio import REManagerAPI
REManagerAPI.__init__.__kwdefaults__["timeout_recv"] = 10.0
"""


def cells(notebook: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def html_of(cell: dict[str, Any]) -> list[str]:
    found = [
        output["data"]["text/html"]
        for output in cell["outputs"]
        if "data" in output and "text/html" in output["data"]
    ]
    return ["".join(text) for text in found]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tasks may move files."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def tour_daemon(make_daemon: Callable[..., Daemon], data: Path) -> Daemon:
    daemon = make_daemon("--task-modules", "remanager.data_movement", env={"REMANAGER_DATA_ROOTS": str(data)})
    daemon.start()
    return daemon


@pytest.fixture
def execute(tmp_path: Path, tour_daemon: Daemon, data: Path) -> Callable[[Path], dict[str, list[str]]]:
    """Execute a notebook; return what each cell with code shows as HTML, by its text."""

    def run(notebook: Path) -> dict[str, list[str]]:
        executed = tmp_path / "executed.ipynb"
        done = subprocess.run(
            [sys.executable, "-c", EXECUTE, str(notebook), str(executed)],
            env=environ(tmp_path, tour_daemon, data),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return {source(cell): html_of(cell) for cell in cells(json.loads(executed.read_text()), "code")}

    return run


def picture(shown: dict[str, list[str]], words: str) -> str:
    """Return what the cell with these words shows: one picture, also where it was replaced."""
    (found,) = [texts for text, texts in shown.items() if words in text]
    assert len(found) == 1, f"one picture that is replaced, not {len(found)}: {words}"
    return found[0]


def environ(directory: Path, daemon: Daemon, data: Path) -> dict[str, str]:
    """Return variables with which the notebook finds the daemon, nbclient a kernel of this interpreter."""
    kernel = directory / "jupyter" / "kernels" / "tour"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": "tour", "language": "python"})
    )
    startup = directory / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-patience.py").write_text(START_UP)
    return {
        **os.environ,
        "HOME": str(directory),
        "IPYTHONDIR": str(directory / "ipython"),
        "JUPYTER_PATH": str(directory / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(directory / "runtime"),
        "QSERVER_ZMQ_CONTROL_ADDRESS": daemon.control,
        "QSERVER_ZMQ_INFO_ADDRESS": daemon.info,
        "REMANAGER_TOUR_DATA": str(data),
    }


def test_the_notebook_is_kept_without_outputs() -> None:
    # Outputs have UIDs and times in them: each run would change the file, and old ones would say what is no
    # longer so. What the cells show is tested below.
    notebook = json.loads(NOTEBOOK.read_text())
    for cell in cells(notebook, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_the_notebook_explains_its_cells() -> None:
    words = sum(len(source(cell).split()) for cell in cells(json.loads(NOTEBOOK.read_text()), "markdown"))
    assert words > 300


@pytest.mark.timeout(TIMEOUT_S + 60)
def test_all_cells_pass(execute: Callable[[Path], dict[str, list[str]]], data: Path) -> None:
    shown = execute(NOTEBOOK)
    assert ">idle<" in picture(shown, "await RM.watch()")
    assert picture(shown, "history = await").count(">completed<") == 3
    assert "move_run" in picture(shown, "await RM.watch(task)")
    assert "stage.x" in picture(shown, "plans.align")
    assert "<svg" in picture(shown, "RM.stats()")
    assert ">failed<" in picture(shown, "await broken.outcome()")
    assert picture(shown, "depends_on=[plan]").count(">completed<") == 2
    (archived,) = (data / "archive").glob("run-*/frame4.raw")
    assert archived.stat().st_size == 200_000


BLOCKING = (
    "from remanager_api.zmq import REManagerAPI\nRM = REManagerAPI()\nRM.wait_for_idle(timeout=60)",
    "if not RM.status(reload=True)['worker_environment_exists']:\n"
    "    RM.environment_open()\n    RM.watch(timeout=60)",
    "plans, devices = RM.plans(), RM.devices()",
    "plan = RM.submit(plans.count([devices.diode], num=3, delay=0.5))",
    "RM.queue_start()\nRM.watch(plan, timeout=60)",
    "plan",
    "RM.close()",
)


@pytest.mark.timeout(TIMEOUT_S + 60)
def test_the_blocking_client_in_a_notebook(
    execute: Callable[[Path], dict[str, list[str]]], tmp_path: Path
) -> None:
    code = [
        {
            "cell_type": "code",
            "id": f"c{n}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": text,
        }
        for n, text in enumerate(BLOCKING)
    ]
    notebook = tmp_path / "blocking.ipynb"
    notebook.write_text(json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    shown = execute(notebook)
    assert "completed</span></td>" in picture(shown, "RM.watch(plan, timeout=60)")
    assert "count" in shown["plan"][0]
