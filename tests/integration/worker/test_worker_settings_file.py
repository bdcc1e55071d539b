from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from remanager.manager.worker_files import is_held, settings_path, write_settings

WORKER = """
import sys
from remanager.worker.settings_file import hold_settings
print(hold_settings(sys.argv[1]), flush=True)
sys.stdin.read()
"""


def test_the_file_of_a_living_worker_is_held_and_no_copy_is(tmp_path: Path) -> None:
    path = write_settings(tmp_path, "uid", "settings")
    assert not is_held(path)
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"settings\n"
        copy = Path(shutil.copy2(path, tmp_path / "copy"))
        moved = path.rename(tmp_path / "moved")
        assert is_held(moved)
        assert not is_held(copy)
        copy.rename(path)
        assert not is_held(path)
        worker.communicate()
    assert not is_held(moved)
    assert not is_held(settings_path(tmp_path, "none"))
