"""``remanager import-redis``, with records that bluesky-queueserver 0.0.25 made while a plan was running."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis_stand_in import RedisStandIn
from system_harness import Daemon, free_port

from remanager.cli.main import run
from remanager.store.store import Store

RECORDS = Path(__file__).with_name("queueserver_0_0_25.json")
RUNNING = "91046217-c30e-47cd-aaab-3b2bf35904bf"
Import = Callable[..., int]


@pytest.fixture
def redis() -> Iterator[RedisStandIn]:
    with RedisStandIn(json.loads(RECORDS.read_text(encoding="utf-8"))) as server:
        yield server
    assert server.refused == [], "more than reading was asked of Redis"


@pytest.fixture
def unused_address() -> str:
    return f"tcp://127.0.0.1:{free_port()}"


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def import_redis(redis: RedisStandIn, unused_address: str, state_dir: Path) -> Import:
    def call(*options: str) -> int:
        places = ["--redis-addr", redis.address, "--state-dir", str(state_dir), "-a", unused_address]
        return run(["import-redis", *places, "--redis-name-prefix", "bl1", *options])

    return call


def texts(redis: RedisStandIn, key: str) -> list[Any]:
    return [json.loads(text) for text in redis.records[f"bl1_{key}"]]


def test_everything_arrives(redis: RedisStandIn, import_redis: Import, state_dir: Path) -> None:
    assert import_redis() == 0
    with closing(Store.open(state_dir)) as store:
        rows, history = store.reads.queue(), store.reads.history_page()
        settings, running = store.reads.settings(), store.reads.task_row(RUNNING)
        events = store.reads.events(0, 10)
    assert [json.loads(row.body) for row in rows] == texts(redis, "plan_queue")
    assert [row.queue_rank for row in rows] == sorted(row.queue_rank for row in rows)
    old = [{**json.loads(body), "result": json.loads(result or "")} for _, body, result in history]
    assert old[:-1] == texts(redis, "plan_history")
    assert running is not None
    assert (running.state, running.user, running.success) == ("lost", "ann", False)
    assert "properties" not in old[-1]
    assert old[-1]["result"]["exit_status"] == "unknown"
    assert old[-1]["result"]["time_start"] == running.time_start == 1795337425.4190726
    assert settings["plan_queue_mode"] == {"loop": False, "ignore_failures": True}
    assert settings["user_group_permissions"] == json.loads(str(redis.records["bl1_user_group_permissions"]))
    lock: Any = settings["lock"]
    assert (lock["environment"], lock["queue"], lock["key"], lock["note"]) == (True, False, "k1", "tuning")
    assert [event.type for event in events] == ["redis_imported"]


def test_states_and_errors_are_kept(import_redis: Import, state_dir: Path) -> None:
    assert import_redis() == 0
    with closing(Store.open(state_dir)) as store:
        uids = [json.loads(body)["item_uid"] for _, body, _ in store.reads.history_page()]
        tasks = [store.reads.task_row(uid) for uid in uids]
    states = ["completed", "completed", "stopped", "aborted", "halted", "failed", "completed", "lost"]
    assert [task.state for task in tasks if task] == states
    failed = tasks[5]
    assert failed is not None
    assert (failed.msg, failed.success) == ("Plan failed: no beam", False)
    assert "ValueError: no beam" in str(failed.traceback)


def test_places_come_from_the_configuration(
    redis: RedisStandIn, unused_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "qs.yml"
    network = {"redis_addr": redis.address, "redis_name_prefix": "bl1", "zmq_control_addr": unused_address}
    sections = {"network": network, "remanager": {"state_dir": str(tmp_path / "configured")}}
    config.write_text(json.dumps(sections))
    assert run(["import-redis", "--config", str(config), "--redis-name-prefix", "other"]) == 5
    assert "Prefixes that are there: 'bl1'" in capsys.readouterr().err
    assert run(["import-redis", "--config", str(config)]) == 0
    assert (tmp_path / "configured" / "remanager.sqlite").exists()
    config.write_text("nonsense: {}")
    assert run(["import-redis", "--config", str(config)]) == 1


def test_dry_run_makes_nothing(
    import_redis: Import, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_redis("--dry-run") == 0
    text = capsys.readouterr().out
    assert "4 items, first bad()" in text
    assert "8 entries" in text
    assert "count(['det1'], num=300, delay=1): the last entry of the history, as 'unknown'" in text
    assert "k1" not in text
    assert not state_dir.exists()


def test_json(import_redis: Import, redis: RedisStandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_redis("--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["queue"], result["history"], result["imported"]) == (4, 8, True)
    assert (result["redis"], result["prefix"]) == (redis.address, "bl1")
    assert (result["running_item_uid"], result["queue_autostart_enabled"]) == (RUNNING, True)
    assert (result["obstacles"], result["remarks"]) == ([], [])
    assert import_redis("--json", "--dry-run") == 5
    result = json.loads(capsys.readouterr().out)
    assert result["imported"] is False
    assert len(result["obstacles"]) == 1


def test_second_time_is_refused(
    import_redis: Import, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_redis() == 0
    before = (state_dir / "remanager.sqlite").read_bytes()
    for options in ((), ("--dry-run",)):
        assert import_redis(*options) == 5
        assert "has had an import already" in capsys.readouterr().err
    assert (state_dir / "remanager.sqlite").read_bytes() == before


def test_store_with_tasks_is_refused(
    redis: RedisStandIn, import_redis: Import, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_redis() == 0
    from remanager.store.writes import setting_set

    with closing(Store.open(state_dir)) as store:
        store.submit([setting_set("redis_import", None)]).result()
    assert import_redis() == 5
    assert "has a queue or a history of its own" in capsys.readouterr().err


def test_state_directory_in_use_is_refused(
    import_redis: Import, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Store.open(state_dir)) as store:
        for options in ((), ("--dry-run",)):
            assert import_redis(*options) == 5
            assert "is in use by another manager" in capsys.readouterr().err
        assert not store.reads.has_tasks()


def test_state_directory_of_another_user_is_refused(
    import_redis: Import,
    state_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state_dir.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for options in ((), ("--dry-run",)):
        assert import_redis(*options) == 5
        assert "run this as that user (sudo -u" in capsys.readouterr().err
    assert list(state_dir.iterdir()) == []


def test_listening_manager_is_refused(
    redis: RedisStandIn, state_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["import-redis", "--redis-addr", redis.address, "--redis-name-prefix", "bl1"]
    path = tmp_path / "manager.ipc"
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        unix.bind(str(path))
        for server, address in ((tcp, f"tcp://*:{tcp.getsockname()[1]}"), (unix, f"ipc://{path}")):
            server.listen()
            assert run([*base, "--state-dir", str(state_dir), "--zmq-control-addr", address]) == 5
            assert f"A manager listens at {address}" in capsys.readouterr().err
    assert not state_dir.exists()
    assert run([*base, "--state-dir", str(state_dir), "-a", "localhost:60615"]) == 5
    assert "is no address of a manager" in capsys.readouterr().err


def test_other_clients_of_redis_are_refused(
    redis: RedisStandIn, import_redis: Import, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    redis.others = ["id=77 addr=10.0.0.7:4711 name= age=86400 flags=N db=0 cmd=get"]
    assert import_redis() == 5
    assert "a client at 10.0.0.7:4711, connected for 86400 s" in capsys.readouterr().err
    assert not state_dir.exists()
    redis.others = [redis.others[0].replace("db=0", "db=3")]
    assert import_redis("--dry-run") == 0
    redis.may_list_clients = False
    assert import_redis() == 5
    assert "does not say who else is connected" in capsys.readouterr().err
    assert import_redis("--ignore-clients") == 0


def test_wrong_prefix_names_the_right_one(
    redis: RedisStandIn, import_redis: Import, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_redis("--redis-name-prefix", "qs_default") == 5
    assert "Prefixes that are there: 'bl1'" in capsys.readouterr().err
    redis.records = {"plan_queue": "not a list"}
    assert import_redis("--redis-name-prefix", "") == 5
    assert "not that of bluesky-queueserver" in capsys.readouterr().err


def test_redis_that_does_not_answer(
    state_dir: Path, unused_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    address = unused_address.removeprefix("tcp://")
    base = ["import-redis", "--state-dir", str(state_dir), "--redis-addr"]
    assert run([*base, f"redis://:secret@{address}"]) == 5
    text = capsys.readouterr().err
    assert f"Redis does not answer at {address}" in text
    assert "secret" not in text
    for wrong in ("http://localhost", "redis://:secret@[::1"):
        assert run([*base, wrong]) == 5
        text = capsys.readouterr().err
        assert "is no address of Redis" in text
        assert "secret" not in text


def test_database_that_redis_does_not_have(
    import_redis: Import, redis: RedisStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_redis("--redis-addr", f"{redis.address}/99") == 5
    assert f"Redis at {redis.address}/99 refuses: DB index is out of range" in capsys.readouterr().err


def test_user_of_redis_without_permissions(
    import_redis: Import, redis: RedisStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    redis.may_read = False
    assert import_redis() == 5
    text = capsys.readouterr().err
    assert f"Redis at {redis.address} refuses: " in text
    assert "this user has no permissions" in text


def test_missing_package_is_named(
    import_redis: Import, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    assert import_redis() == 5
    assert "pip install 'remanager[import-redis]'" in capsys.readouterr().err


def test_daemon_goes_on_from_there(
    redis: RedisStandIn, import_redis: Import, make_daemon: Callable[..., Daemon]
) -> None:
    daemon = make_daemon("--user-group-permissions-reload", "NEVER")
    assert import_redis("--state-dir", str(daemon.state_dir)) == 0
    daemon.start()
    status = daemon.client.call("status")
    assert (status["items_in_queue"], status["items_in_history"]) == (4, 8)
    assert status["plan_queue_mode"] == {"loop": False, "ignore_failures": True}
    assert (status["queue_autostart_enabled"], status["running_item_uid"]) == (False, None)
    assert daemon.client.ok("queue_get")["items"] == texts(redis, "plan_queue")
    assert daemon.history()[:-1] == texts(redis, "plan_history")
    assert daemon.history()[-1]["item_uid"] == RUNNING
    permissions = daemon.client.ok("permissions_get")["user_group_permissions"]
    assert "visitors" in permissions["user_groups"]
    assert daemon.client.ok("lock_info")["lock_info"]["note"] == "tuning"
    assert "locked" in daemon.client.refused("environment_open")["msg"].lower()
    daemon.client.ok("unlock", lock_key="k1")
    front = daemon.client.ok("queue_item_remove", pos="front")["item"]
    assert front["name"] == "bad"
    assert daemon.client.ok("task_info", task_uid=RUNNING)["task"]["state"] == "lost"
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.client.ok("queue_get")["items"] == texts(redis, "plan_queue")[1:]
    assert len(daemon.history()) == 8
