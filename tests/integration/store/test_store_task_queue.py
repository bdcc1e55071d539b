"""What the writes of the task queue do, and what its reads return."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from store_samples import do, end, new, update

from remanager.model.selector import Selector
from remanager.model.states import TaskState, is_terminal
from remanager.store import NewTask, QueueEntryRow, StaleWrite, Store, WriteRejected, writes
from remanager.store import task_writes as make
from remanager.store.migrate import load_migrations, migrate
from remanager.store.selection import TALLY
from remanager.store.store import DATABASE_NAME
from remanager.store.task_rows import TaskInsert, log_line


def tally(connection: sqlite3.Connection) -> dict[tuple[Any, ...], int]:
    rows = connection.execute(
        "SELECT state, item_type, name, domain, task_group, user, priority, SUM(n) FROM task_tally"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING SUM(n) <> 0"
    )
    return {row[:-1]: row[-1] for row in rows}


def counted(connection: sqlite3.Connection) -> dict[tuple[Any, ...], int]:
    rows = connection.execute(
        "SELECT state, item_type, name, domain, task_group, user, priority, COUNT(*) FROM task"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7"
    )
    return {row[:-1]: row[-1] for row in rows}


def test_a_task_from_submission_to_end(store: Store) -> None:
    row = new(
        "a",
        7,
        domain="ingest",
        task_group="g1",
        label="First",
        key="k",
        priority=3,
        tags=(("run", "1"), ("user", "ann")),
        depends_on=("p", "q"),
        job_uid="j",
        options='{"timeout_s": 5}',
        run_after=9.0,
    )
    do(store, *make.tasks_insert([row]))
    tasks = store.reads.tasks
    ((found, tags),) = tasks.active()
    assert found == tasks.record("a") == tasks.record_of_key("copy", "k")
    assert tags == {"run": "1", "user": "ann"} == tasks.tags([found.id])[found.id]
    for name in ("task_number", "domain", "task_group", "label", "priority", "options", "run_after", "body"):
        assert getattr(found, name) == row[name], name
    assert (found.state, json.loads(found.depends or "")) == (TaskState.PENDING, ["p", "q"])
    assert tasks.dependents("q") == [("a", TaskState.PENDING)]
    assert tasks.bodies(["a", "b"]) == {"a": row["body"]}
    assert tasks.last_number() == 7

    do(store, make.tasks_update([update("a", error_type="OSError", msg="no")]))
    do(store, make.checkpoint_put("a", 1, b"half"), make.checkpoint_put("a", 0, b"late"))
    do(store, make.tasks_parted({"a": 9}))
    do(store, make.progress_put([{"task_uid": "a", "lease_epoch": 1, "progress": "{}", "actual_io": None}]))
    started = tasks.record("a")
    assert started is not None
    assert (started.state, started.stage, started.lease_epoch) == (TaskState.RUNNING, "executing", 1)
    assert (started.error_type, started.progress, started.run_after) == ("OSError", "{}", None)
    before = json.loads(found.properties or "{}")
    assert json.loads(started.properties or "") == {**before, "children_from": 9}
    assert tasks.checkpoints(["a"]) == {"a": b"half"}

    do(store, make.tasks_end([end("a", return_codec="json", return_value=b"1", result_expires=50.0)]))
    ended = tasks.record("a")
    assert ended is not None
    assert (ended.state, ended.stage, ended.has_result) == (TaskState.COMPLETED, None, 1)
    assert (ended.time_stop, ended.success, ended.error_type) == (3.0, 1, None)
    (result,) = tasks.results(["a", "b"]).values()
    assert (result.task_uid, result.state, result.success) == ("a", TaskState.COMPLETED, 1)
    assert (result.return_codec, result.return_value, result.result_expires) == ("json", b"1", 50.0)
    assert (result.time_start, result.time_stop) == (ended.time_start, 3.0)
    assert tasks.checkpoints(["a"]) == {}
    assert [line["to"] for line in tasks.log("a")] == ["pending", "running", "completed"]
    assert list(tasks.active()) == []


def test_what_a_new_task_leaves_out_is_as_the_table_has_it(store: Store) -> None:
    optional = TaskInsert.__optional_keys__
    some: list[dict[str, Any]] = [
        {},
        {"label": "one"},
        {"tags": (("a", "1"),), "options": '{"timeout_s": 5}'},
        {"depends_on": ("p", "q"), "parent_uid": "p"},
        {"stage": "preparing", "state": "running", "worker_uid": "w", "lease_epoch": 2},
        {"paused_since": 2.0, "pause_reasons": '["group"]', "state": "paused", "state_reason": "held"},
    ]
    # Portions of each size, alike and mixed.
    given = [some[0]] * 60 + [some[n % 6] for n in range(60)] + some * 2
    full = [new(f"full{n}", n + 1, **changes) for n, changes in enumerate(given)]
    short = [
        {k: v for k, v in new(f"short{n}", n + 1, **changes).items() if k not in optional or k in changes}
        for n, changes in enumerate(given)
    ]
    do(store, *make.tasks_insert(full))
    do(store, *make.tasks_insert(cast(list[TaskInsert], short)))
    tasks = store.reads.tasks
    last = 0
    for n, changes in enumerate(given):
        one, other = tasks.record(f"full{n}"), tasks.record(f"short{n}")
        assert one is not None
        assert other is not None
        assert one.id > last  # inserted in their order
        last = one.id
        assert tasks.tags([one.id]).get(one.id) == tasks.tags([other.id]).get(other.id)
        assert one._replace(id=0, task_uid="", body="") == other._replace(id=0, task_uid="", body="")
        for name, value in changes.items():
            if name not in ("tags", "depends_on"):
                assert getattr(other, name) == value, name
    assert len(tasks.dependents("q", 100)) == 2 * sum("depends_on" in changes for changes in given)


@pytest.mark.parametrize("number", [1, 4, 5, 6, 25, 57])
def test_many_tasks_change_in_one_write(store: Store, number: int) -> None:
    uids = [f"t{n}" for n in range(number)]
    do(store, *make.tasks_insert([new(uid, n + 1) for n, uid in enumerate(uids)]))
    do(store, make.tasks_update([update(uid, attempt=n + 1) for n, uid in enumerate(uids)]))
    late = [end(uid, lease_epoch=0 if uid == uids[-1] else 1) for uid in uids]
    with pytest.raises(StaleWrite):
        do(store, make.tasks_end(late))
    records = [store.reads.tasks.record(uid) for uid in uids]
    assert [(r.state, r.attempt) for r in records if r] == [(TaskState.RUNNING, n + 1) for n in range(number)]
    do(store, make.tasks_end([end(uid, msg=uid, return_value=uid.encode()) for uid in uids]))
    records = [store.reads.tasks.record(uid) for uid in uids]
    assert [(r.state, r.msg) for r in records if r] == [(TaskState.COMPLETED, uid) for uid in uids]
    results = store.reads.tasks.results(uids)
    assert [results[uid].return_value for uid in uids] == [uid.encode() for uid in uids]


def test_a_task_ends_once_and_only_by_its_last_hand_over(store: Store) -> None:
    do(store, *make.tasks_insert([new("a"), new("b", 2)]), make.tasks_update([update("a", lease_epoch=3)]))
    with pytest.raises(StaleWrite):
        do(store, make.tasks_end([end("b"), end("a", lease_epoch=2)]))
    assert store.reads.task_states(["a", "b"]) == {"a": TaskState.RUNNING, "b": TaskState.PENDING}
    do(store, make.tasks_end([end("a", "failed", lease_epoch=3)]))
    for late in (make.tasks_end([end("a", lease_epoch=3)]), make.tasks_update([update("a", lease_epoch=4)])):
        with pytest.raises(StaleWrite):
            do(store, late)
    assert store.reads.task_states(["a"]) == {"a": TaskState.FAILED}
    with pytest.raises(ValueError, match="not a terminal state"):
        make.tasks_end([end("b", "running")])


def test_the_plan_queue_does_not_see_the_task_queue(store: Store) -> None:
    do(store, *make.tasks_insert([new("a", state="running", worker_uid="w1", lease_epoch=1)]))
    assert store.reads.running() == []
    assert store.reads.queue() == []
    row = store.reads.task_row("a")
    assert row is not None
    assert row.state is TaskState.RUNNING


def test_families_jobs_and_types(store: Store) -> None:
    rows = [new(f"c{n}", n, parent_uid="p", job_uid="j", time_created=float(n)) for n in range(1, 5)]
    do(store, *make.tasks_insert([new("p", 9), *rows]))
    do(store, make.tasks_end([end("c1", progress='{"done_size": 5, "total_size": 6}')]))
    do(store, make.tasks_end([end("c2", "failed", error_type="OSError", msg="no", time_stop=4.0)]))
    do(store, make.tasks_end([end("c3", "failed", error_type="OSError", msg="no", time_stop=5.0)]))
    tasks = store.reads.tasks
    assert [uid for uid, _ in tasks.children("p")] == ["c1", "c2", "c3", "c4"]
    assert tasks.children("p", 1) == [("c1", TaskState.COMPLETED)]
    members, errors = store.reads.pages.job(Selector(job_uid=("j",)), now=0.0)
    figures = {f.state.value: f for f in members}
    assert {state: f.number for state, f in figures.items()} == {"completed": 1, "failed": 2, "pending": 1}
    assert (figures["completed"].done_size, figures["failed"].time_last_stop) == (5, 5.0)
    assert errors == [("OSError", "no", 2)]
    assert [s.time_stop for s in tasks.type_sample("copy", 2)] == [5.0, 4.0]
    assert store.reads.pages.job(Selector(job_uid=("unknown",)), now=0.0) == ([], [])


def test_tags_can_be_replaced_and_go_with_their_task(store: Store) -> None:
    do(store, *make.tasks_insert([new("a", tags=(("x", "1"),), depends_on=("z",))]))
    do(store, *make.tags_set("a", [("y", "2")]), make.tasks_end([end("a")]))
    record = store.reads.tasks.record("a")
    assert record is not None
    assert store.reads.tasks.tags([record.id]) == {record.id: {"y": "2"}}
    with closing(sqlite3.connect(":memory:")) as connection:
        store.reads.connection.backup(connection)
        connection.execute("DELETE FROM task")
        for table in ("tag", "dependency"):
            assert connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,)


def test_edits_by_a_person(store: Store) -> None:
    do(store, *make.tasks_insert([new("a")]))
    edit = {"task_uid": "a", "task_group": "g", "label": "L", "options": "{}", "time_updated": 5.0}
    do(store, make.tasks_edit([edit]))  # type: ignore[list-item]
    record = store.reads.tasks.record("a")
    assert record is not None
    assert (record.task_group, record.label, record.options) == ("g", "L", "{}")
    assert tally(store.reads.connection) == counted(store.reads.connection)


def test_schedules_and_samples(store: Store) -> None:
    do(store, make.schedule_put("s2", 2.0, {"a": 1}), make.schedule_put("s1", 1.0, {}))
    do(store, make.schedule_put("s2", 9.0, {"a": 2}), make.schedule_delete("s1"))
    assert store.reads.tasks.schedules() == [("s2", 2.0, '{"a": 2}')]
    samples = [{"metric": "m", "task_type": "", "minute": n, "value": float(n)} for n in range(5)]
    do(store, make.samples_put(samples), make.samples_put([samples[1] | {"value": 9.0}]))  # type: ignore
    assert store.reads.tasks.samples("m", "", 1, 3, 10) == [(1, 9.0), (2, 2.0), (3, 3.0)]


def test_the_log_is_bounded(store: Store) -> None:
    do(store, *make.tasks_insert([new("a")]))
    for n in range(400):
        line = log_line(float(n), "running", "pending", n, "again " * 100, "w", ("OSError", "é" * 600))
        do(store, make.tasks_update([update("a", "pending", log=line)]))
    log = store.reads.tasks.log("a")
    assert 8 < len(log) < 40
    assert [line["attempt"] for line in log] == list(range(400 - len(log), 400))
    assert len(log[-1]["reason"]) == len(log[-1]["error"]["msg"]) == 500


def test_text_from_outside_is_only_data(store: Store) -> None:
    tasks = store.reads.tasks
    for odd in ("", "\ud800", "a\0b", "'; DROP TABLE task; --"):
        assert tasks.record(odd) is tasks.record_of_key(odd, odd) is None
        assert tasks.children(odd) == tasks.dependents(odd) == tasks.log(odd) == []
        assert store.reads.pages.job(Selector(job_uid=(odd,)), now=0.0) == ([], [])
        assert tasks.bodies([odd]) == tasks.checkpoints([odd]) == tasks.results([odd]) == {}


# ------------------------------------------------------------------------------------------ migration


def test_migration_keeps_what_version_1_stored(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    first = load_migrations()[:1]
    rows: list[dict[str, Any]] = [
        {"task_uid": "q1", "state": "pending", "queue_rank": 20, "attempt": 2, "properties": '{"p": 1}'},
        {"task_uid": "q2", "state": "pending", "queue_rank": 10, "origin_uid": "o"},
        {"task_uid": "h", "state": "completed", "history_seq": 4, "time_stop": 5.0, "result": '{"a": 1}'},
        {"task_uid": "f", "state": "failed", "item_type": "function", "background": 1, "time_stop": 6.0}
        | {"success": 0, "return_codec": "json", "result_expires": 99.0, "return_value": b"\x00\xff"}
        | {"msg": "bad", "traceback": "tb"},
        {"task_uid": "r", "state": "running", "item_type": "script", "worker_uid": "w", "time_start": 6.0},
    ]
    with closing(sqlite3.connect(directory / DATABASE_NAME, isolation_level=None)) as old:
        assert migrate(old, first) == 1
        columns = [row[1] for row in old.execute("PRAGMA table_info(task)")]
        for row in [*rows, rows[0]]:  # the first one twice: its rowid leaves a gap
            old.execute("DELETE FROM task WHERE task_uid = ?", (row["task_uid"],))
            made = {"item_type": "plan", "name": "count", "user": "u", "user_group": "g", "attempt": 1} | row
            made = {
                "background": 0,
                "time_created": 1.5,
                "body": f'{{"item_uid": "{row["task_uid"]}"}}',
            } | made
            marks = ", ".join(f":{name}" for name in made)
            old.execute(f"INSERT INTO task ({', '.join(made)}) VALUES ({marks})", made)
        old.execute("UPDATE counter SET value = 4 WHERE name = 'history_seq'")
        old.execute("INSERT INTO event (seq, time, type, data) VALUES (41, 1.0, 'x', '{}')")
        old.execute("INSERT INTO setting VALUES ('a', '1')")
        before = old.execute(f"SELECT rowid, {', '.join(columns)} FROM task ORDER BY rowid").fetchall()
    store = Store.open(directory)
    try:
        connection = store.reads.connection
        assert (
            connection.execute(f"SELECT id, {', '.join(columns)} FROM task ORDER BY id").fetchall() == before
        )
        assert tally(connection) == counted(connection) != {}
        assert [row.task_uid for row in store.reads.queue()] == ["q2", "q1"]
        assert [row.task_uid for row in store.reads.running()] == ["r"]
        assert [seq for seq, _, _ in store.reads.history_page()] == [4]
        assert store.reads.settings() == {"a": 1}
        assert list(store.reads.tasks.active()) == []
        assert do(store, writes.task_start("q2", time=9.0, worker_uid="w")) == 41
        done = writes.task_finish("q2", state=TaskState.COMPLETED, time_stop=10.0, in_history=True)
        do(store, done, *make.tasks_insert([new("t")]))
        assert [seq for seq, _, _ in store.reads.history_page()] == [4, 5]
        assert tally(connection) == counted(connection)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        store.close()


# ------------------------------------------------------------------------------------------ tally


def test_changes_of_the_tally_are_added_up(store: Store) -> None:
    rows = [new(f"u{n}", n + 1, name=f"f{n % 3}") for n in range(1234)]
    do(store, *make.tasks_insert(rows))
    do(store, make.tasks_update([update(f"u{n}") for n in range(700)]))
    connection = store.reads.connection
    assert tally(connection) == counted(connection)
    assert connection.execute("SELECT COUNT(*) FROM tally_change").fetchone()[0] < 500
    assert connection.execute("SELECT COUNT(*) FROM tally_sum").fetchone()[0] <= 6


@pytest.mark.parametrize("alone", [True, False])
def test_of_a_refused_batch_nothing_is_stored_or_counted(store: Store, alone: bool) -> None:
    do(store, *make.tasks_insert([new("taken")]))
    bad = make.tasks_insert(
        [new(uid, n, name="bad") for n, uid in enumerate([*map(str, range(40)), "taken"], 2)]
    )
    good = [] if alone else [store.submit(make.tasks_insert([new("good", 50)]))]
    refused = store.submit(bad)
    good += [] if alone else [store.submit(make.tasks_insert([new("better", 51)]))]
    with pytest.raises(WriteRejected):
        refused.result(20)
    for future in good:
        future.result(20)
    connection = store.reads.connection
    assert tally(connection) == counted(connection)
    assert connection.execute("SELECT COUNT(*) FROM task").fetchone() == (1 + len(good),)


def test_pages_know_both_parts_of_the_tally(store: Store) -> None:
    users = [f"u{n % 2}" for n in range(609)]
    do(store, *make.tasks_insert([new(f"t{n}", n + 1, name=f"f{n % 3}", user=users[n]) for n in range(600)]))
    for n in range(501):  # so many changes are added up
        do(store, make.tasks_update([update("t0", "paused" if n % 2 else "running")]))
    do(
        store,
        *make.tasks_insert([new(f"t{n}", n + 1, name=f"f{n % 3}", user=users[n]) for n in range(600, 609)]),
    )
    connection = store.reads.connection
    assert all(connection.execute(f"SELECT EXISTS (SELECT 1 FROM {part})").fetchone()[0] for part in TALLY)

    def total(**choice: Any) -> int:
        return store.reads.pages.page(Selector(**choice), now=0.0, limit=5).total

    assert total() == 609
    assert total(name=("f1",)) == 203
    assert total(name=("f0", "f1"), user=("u1",)) == sum(n % 3 < 2 and n % 2 for n in range(609))
    assert total(state=(TaskState.PENDING,), user=("u0",)) == users.count("u0") - 1


class TallyMachine(RuleBasedStateMachine):
    """Whatever is written, by the plan queue or the task queue: the tally says how many rows there are."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.store = Store.open(self.directory / "state")
        self.number = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)

    def uid(self) -> str:
        self.number += 1
        return f"u{self.number}"

    def active(self) -> list[str]:
        return [record.task_uid for record, _ in self.store.reads.tasks.active()]

    @rule(
        names=st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
        group=st.sampled_from(["", "g"]),
        priority=st.sampled_from([1, 128]),
    )
    def insert(self, names: list[str], group: str, priority: int) -> None:
        rows = [
            new(self.uid(), self.number, name=name, task_group=group, priority=priority) for name in names
        ]
        do(self.store, *make.tasks_insert(rows))

    @rule(state=st.sampled_from([s.value for s in TaskState if not is_terminal(s)]), every=st.integers(1, 3))
    def update(self, state: str, every: int) -> None:
        do(self.store, make.tasks_update([update(uid, state) for uid in self.active()[::every]]))

    @rule(state=st.sampled_from([s.value for s in TaskState if is_terminal(s)]), every=st.integers(1, 3))
    def end(self, state: str, every: int) -> None:
        do(self.store, make.tasks_end([end(uid, state) for uid in self.active()[::every]]))

    @rule(known=st.booleans())
    def refused(self, known: bool) -> None:
        active = self.active()[:2] if known else []
        with pytest.raises(StaleWrite):
            do(self.store, make.tasks_end([end(uid) for uid in [*active, "unknown"]]))

    @rule()
    def plan(self) -> None:
        uid = self.uid()
        entry = QueueEntryRow(uid, self.number, "plan", "count", "ann", "primary", "{}")
        do(self.store, writes.queue_insert([entry], 1.0))

    @rule(which=st.sampled_from(["start", "remove", "clear", "replace"]))
    def change_plans(self, which: str) -> None:
        queue = self.store.reads.queue()
        if which == "clear":
            do(self.store, writes.queue_clear(2.0))
        elif queue and which == "start":
            do(self.store, writes.task_start(queue[0].task_uid, time=2.0, worker_uid="w"))
        elif queue and which == "remove":
            do(self.store, writes.queue_remove([queue[0].task_uid], TaskState.CANCELLED, 2.0))
        elif queue:
            row = QueueEntryRow(self.uid(), queue[0].queue_rank, "plan", "scan", "bob", "primary", "{}")
            do(self.store, writes.queue_replace(queue[0].task_uid, row, 2.0))

    @rule()
    def function(self) -> None:
        task = NewTask(
            task_uid=self.uid(),
            item_type="function",
            name="f",
            user="u",
            user_group="g",
            body="{}",
            time_created=1.0,
        )
        finish = writes.task_finish(task.task_uid, state=TaskState.COMPLETED, time_stop=2.0)
        do(self.store, writes.task_insert(task), finish)

    @invariant()
    def tally_is_exact(self) -> None:
        connection = self.store.reads.connection
        assert tally(connection) == counted(connection)


TestTally = TallyMachine.TestCase
TestTally.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
