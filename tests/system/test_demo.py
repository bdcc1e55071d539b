"""The demonstration runs from beginning to end."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("bluesky")


@pytest.mark.timeout(180)
def test_demo() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "remanager", "demo", "--plain"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything went as expected" in done.stdout
