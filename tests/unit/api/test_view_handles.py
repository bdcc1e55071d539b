"""Handles of taskmill on a manager that notes what it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import pytest
from view_records import RECORD

from remanager_api.blocking import BlockingClient
from remanager_api.views.taskmill import TypedTask
from remanager_api.views.taskmill_handles import CutShort, DomainHandle


@dataclass(frozen=True, slots=True)
class Resize(TypedTask):
    """A task of the domain ``media``."""

    domain: ClassVar[str] = "media"
    name: ClassVar[str] = "resize"


class Manager:
    """Has some tasks; of the children that it cancels it names as many as it is told to."""

    def __init__(self, tasks: list[dict[str, Any]], children: int = 0, named: int = 0) -> None:
        self.tasks = tasks
        self.children = children
        self.named = [f"child {n}" for n in range(named)]
        self.cancelled: list[list[str]] = []

    def task_list(self, *_args: object, **_options: object) -> dict[str, Any]:
        return {"tasks": self.tasks, "next_cursor": None}

    def task_cancel(self, uids: list[str]) -> dict[str, Any]:
        self.cancelled.append(uids)
        counts = {"cascaded": self.children}
        return {"cancelled": uids, "cancelling": [], "cascaded": self.named, "counts": counts}


def domain(manager: Manager, name: str = "media") -> DomainHandle:
    """Return the handle of a domain of this manager."""
    return DomainHandle(cast("BlockingClient", manager), name)


def task(uid: str, state: str = "pending", parent: str | None = None) -> dict[str, Any]:
    """Return a record."""
    return {**RECORD, "task_uid": uid, "state": state, "parent_uid": parent}


def test_what_others_need_is_cancelled_after_them() -> None:
    newest_first = [
        *(task("grandchild", parent="child"), task("child", parent="root"), task("dependent")),
        *(task("runs", "running"), task("root", "waiting_children"), task("oldest")),
    ]
    manager = Manager(newest_first)
    domain(manager).cancel_all()
    assert manager.cancelled == [["root", "child", "grandchild", "dependent", "oldest", "runs"]]


def test_each_request_cancels_a_page() -> None:
    manager = Manager([task(f"t{n}") for n in range(2500)])
    assert len(domain(manager).cancel_where(lambda task: task.id != "t0")) == 2499
    assert [len(uids) for uids in manager.cancelled] == [1000, 1000, 499]


def test_an_answer_that_does_not_name_all_is_not_passed_on_as_whole() -> None:
    manager = Manager([task("root")], children=3, named=2)
    with pytest.raises(CutShort, match="3 cancelled tasks are known; 1 children") as found:
        domain(manager).cancel_all()
    assert (found.value.named, found.value.unnamed) == (["root", "child 0", "child 1"], 1)


def test_a_task_of_another_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="'media::resize' is not of the domain 'other'"):
        domain(Manager([]), "other").submit(Resize())
