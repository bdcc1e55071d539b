"""The mark of the last task that a worker began."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from remanager.worker.pool.assignments import Assignments
from remanager.worker.pool.mark import open_mark


def _marked(path: Path) -> int:
    return int.from_bytes(path.read_bytes(), "little")


def test_mark_is_there_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "begun"
    code = (
        "import os, signal; from remanager.worker.pool.mark import open_mark\n"
        f"mark = open_mark({str(path)!r}); mark(7); mark(2**40); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=30, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    assert _marked(path) == 2**40


def test_no_path_writes_nothing() -> None:
    open_mark("")(3)


def test_a_task_is_marked_before_it_begins(tmp_path: Path) -> None:
    path = tmp_path / "begun"
    assignments = Assignments(1.0, lambda: None, open_mark(str(path)))
    assignments.accept([["a", 1, 1, "{}", None, None, False, 5], ["b", 1, 1, "{}", None, None, False, 6]])
    assert _marked(path) == 0
    first = assignments.next()
    assert first is not None
    assert (first.task_uid, _marked(path)) == ("a", 5)
