"""Waking a polling thread."""

from __future__ import annotations

import select

from remanager.worker.wakeup import WakeUp


def readable(wake: WakeUp) -> bool:
    return bool(select.select([wake.fd], [], [], 0)[0])


def test_set_and_clear() -> None:
    wake = WakeUp()
    assert not readable(wake)
    for _ in range(2):
        wake.set()
        wake.set()
        assert readable(wake)
        wake.clear()
        assert not readable(wake)
    wake.clear()
    wake.close()
    wake.set()
    wake.close()
