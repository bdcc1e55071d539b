from __future__ import annotations

from pathlib import Path

import pytest

from remanager.store.statements import STATEMENTS, load, of_rows, parameters, parse, query


def test_parse_splits_at_headers_and_semicolons() -> None:
    text = (
        "-- name: one\nSELECT 1;\n\n-- a remark\n-- name: two\nUPDATE t\nSET a = 1;\n-- inside\nSELECT 2;\n"
    )
    assert parse(text) == {"one": ("SELECT 1",), "two": ("UPDATE t\nSET a = 1", "SELECT 2")}


@pytest.mark.parametrize(
    "text", ["-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;\n", "-- name: a\n-- only words\n"]
)
def test_parse_refuses_duplicate_and_empty(text: str) -> None:
    with pytest.raises(ValueError, match="defined twice or empty"):
        parse(text)


def test_load_refuses_a_name_in_two_files(tmp_path: Path) -> None:
    for name in ("a.sql", "b.sql"):
        (tmp_path / name).write_text("-- name: same\nSELECT 1;\n")
    with pytest.raises(ValueError, match=r"'same' of b\.sql"):
        load(tmp_path)


def test_query_is_for_single_statements() -> None:
    assert query("queue_all").startswith("SELECT")
    assert len(STATEMENTS["queue_rank_permute"]) == 2
    with pytest.raises(ValueError, match="too many values"):
        query("queue_rank_permute")


@pytest.mark.parametrize("name", ["tasks_insert_plain", "tasks_insert_usual", "tasks_insert", "tasks_update"])
def test_a_statement_for_many_rows(name: str) -> None:
    names = parameters(name)
    assert len(set(names)) == len(names)
    sql = query(of_rows(name, 3))
    assert of_rows(name, 3) == of_rows(name, 3) != name
    assert sql.count("?") == 3 * len(names)
    assert ":" not in sql
    assert sql.split("VALUES")[0] == query(name).split("VALUES")[0]
