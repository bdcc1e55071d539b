"""A copy whose process is killed goes on where it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from remanager import data_movement as dm
from remanager.data_movement.manifest import JOURNAL, Manifest
from remanager.data_movement.places import ROOTS
from remanager.tasks import Context

FILES = 300
KILLED_AFTER = 100

COPY = """
import sys
from remanager import data_movement as dm
from remanager.tasks import Context

class Telling(Context):
    def progress(self, **report):
        if report.get("done_count", 0) == int(sys.argv[3]):
            print("now", flush=True)
            sys.stdin.read()

dm.copy_run(sys.argv[1], sys.argv[2], ctx=Telling())
"""


def test_a_killed_copy_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOTS, str(tmp_path))
    run, copy = tmp_path / "run", tmp_path / "copy"
    run.mkdir()
    for number in range(FILES):
        (run / f"f{number:04}").write_text(f"data of {number}")
    command = [sys.executable, "-c", COPY, str(run), str(copy), str(KILLED_AFTER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.kill()
    assert (copy / JOURNAL).exists()
    result = dm.copy_run(str(run), str(copy), ctx=Context())
    assert (result["files"], result["files_there"]) == (FILES - KILLED_AFTER, KILLED_AFTER)
    assert len(Manifest.read(copy).files) == FILES
    assert dm.inspect_run(str(copy), ctx=Context())["healthy"]
    assert not (copy / JOURNAL).exists()
