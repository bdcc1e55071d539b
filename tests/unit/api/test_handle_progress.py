"""What a handle tells of the progress."""

from __future__ import annotations

from typing import Any

from remanager_api.handles import TaskHandle
from remanager_api.progress import Progress


class Desk:
    """Tells one thing after the other."""

    def __init__(self, *told: Progress) -> None:
        self._told = list(told)

    async def progress(self, _uid: str) -> Progress:
        return self._told.pop(0)


class Handle(TaskHandle):
    async def wait(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as that of the handle
        """Look again at once."""


async def test_what_is_not_told_for_a_moment_is_kept() -> None:
    desk = Desk(
        Progress("pending"),
        Progress("running", fraction=0.5),
        Progress("running"),
        Progress("completed", fraction=1.0),
    )
    seen = [p.fraction async for p in Handle(desk, "u").progress()]  # type: ignore[arg-type]
    assert seen == [None, 0.5, 1.0]


async def test_what_failed_is_not_as_far_as_it_was() -> None:
    desk = Desk(Progress("running", fraction=0.5), Progress("failed"))
    seen = [(p.state, p.fraction) async for p in Handle(desk, "u").progress()]  # type: ignore[arg-type]
    assert seen == [("running", 0.5), ("failed", None)]
