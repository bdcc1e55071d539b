"""Tests of new UIDs."""

from __future__ import annotations

import subprocess
import sys
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


FORKING = """
import os
from remanager.manager.state import new_uid
new_uid()
child = os.fork()
told = "\\n".join(new_uid() for _ in range(300))
if child:
    assert os.waitpid(child, 0)[1] == 0  # one after the other: what both write at once may be mixed
print(told, flush=True)
"""


def test_new_uids_of_a_fork_differ() -> None:
    told = subprocess.run([sys.executable, "-c", FORKING], check=True, capture_output=True, text=True)
    assert len(set(told.stdout.split())) == 600
