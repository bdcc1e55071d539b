"""A move that is killed at any of its steps loses nothing, and goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from remanager import data_movement as dm
from remanager.data_movement.places import ROOTS
from remanager.tasks import Context

MOVE = """
import os
import signal
import sys

from remanager import data_movement as dm
from remanager.tasks import Context

STEPS = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate", "os.chmod", "open"}
run, copy, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
begun = False

def watch(event, args):
    global last
    if begun and event in STEPS and str(args[0]).startswith((run, copy)):
        if last == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        last -= 1

sys.addaudithook(watch)
begun = True
dm.move_run(run, copy, ctx=Context())
"""

FILES = {"a": b"a" * 3000, "sub/b": b"b", "sub/c": b""}
EVERY = 3


def make_run(run: Path) -> None:
    """Make a run with files, a link and an empty directory."""
    for name, data in FILES.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(data)
    (run / "empty").mkdir()
    (run / "link").symlink_to("sub/b")


def is_there(place: Path, name: str) -> bool:
    """Tell whether a file is whole in a place."""
    return (place / name).is_file() and (place / name).read_bytes() == FILES[name]


@pytest.mark.parametrize("offset", range(EVERY))
def test_a_killed_move_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    monkeypatch.setenv(ROOTS, str(tmp_path))
    step, killed = offset, True
    seen = set()
    while killed:
        run, copy = tmp_path / f"run{step}", tmp_path / f"copy{step}"
        make_run(run)
        command = [sys.executable, "-c", MOVE, str(run), str(copy), str(step)]
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        killed = ended.returncode == -9
        assert killed or ended.returncode == 0, ended.stderr
        for name in FILES:
            assert is_there(run, name) or is_there(copy, name), (step, name)
        seen.add((is_there(run, "a"), is_there(copy, "a")))
        if killed and run.exists():
            assert dm.move_run(str(run), str(copy), ctx=Context())["deleted"]
        assert not run.exists()
        assert all(is_there(copy, name) for name in FILES)
        assert (list((copy / "empty").iterdir()), os.readlink(copy / "link")) == ([], "sub/b")
        told = dm.inspect_run(str(copy), ctx=Context())
        assert (told["healthy"], told["files"], told["unknown"]) == (True, len(FILES), 0)
        step += EVERY
    assert seen == {(True, False), (True, True), (False, True)}
