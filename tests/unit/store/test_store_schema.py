from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from remanager.model.selector import Selector
from remanager.model.states import StateClass, TaskState, is_terminal
from remanager.store import DatabaseUnusable, Reads, SchemaTooNew, page_plan, selection
from remanager.store.migrate import APPLICATION_ID, load_migrations, migrate
from remanager.store.statements import STATEMENTS


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def test_migrate_from_empty_and_again(connection: sqlite3.Connection) -> None:
    scripts = load_migrations()
    assert migrate(connection, scripts) == len(scripts) >= 1
    assert migrate(connection, scripts) == 0
    assert connection.execute("PRAGMA user_version").fetchone() == (len(scripts),)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_migrate_applies_only_what_is_missing(connection: sqlite3.Connection) -> None:
    first = "CREATE TABLE a (x INTEGER) STRICT;"
    assert migrate(connection, [first]) == 1
    assert migrate(connection, [first, "ALTER TABLE a ADD COLUMN y INTEGER;"]) == 1
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_failed_migration_changes_nothing(connection: sqlite3.Connection) -> None:
    first = "CREATE TABLE a (x INTEGER) STRICT;"
    migrate(connection, [first])
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, [first, "CREATE TABLE b (x INTEGER) STRICT; CREATE TABLE a (x INTEGER);"])
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("a",)]
    assert not connection.in_transaction


def test_newer_schema_is_refused(connection: sqlite3.Connection) -> None:
    migrate(connection, ["CREATE TABLE a (x);", "CREATE TABLE b (x);"])
    with pytest.raises(SchemaTooNew, match=r"version 2; .* up to 1"):
        migrate(connection, ["CREATE TABLE a (x);"])


def test_foreign_database_is_refused(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(DatabaseUnusable, match="not made by remanager"):
        migrate(connection, load_migrations())


@pytest.mark.parametrize("names", [["0002_b.sql"], ["0001_a.sql", "0003_c.sql"], ["first.sql"]])
def test_migrations_are_numbered_without_gap(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ValueError, match="should have the number"):
        load_migrations(tmp_path)


@pytest.mark.parametrize("state", TaskState)
def test_schema_knows_which_states_are_terminal(connection: sqlite3.Connection, state: TaskState) -> None:
    migrate(connection, load_migrations())
    sql = (
        "INSERT INTO task (task_uid, item_type, name, state, user, user_group, time_created, time_stop, body)"
        " VALUES (?, 'plan', 'count', ?, 'u', 'g', 1.0, ?, '{}')"
    )
    right, wrong = (2.0, None) if is_terminal(state) else (None, 2.0)
    connection.execute(sql, ("a", state.value, right))
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(sql, ("b", state.value, wrong))


# Few rows, those of one job, or sums.
SORTED = {
    *("task_running", "schedule_all", "job_members", "job_errors"),
    *("figures_by_type_changes", "figures_by_priority", "figures_by_priority_changes"),
}
NAMES = [name for name in STATEMENTS if name not in {"setting_all", "worker_all"}]


@pytest.mark.parametrize("name", NAMES)
def test_statements_use_indexes(connection: sqlite3.Connection, name: str) -> None:
    """No statement walks the task or event table row by row."""
    migrate(connection, load_migrations())
    for sql in STATEMENTS[name]:
        params = dict.fromkeys(_parameters(sql)) or [None] * sql.count("?")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", params)]
        assert not [step for step in plan if step in {"SCAN task", "SCAN event"}], plan
        assert not [step for step in plan if "TEMP B-TREE" in step and name not in SORTED], plan


def test_the_newest_of_many_failures_are_not_sorted(connection: sqlite3.Connection) -> None:
    migrate(connection, load_migrations())
    made = selection.conditions(Selector(state_class=(StateClass.FAILURE,)), now=0.0)
    sizes = page_plan.Sizes(200_000, 200_000, {}, 1_000_000)
    ways = page_plan.paging(made, sizes, page_plan.Order.CREATED, 101)
    assert len(ways) == len(made.states)
    for source, keys in ways:
        sql = f"SELECT {keys} FROM task {source.index} WHERE {source.where} ORDER BY id DESC LIMIT 101"
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", made.params)]
        assert not [step for step in plan if "TEMP B-TREE" in step or "SCAN" in step], plan


def _parameters(sql: str) -> list[str]:
    return [word.strip(":,()") for word in sql.replace("(", " ").split() if word.startswith(":")]


def test_uids_from_outside_are_only_data(connection: sqlite3.Connection) -> None:
    migrate(connection, load_migrations())
    reads = Reads(connection)
    odd = ["", "\ud800", "a\0b", "'; DROP TABLE task; --", "x" * 100_000]
    assert reads.task_states(odd) == {}
    assert reads.task_states([]) == {}
    assert [reads.task_row(uid) for uid in odd] == [None] * len(odd)
    assert reads.task_states(str(n) for n in range(50_000)) == {}
