"""What workers do without: it would cost time at each start, and threads."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["remanager.worker.process", "remanager.worker.pool.process"])
@pytest.mark.parametrize("unwanted", ["zmq", "sqlite3"])
def test_not_imported(module: str, unwanted: str) -> None:
    code = f"import sys, {module}; sys.exit({unwanted!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
