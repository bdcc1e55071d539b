"""What users of the simulated instrument may do."""

from __future__ import annotations

import pytest

from remanager import data_movement
from remanager.demo import PROFILE_DIR
from remanager.plans.permissions import function_allowed, load_permissions

PERMISSIONS = load_permissions(PROFILE_DIR / "user_group_permissions.yaml")


@pytest.mark.parametrize("name", data_movement.__all__)
def test_data_may_be_moved_also_by_children(name: str) -> None:
    assert function_allowed(name, "primary", PERMISSIONS)
    assert not function_allowed(name, "observer", PERMISSIONS)
