"""From words to requests: the words of qserver, and those beyond."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
from bluesky_queueserver.manager.qserver_cli import CommandParameterError, create_msg
from hypothesis import given
from hypothesis import strategies as st

from remanager.cli import words
from remanager.cli.requests import BY_PATH
from remanager.cli.send import RequestCommand, prepare
from remanager.cli.words import ParameterError, item_of

COMMAND_LINES = """
ping
status
config
environment open
environment close
environment destroy
environment update
environment update background
existing plans
existing devices
permissions reload
permissions reload lists
permissions get
queue add plan '{"name": "count", "args": [["det1"]], "kwargs": {"num": 10}}'
queue add instruction queue-stop
queue add plan front '{"name": "count"}'
queue add plan back '{"name": "count"}'
queue add plan 2 '{"name": "count"}'
queue add instruction 2 queue-stop
queue add plan -1 '{"name": "count"}'
queue add plan before 'uid-1' '{"name": "count"}'
queue add plan after 'uid-1' "{'name': 'count'}"
queue update plan uid-1 '{"name": "count"}'
queue replace plan uid-1 '{"name": "count"}'
queue update instruction uid-1 queue-stop
queue replace instruction uid-1 queue-stop
queue execute plan '{"name": "count"}'
queue execute instruction queue-stop
queue get
queue clear
queue item get
queue item get back
queue item get front
queue item get 2
queue item get -3
queue item get uid-1
queue item remove
queue item remove back
queue item remove -2
queue item remove uid-1
queue item move 2 5
queue item move back front
queue item move front -2
queue item move uid-1 5
queue item move 2 before uid-2
queue item move 2 after uid-2
queue item move uid-1 before uid-2
queue start
queue stop
queue stop cancel
queue autostart enable
queue autostart disable
queue mode set loop True
queue mode set loop False ignore_failures True
queue mode set loop odd
re pause
re pause deferred
re pause immediate
re resume
re stop
re abort
re halt
re metadata
re runs
re runs active
re runs open
re runs closed
history get
history clear
history clear 200
history clear uid-1
function execute '{"name": "function_sleep", "args": [20], "kwargs": {}}'
function execute '{"name": "function_sleep"}' background
task result uid-1
task status uid-1
kernel interrupt
kernel interrupt task
kernel interrupt plan
kernel interrupt task plan
lock environment
lock environment 'Locked for 1 hr'
lock queue
lock all note
lock info
unlock
manager stop
manager stop safe on
manager stop safe off
manager kill test
""".strip().splitlines()

BAD_LINES = """
environment
environment update foreground
environment open now
queue add
queue add plan
queue add plan front
queue add plan before uid-1
queue add instruction stop
queue update plan uid-1
queue item move 2
queue item move 2 before
queue item move 2 5 7
queue item get 2 5
queue stop later
queue autostart
queue autostart maybe
queue mode set loop
re pause now
re runs all
function execute
function execute '{"name": "f"}' foreground
history clear 1 2
kernel interrupt all
lock
lock both
lock queue environment
unlock now
manager stop safe
manager stop safe maybe
manager kill
task result
""".strip().splitlines()


def ours(line: str, lock_key: str | None = None) -> tuple[str, dict[str, Any]]:
    """Read a command line as the command does, without sending anything."""
    args = shlex.split(line)
    for length in range(len(args), 0, -1):
        path = " ".join(args[:length])
        if path in BY_PATH:
            command = RequestCommand(BY_PATH[path], path)
            key = [] if lock_key is None else ["--lock-key", lock_key]
            context = command.make_context(path, [*args[length:], *key])
            method, params, _ = prepare(BY_PATH[path], context.params)
            return method, params
    raise ParameterError(f"no command {line!r}")


def without_user(params: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in params.items() if k != "user"}


@pytest.mark.parametrize("line", [*COMMAND_LINES, "allowed plans", "allowed devices"])
def test_same_request_as_qserver(line: str) -> None:
    method, params, _ = create_msg(shlex.split(line), lock_key=None)
    name, mine = ours(line)
    assert name == method
    assert without_user(mine) == without_user(params)
    assert ("user" in mine) == ("user" in params)


def test_script_and_permissions_are_read_from_files(tmp_path: Path) -> None:
    script, permissions = tmp_path / "script.py", tmp_path / "permissions.yaml"
    script.write_text("a = 1\n")
    permissions.write_text("user_groups: {root: {}}\n")
    for line in (
        f"script upload {script}",
        f"script upload {script} background update-re keep-lists",
        f"permissions set {permissions}",
    ):
        method, params, _ = create_msg(shlex.split(line), lock_key=None)
        given = {k: v for k, v in params.items() if v is not None}
        assert ours(line) == (method, given)


@pytest.mark.parametrize("line", BAD_LINES)
def test_what_qserver_refuses_is_refused(line: str) -> None:
    with pytest.raises((CommandParameterError, IndexError)):
        create_msg(shlex.split(line), lock_key=None)
    with pytest.raises(click.UsageError):
        ours(line)


@pytest.mark.parametrize("line", ["queue clear", "queue start", "environment open", "queue stop cancel"])
def test_lock_key_is_sent(line: str) -> None:
    assert ours(line, "abc")[1]["lock_key"] == "abc"
    with pytest.raises(ParameterError):
        ours(line, "")


@pytest.mark.parametrize(
    ("text", "name", "args", "kwargs"),
    [
        ("count", "count", [], {}),
        ("count()", "count", [], {}),
        ("count([det1, 'det2'], num=5)", "count", [["det1", "det2"]], {"num": 5}),
        ("scan([det.val], motor, -1.5, 1, 11)", "scan", [["det.val"], "motor", -1.5, 1, 11], {}),
        ("f(True, false, None, null, {'a': (1, 2)})", "f", [True, False, None, None, {"a": [1, 2]}], {}),
        ("module.plan(x=1e-3)", "module.plan", [], {"x": 1e-3}),
    ],
)
def test_item_as_a_call(text: str, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    item = item_of(text, "plan")
    assert item == {"name": name, "args": args, "kwargs": kwargs, "item_type": "plan"}


@pytest.mark.parametrize(
    "text",
    ["", "count(", "[1, 2]", "1", "count(*a)", "count(**a)", "count(1 + 2)", "f()()", "@/no/such/file"],
)
def test_what_is_no_item(text: str) -> None:
    with pytest.raises(ParameterError):
        item_of(text, "plan")


@given(st.text())
def test_any_text_is_an_item_or_refused(text: str) -> None:
    with contextlib.suppress(ParameterError):
        assert item_of(text.lstrip("@"), "plan")["item_type"] == "plan"


def test_batch_file(tmp_path: Path) -> None:
    file = tmp_path / "items"
    file.write_text('[{"name": "count"}, {"name": "queue_stop", "item_type": "instruction"}]')
    assert ours(f"batch add {file} front")[1]["pos"] == "front"
    items = ours(f"batch add {file}")[1]["items"]
    assert [i["item_type"] for i in items] == ["plan", "instruction"]
    file.write_text("# two plans\ncount([det1])\n\nqueue-stop\n")
    items = ours(f"batch add {file} before uid-1")[1]["items"]
    assert [i["name"] for i in items] == ["count", "queue_stop"]
    file.write_text("17")
    with pytest.raises(ParameterError):
        ours(f"batch add {file}")


@pytest.mark.parametrize(
    ("line", "params"),
    [
        ("batch remove a b", {"uids": ["a", "b"]}),
        ("batch move a b front", {"uids": ["a", "b"], "pos_dest": "front"}),
        ("batch move a b after c", {"uids": ["a", "b"], "after_uid": "c"}),
        ("queue mode set default", {"mode": "default"}),
        ("queue mode set loop=on", {"mode": {"loop": True}}),
        ("stats queue rates", {"sections": ["queue", "rates"]}),
        ("task status a b", {"task_uid": ["a", "b"]}),
        ("plans existing count", {}),
    ],
)
def test_words_beyond_qserver(line: str, params: dict[str, Any]) -> None:
    assert ours(line)[1] == params


@pytest.mark.parametrize("line", ["batch remove", "batch move a", "batch move front", "batch move a b 3"])
def test_bad_batches(line: str) -> None:
    with pytest.raises(ParameterError):
        ours(line)


def test_detail_is_no_parameter() -> None:
    assert words.detail(["count"]) == {words.DETAIL: "count"}
