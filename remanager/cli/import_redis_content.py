"""From the records of bluesky-queueserver to those of the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from remanager.cli.import_redis_source import Recorded
from remanager.engine.item_forms import returned_item
from remanager.engine.plan_queue import PlanQueue
from remanager.engine.queue_item import PreparedItem, QueueEntry, Submission, prepare_item
from remanager.engine.queue_mode import DEFAULT_MODE, QueueMode, updated_mode
from remanager.manager.catalogue import PERMISSIONS
from remanager.manager.lock import SETTING as LOCK
from remanager.manager.lock import LockInfo
from remanager.manager.queue import MODE
from remanager.manager.rows import column, new_task, queue_row
from remanager.model.errors import InvalidItem, InvalidParams
from remanager.model.states import ExitStatus, ItemType
from remanager.plans.permissions import validate_permissions
from remanager.store.records import Write
from remanager.store.writes import queue_insert, task_finish, task_insert

LOST = "It was running when the records of bluesky-queueserver were imported. How it ended is not known."
_LATEST_TIME_S = 253_402_214_400.0  # the last day that a calendar of four digits has
_NO_RESULT: dict[str, Any] = {
    "exit_status": ExitStatus.UNKNOWN.value,
    "run_uids": [],
    "scan_ids": [],
    "msg": "",
    "traceback": "",
}


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """An entry of the plan history: the item without its ``result``, and the ``result``."""

    item: dict[str, Any]
    result: dict[str, Any]

    def writes(self) -> tuple[Write, Write]:
        """Return what puts it at the end of the stored history."""
        result = self.result
        item = {"item_type": ItemType.PLAN.value, **self.item}
        task = new_task(item, json.dumps(self.item), result["time_start"], submission=Submission())
        try:
            exit_status = ExitStatus(result["exit_status"])
        except ValueError:
            exit_status = ExitStatus.UNKNOWN
        return task_insert(task), task_finish(
            task.task_uid,
            state=exit_status.task_state,
            time_stop=result["time_stop"],
            success=exit_status.is_success,
            msg=column(result["msg"]),
            traceback=column(result["traceback"]),
            result=json.dumps(result),
            in_history=True,
        )


@dataclass(slots=True)
class Content:
    """What the store gets.

    Attributes
    ----------
    queue : list of PreparedItem
        From the front.
    history : list of HistoryEntry
        The oldest first; a plan that was running is the last.
    running : dict or None
        The plan that was running.
    mode, permissions, lock
        None where nothing is recorded, or nothing is locked.
    autostart : bool
        Whether it was on; it is not kept over a start.
    remarks : list of str
        What could not be taken over as it was.
    """

    queue: list[PreparedItem] = field(default_factory=list)
    history: list[HistoryEntry] = field(default_factory=list)
    running: dict[str, Any] | None = None
    mode: QueueMode | None = None
    permissions: dict[str, Any] | None = None
    lock: LockInfo | None = None
    autostart: bool = False
    remarks: list[str] = field(default_factory=list)

    def entries(self) -> Sequence[QueueEntry]:
        """Return the items of the queue with their ranks."""
        return PlanQueue(()).add_batch(self.queue).inserted

    def writes(self, now: float) -> list[Write]:
        """Return what puts queue and history into an empty store; ``now`` in epoch seconds."""
        history = (write for entry in self.history for write in entry.writes())
        return [queue_insert([queue_row(entry) for entry in self.entries()], now), *history]


class Reading:
    """Makes the content of the records. Call :meth:`content`.

    Parameters
    ----------
    recorded : Recorded
        What is in Redis.
    now : float
        Epoch seconds; the end of a plan that was running.
    new_uid : callable
        Makes UIDs for what has none of its own.
    """

    def __init__(self, recorded: Recorded, now: float, new_uid: Callable[[], str]) -> None:
        self._recorded = recorded
        self._now = now
        self._new_uid = new_uid
        self._taken: set[str] = set()
        self._content = Content()

    def content(self) -> Content:
        """Return the content."""
        self._read_queue()
        self._read_history()
        self._read_running()
        self._read_settings()
        return self._content

    # -------------------------------------------------------------------------------- items

    def _read_queue(self) -> None:
        for place, item in self._items("queue", self._recorded.queue):
            if _uid_of(item) is None or item["item_uid"] in self._taken:
                self._remark(f"{place} is left out: it has no UID of its own")
                continue
            if item.get("item_type") not in (ItemType.PLAN, ItemType.INSTRUCTION):
                self._remark(f"{place} is left out: it is neither a plan nor an instruction")
                continue
            try:
                prepared = prepare_item(item)
            except InvalidItem as exc:
                self._remark(f"{place} is left out: {exc}")
                continue
            self._taken.add(prepared.uid)
            self._content.queue.append(prepared)

    def _read_history(self) -> None:
        time = 0.0
        for place, item in self._items("history", self._recorded.history):
            recorded = item.pop("result", None)
            result = _NO_RESULT | (recorded if isinstance(recorded, dict) else {})
            result["time_start"] = _time(result.get("time_start"), time)
            result["time_stop"] = time = _time(result.get("time_stop"), result["time_start"])
            uid = _uid_of(item)
            if uid is None or uid in self._taken:
                item["item_uid"] = self._new_uid()
                self._remark(f"{place} has a new UID, {item['item_uid']}: {uid or 'none'} is not its own")
            self._append(item, result)

    def _read_running(self) -> None:
        for _, recorded in self._items("running plan", _present(self._recorded.running_plan)):
            uid = _uid_of(recorded)
            if uid is None:  # an empty dictionary where nothing runs
                return
            if uid in self._taken:
                self._remark(f"The running plan {uid} had ended: it is in the history")
                return
            properties = recorded.get("properties")
            started = properties.get("time_start") if isinstance(properties, dict) else None
            times = {"time_start": _time(started, self._now), "time_stop": self._now}
            self._content.running = item = returned_item(recorded, uid)
            self._append(item, {**_NO_RESULT, **times, "msg": LOST})

    def _append(self, item: dict[str, Any], result: dict[str, Any]) -> None:
        self._taken.add(item["item_uid"])
        self._content.history.append(HistoryEntry(item, result))

    # -------------------------------------------------------------------------------- settings

    def _read_settings(self) -> None:
        content, recorded = self._content, self._recorded
        for _, mode in self._items("queue mode", _present(recorded.plan_queue_mode)):
            try:
                content.mode = updated_mode(DEFAULT_MODE, mode)
            except InvalidParams as exc:
                self._remark(f"The queue mode is left out: {exc}")
        for _, permissions in self._items(
            "user group permissions", _present(recorded.user_group_permissions)
        ):
            try:
                validate_permissions(permissions)
                content.permissions = permissions
            except InvalidParams as exc:
                self._remark(f"The user group permissions are left out: {exc}")
        for _, info in self._items("lock", _present(recorded.lock_info)):
            content.lock = _lock(info, self._new_uid)
        for _, info in self._items("autostart mode", _present(recorded.autostart_mode_info)):
            content.autostart = info.get("enabled") is True

    # -------------------------------------------------------------------------------- helpers

    def _items(self, what: str, texts: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield dictionaries, and what to call each; say what is none."""
        for number, text in enumerate(texts, 1):
            place = f"Entry {number} of the {what}" if what in {"queue", "history"} else f"The {what}"
            try:
                item = json.loads(text)
            except (ValueError, RecursionError) as exc:
                self._remark(f"{place} is left out: {exc}")
                continue
            if isinstance(item, dict):
                yield place, item
            elif item is not None:
                self._remark(f"{place} is left out: it is no dictionary")

    def _remark(self, text: str) -> None:
        self._content.remarks.append(text)


