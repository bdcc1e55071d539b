"""What keeps the opening of an environment short."""

from __future__ import annotations

import gc
import subprocess
import sys

from remanager.worker.process import OPENING_GC, rare_collections


def test_validation_is_not_loaded_before_the_environment_is_open() -> None:
    code = "import sys, remanager.worker.process; sys.exit('pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_collections_are_rare_for_a_while() -> None:
    usual = gc.get_threshold()
    with rare_collections():
        assert gc.get_threshold() == OPENING_GC
    assert gc.get_threshold() == usual


def test_thresholds_of_startup_code_stay() -> None:
    usual = gc.get_threshold()
    try:
        with rare_collections():
            gc.set_threshold(5, 5, 5)
        assert gc.get_threshold() == (5, 5, 5)
    finally:
        gc.set_threshold(*usual)
