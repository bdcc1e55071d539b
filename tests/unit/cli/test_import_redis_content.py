"""Records of bluesky-queueserver as records of the store: damaged, old and contradictory ones."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.cli.import_redis_content import LOST, Content, Reading, settings
from remanager.cli.import_redis_source import Recorded, redis_url, without_password

NOW = 1_800_000_000.0


def uids() -> Iterator[str]:
    return (f"new-{n}" for n in itertools.count(1))


def read(**recorded: Any) -> Content:
    """Read records that are given as values."""
    known: dict[str, Any] = {}
    for name, value in recorded.items():
        lists = name in {"queue", "history"}
        known[name] = tuple(map(json.dumps, value)) if lists else json.dumps(value)
    return Reading(Recorded(**known), NOW, uids().__next__).content()


def plan(uid: str, **more: Any) -> dict[str, Any]:
    return {
        "item_type": "plan",
        "name": "count",
        "user": "ann",
        "user_group": "primary",
        "item_uid": uid,
    } | more


def test_items_of_the_queue_lose_old_results() -> None:
    content = read(queue=[plan("a", result={"exit_status": "failed"}, properties={"beam": 3})])
    assert [p.item for p in content.queue] == [plan("a", properties={"beam": 3})]
    assert content.remarks == []


def test_what_is_no_item_is_left_out_and_named() -> None:
    queue = [plan("a"), {"name": "no uid"}, plan("a"), "text", plan("b", item_type="function"), plan("c")]
    content = read(queue=queue)
    assert [p.uid for p in content.queue] == ["a", "c"]
    assert [r.partition(" is left out")[0] for r in content.remarks] == [
        f"Entry {n} of the queue" for n in (2, 3, 4, 5)
    ]
    broken = Reading(Recorded(queue=("{",), running_plan="["), NOW, uids().__next__).content()
    assert [r.partition(" is left out")[0] for r in broken.remarks] == [
        "Entry 1 of the queue",
        "The running plan",
    ]


def test_results_of_old_releases_are_completed() -> None:
    content = read(history=[plan("a", result={"exit_status": "completed", "time_stop": 5}), plan("b")])
    first, second = content.history
    assert (first.result["time_start"], first.result["time_stop"]) == (0.0, 5.0)
    assert (second.result["time_start"], second.result["exit_status"]) == (5.0, "unknown")
    assert second.result["run_uids"] == []


@pytest.mark.parametrize("time", [1e300, -1e12, True, "5", None])
def test_times_that_are_none_are_replaced(time: object) -> None:
    (entry,) = read(history=[plan("a", result={"time_start": 5.0, "time_stop": time})]).history
    assert entry.result["time_stop"] == 5.0


def test_unknown_keys_and_words_of_results_are_kept() -> None:
    result = {"exit_status": "vanished", "time_start": 1.5, "time_stop": 2.5, "extra": [1]}
    (entry,) = read(history=[plan("a", result=result)]).history
    assert result.items() <= entry.result.items()
    insert, finish = entry.writes()
    assert dict(finish.params)["state"] == "lost"  # type: ignore[arg-type]
    assert dict(insert.params)["body"] == json.dumps(plan("a"))  # type: ignore[arg-type]


def test_uids_are_made_unique() -> None:
    content = read(queue=[plan("a")], history=[plan("b"), plan("b"), plan("a"), {"name": "old"}])
    assert [e.item["item_uid"] for e in content.history] == ["b", "new-1", "new-2", "new-3"]
    assert len(content.remarks) == 3


@pytest.mark.parametrize("running", [{}, None])
def test_nothing_was_running(running: object) -> None:
    content = read(running_plan=running)
    assert (content.running, content.history, content.remarks) == (None, [], [])


def test_running_plan_becomes_the_last_entry() -> None:
    running = plan("r", properties={"time_start": 7.0, "immediate_execution": True, "beam": 3})
    content = read(history=[plan("a")], running_plan=running)
    entry = content.history[-1]
    assert entry.item == plan("r", properties={"beam": 3})
    assert (entry.result["exit_status"], entry.result["msg"]) == ("unknown", LOST)
    assert (entry.result["time_start"], entry.result["time_stop"]) == (7.0, NOW)


def test_running_plan_that_had_ended_is_not_repeated() -> None:
    content = read(history=[plan("r")], running_plan=plan("r"))
    assert len(content.history) == 1
    assert content.remarks == ["The running plan r had ended: it is in the history"]


def test_settings_that_make_no_sense_are_left_out() -> None:
    content = read(
        plan_queue_mode={"loop": 1}, user_group_permissions={"groups": {}}, lock_info={"queue": False}
    )
    assert settings(content) == {}
    assert len(content.remarks) == 2
    assert not read(autostart_mode_info={"enabled": False}).autostart


def test_addresses() -> None:
    assert redis_url("localhost:6379/1") == "redis://localhost:6379/1"
    assert without_password("ann:secret@host:6379/1") == "host:6379/1"
    assert without_password("rediss://:secret@host") == "rediss://host"
    assert without_password("unix:///run/redis.sock?password=secret") == "unix:///run/redis.sock"


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "item_uid",
                    "item_type",
                    "name",
                    "result",
                    "properties",
                    "time_start",
                    "time_stop",
                    "enabled",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
_TEXTS = st.lists(_JSON.map(json.dumps) | st.text(max_size=5), max_size=4).map(tuple)


@given(
    queue=_TEXTS,
    history=_TEXTS,
    others=st.lists(st.none() | _JSON.map(json.dumps) | st.text(max_size=5), min_size=5, max_size=5),
)
def test_anything_can_be_read_and_written(
    queue: tuple[str, ...], history: tuple[str, ...], others: list[str | None]
) -> None:
    content = Reading(Recorded(queue, history, *others), NOW, uids().__next__).content()
    writes = content.writes(NOW)
    assert len(writes) == 1 + 2 * len(content.history)
    assert len(writes[0].params) == len(content.queue)
    uids_ = [p.uid for p in content.queue] + [e.item["item_uid"] for e in content.history]
    assert len(set(uids_)) == len(uids_)
    json.dumps(settings(content))
