"""Tests of new UIDs."""

from __future__ import annotations

import os
import uuid

from hypothesis import given
from hypothesis import strategies as st

from remanager.manager.state import new_uid, random_uids


@given(noises=st.lists(st.binary(min_size=16, max_size=16), max_size=5))
def test_uids_are_random_uuids(noises: list[bytes]) -> None:
    expected = [str(uuid.UUID(bytes=noise, version=4)) for noise in noises]
    assert random_uids(b"".join(noises)) == expected


def test_new_uids_differ() -> None:
    uids = [new_uid() for _ in range(1000)]
    assert len(set(uids)) == 1000
    assert all(str(uuid.UUID(uid)) == uid for uid in uids)


def test_new_uids_of_a_fork_differ() -> None:
    new_uid()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, "\n".join(new_uid() for _ in range(300)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        theirs = told.read().splitlines()
    os.waitpid(child, 0)
    assert len(theirs) == 300
    assert len({*theirs, *(new_uid() for _ in range(300))}) == 600
