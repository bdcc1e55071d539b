"""Tests of new UIDs."""

from __future__ import annotations

import uuid
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from remanager.manager.state import new_uid


@given(noise=st.binary(min_size=16, max_size=16))
def test_new_uid_is_a_random_uuid(noise: bytes) -> None:
    with patch("os.urandom", return_value=noise):
        text = new_uid()
    assert text == str(uuid.UUID(bytes=noise, version=4))


def test_new_uids_differ() -> None:
    assert len({new_uid() for _ in range(1000)}) == 1000
