"""The page about what other systems promise is whole: every item, known methods, tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import remanager_api.views
from remanager.verbs import load
from remanager.verbs.registry import REGISTRY

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "seeds.md").read_text()
ITEMS = {"M": 29, "S": 37, "T": 71, "C": 33, "B": 18}
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line[:3] != "| |"
]
ROWS = [row for row in ROWS if re.fullmatch(r"[MSTCB]\d+", row[0])]


def test_every_item_has_one_row() -> None:
    wanted = [f"{letter}{n}" for letter, number in ITEMS.items() for n in range(1, number + 1)]
    assert [row[0] for row in ROWS] == wanted
    assert all(len(row) == 4 and all(row) for row in ROWS)


def test_every_row_names_tests_that_exist() -> None:
    known: set[str] = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(file.read_text())
        functions = (n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
        known |= {f"{file.name}::{f.name}" for f in functions}
    for row in ROWS:
        named = re.findall(r"`(test_\w+\.py::test_\w+)`", row[3])
        assert named, row[0]
        assert not set(named) - known, row[0]


def test_methods_exist() -> None:
    load()
    words = {word for row in ROWS for word in re.findall(r"`([a-z]+_[a-z_]+)`", row[2])}
    prefixes = ("task_", "schedule_", "limit_", "alert_", "worker_", "queue_", "type_", "metrics_", "job_")
    fields = {
        *("task_uid", "task_type", "task_list_uid", "worker_uid", "task_results_uid", "worker_doing_cnt"),
        *("job_uid", "task_detail", "queue_statistics"),
    }
    methods = {word for word in words if word.startswith(prefixes)} - fields
    assert len(methods) > 20
    assert not methods - REGISTRY.keys()


def test_examples_and_views_exist() -> None:
    for path in re.findall(r"`(examples/seeds/\w+\.py)`", PAGE):
        assert (ROOT / path).is_file()
    views = Path(str(remanager_api.views.__file__)).parent
    for name in re.findall(r"`remanager_api\.views\.(\w+)`", PAGE):
        assert (views / f"{name}.py").is_file()