def _present(text: str | None) -> tuple[str, ...]:
    return () if text is None else (text,)


def _uid_of(item: Mapping[str, Any]) -> str | None:
    """Return the UID of an item; None if it has none that can be stored."""
    uid = item.get("item_uid")
    return uid if isinstance(uid, str) and uid and column(uid) == uid else None


def _time(value: object, otherwise: float) -> float:
    """Return a time in epoch seconds; records of old releases may have none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LATEST_TIME_S:
        return otherwise
    return float(value)


def _lock(info: Mapping[str, Any], new_uid: Callable[[], str]) -> LockInfo | None:
    """Return the lock; None if nothing is locked."""
    lock = LockInfo(
        environment=info.get("environment") is True,
        queue=info.get("queue") is True,
        key=info.get("lock_key"),
        note=info.get("note"),
        user=info.get("user"),
        time=info.get("time"),
        uid=info.get("uid") or new_uid(),
    )
    return lock if lock.is_set else None


def settings(content: Content) -> dict[str, object]:
    """Return the settings of the store, by key."""
    found: dict[str, object] = {}
    if content.mode is not None:
        found[MODE] = content.mode.as_dict()
    if content.permissions is not None:
        found[PERMISSIONS] = content.permissions
    if content.lock is not None:
        found[LOCK] = asdict(content.lock)
    return found
