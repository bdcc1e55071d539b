from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from remanager.store import Store


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(state_dir: Path) -> Iterator[Store]:
    store = Store.open(state_dir)
    yield store
    store.close()
