"""Declaring tasks, and finding them in modules."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remanager.tasks import Context, task
from remanager.tasks.declaration import declaration_of
from remanager.worker.pool.discovery import BY_NAME, find_tasks, tasks_of


def names(text: str) -> dict[str, Any]:
    """Return the options by name of the tasks of a module with this text."""
    module = types.ModuleType("some_tasks")
    exec(text, module.__dict__)
    return {function.name: function.description["options"] for function in tasks_of(module)}


def test_three_ways_to_declare() -> None:
    @task
    def plain() -> None: ...

    @task("renamed")
    def other() -> None: ...

    @task(name="named", timeout_s=3.0, tags={"a": "b"})
    async def third() -> None: ...

    declared = [declaration_of(function) for function in (plain, other, third)]
    assert [d and (d.name, d.options) for d in declared] == [
        ("plain", {}),
        ("renamed", {}),
        ("named", {"timeout_s": 3.0, "tags": {"a": "b"}}),
    ]


def test_a_declared_function_stays_what_it_is() -> None:
    @task(priority=3)
    def double(x: int) -> int:
        return 2 * x

    assert double(4) == 8


@pytest.mark.parametrize(
    "options",
    [{"timeout": 3}, {"key": "x"}, {"tags": {1, 2}}, {"ttl_s": float("nan")}, {"name": 3}, {"name": ""}],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        task(**options)


def test_what_cannot_be_a_task() -> None:
    def generator() -> Iterator[int]:
        yield 1

    def positional(ctx: Context, /) -> None: ...

    for wrong, text in (
        (generator, "generator"),
        (positional, "by name"),
        (len, "no function"),
        (int, "no function"),
    ):
        with pytest.raises(TypeError, match=text):
            task()(wrong)


def test_public_functions_are_tasks() -> None:
    text = """
from os.path import join
import math
LIMIT = 3
class Thing: pass
def a(x): pass
async def b(): pass
def plan(): yield
def _hidden(): pass
"""
    assert names(text) == {"a": {}, "b": {}}


def test_declared_functions_are_the_only_tasks() -> None:
    text = """
from remanager.tasks import task
def a(): pass
@task("b", priority=1)
def _b(): pass
"""
    assert names(text) == {"b": {"priority": 1}}


def test_listed_functions_are_the_only_tasks() -> None:
    text = """
from os.path import join
__all__ = ["join", "a", "LIMIT", "missing"]
LIMIT = 3
def a(): pass
def b(): pass
"""
    assert names(text) == {"join": {}, "a": {}}


def test_declared_functions_of_other_modules_count_where_they_are_listed(tmp_path: Path) -> None:
    (tmp_path / "inner_tasks_of_test.py").write_text(
        "from remanager.tasks import task\n@task\ndef inner(): pass\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        assert names("from inner_tasks_of_test import inner\ndef a(): pass\n") == {"a": {}}
        assert names("from inner_tasks_of_test import inner\n__all__ = ['inner']\n") == {"inner": {}}
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("inner_tasks_of_test", None)


def test_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = "described_tasks_of_test"
    (tmp_path / f"{name}.py").write_text(
        'def f(a, ctx, /, b=1, *rest, c, **more):\n    """Do it.\n\n    Well.\n    """\n'
        "def g(a, *, ctx=None):\n    pass\n"
    )
    found = find_tasks([name, "missing_tasks_of_test"], [str(tmp_path)])
    sys.modules.pop(name)
    assert list(found.functions) == ["g"]  # the context of f could not be given by name
    assert "ModuleNotFoundError" in found.failures["missing_tasks_of_test"]
    described = found.functions["g"].description
    assert described["parameters"] == [{"name": "a", "kind": "POSITIONAL_OR_KEYWORD", "required": True}]
    assert found.functions["g"].context_place is BY_NAME


def test_a_module_that_cannot_be_read_does_not_spoil_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "odd_tasks_of_test.py").write_text("def f(): pass\nf.__signature__ = 'odd'\n")
    (tmp_path / "even_tasks_of_test.py").write_text("def g(): pass\n")
    found = find_tasks(["odd_tasks_of_test", "even_tasks_of_test"], [str(tmp_path)])
    for name in ("odd_tasks_of_test", "even_tasks_of_test"):
        sys.modules.pop(name)
    assert list(found.functions) == ["g"]
    assert "odd" in found.failures["odd_tasks_of_test"]


def test_kinds_of_parameters() -> None:
    module = types.ModuleType("some_tasks")
    exec('def f(a, /, b=1, *rest, c, **more):\n    """Do it.\n\n    Well.\n    """', module.__dict__)
    (function,) = tasks_of(module)
    assert function.description == {
        "name": "f",
        "module": "some_tasks",
        "doc": "Do it.\n\nWell.",
        "parameters": [
            {"name": "a", "kind": "POSITIONAL_ONLY", "required": True},
            {"name": "b", "kind": "POSITIONAL_OR_KEYWORD", "required": False},
            {"name": "rest", "kind": "VAR_POSITIONAL", "required": False},
            {"name": "c", "kind": "KEYWORD_ONLY", "required": True},
            {"name": "more", "kind": "VAR_KEYWORD", "required": False},
        ],
        "options": {},
    }
