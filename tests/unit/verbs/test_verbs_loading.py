"""What the first requests after the start of the daemon do not wait for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from remanager.verbs.registry import WITHOUT_PARAMS, Params


@pytest.mark.parametrize("model", WITHOUT_PARAMS)
def test_a_request_without_parameters_gives_what_validation_would(model: type[Params]) -> None:
    validated = model.model_validate({})
    assert WITHOUT_PARAMS[model] == validated
    assert WITHOUT_PARAMS[model].model_fields_set == validated.model_fields_set


def test_the_environment_is_opened_without_validation() -> None:
    code = """
import sys
from types import SimpleNamespace
from remanager.verbs.dispatch import Dispatcher
started = SimpleNamespace(is_set=lambda: True)
lock = SimpleNamespace(check=lambda key, scope: None)
ledger = SimpleNamespace(no_room="")
manager = SimpleNamespace(started=started, lock=lock, ledger=ledger)
answer = Dispatcher(manager)({"method": "environment_open"}, None)
answer.close()
sys.exit("pydantic.plugin._loader" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
