"""Functions and scripts in the environment, and what is known of them."""

from __future__ import annotations

from typing import Any

from scenario import scenario
from session import STOP, USER, Session, function, plan


def _run(session: Session, note: str, item: dict[str, Any], **params: Any) -> None:
    """Execute a function, wait for its end and ask for the result."""
    uid = session.call("function_execute", note, item=item, **USER, **params).get("task_uid")
    if uid is not None:
        session.wait_task(uid)
        session.wait_quiet()
        session.call("task_status", note, task_uid=uid)
        session.call("task_result", note, task_uid=uid)


@scenario("functions")
def functions(session: Session) -> None:
    session.ready()
    results: dict[str, dict[str, Any]] = {
        "nothing": function("give"),
        "numbers": function("give", 1, 2.5, a=None, b=True),
        "text": function("give", "Å 𝄞 \u0000"),
        "nested": function("give", {"a": [1, {"b": []}]}),
        "large": function("give", list(range(1000))),
        "no arguments": {"item_type": "function", "name": "give"},
        "name of a device": function("give", "det1"),
        "not to be encoded": function("give_array"),
        "fails": function("fail", "as it was told"),
        "unknown argument": function("fail", abc=1),
        "missing": function("missing_function"),
        "own uid": {**function("give"), "item_uid": "mine"},
    }
    for note, item in results.items():
        _run(session, note, item)
    _run(session, "in the background", function("give", 1), run_in_background=True)
    _run(session, "fails in the background", function("fail"), run_in_background=True)
    session.call("status", "after all")


@scenario("functions of a bad form")
def forms(session: Session) -> None:
    session.ready()
    forms: dict[str, object] = {
        "null": None,
        "a text": "give",
        "empty": {},
        "a plan": plan("silent"),
        "an instruction": STOP,
        "no name": {"item_type": "function"},
        "name is a number": {"item_type": "function", "name": 5},
        "not allowed": function("print"),
        "hidden": function("_hidden_function"),
        "args is a text": {"item_type": "function", "name": "give", "args": "ab"},
        "args is null": {"item_type": "function", "name": "give", "args": None},
        "kwargs is a list": {"item_type": "function", "name": "give", "kwargs": []},
        "kwargs is null": {"item_type": "function", "name": "give", "kwargs": None},
    }
    for what, item in forms.items():
        session.call("function_execute", what, item=item, **USER)
    session.call("function_execute", "nothing")
    session.call("function_execute", "no user", item=function("give"))
    session.call("function_execute", "unknown group", item=function("give"), user="a", user_group="nobody")
    session.call("status", "after all refusals")


@scenario("while a function runs")
def busy(session: Session) -> None:
    session.ready()
    uid = session.call("function_execute", item=function("wait_for_gate"), **USER)["task_uid"]
    session.wait(lambda s: s["worker_environment_state"] == "executing_task")
    session.call("status", "busy")
    session.call("task_status", "running", task_uid=uid)
    session.call("task_result", "running", task_uid=uid)
    session.call("function_execute", "second", item=function("give"), **USER)
    session.call("script_upload", "second", script="a = 1")
    session.call("environment_update", "second")
    session.call("queue_item_execute", "second", item=plan("silent"), **USER)
    session.call("queue_start", "second")
    session.call("environment_close", "second")
    session.call("kernel_interrupt", "second", interrupt_task=True)
    session.call("re_metadata", "second")
    background = session.call(
        "function_execute", "in the background", item=function("give", 1), run_in_background=True, **USER
    )["task_uid"]
    session.wait_task(background)
    session.call("task_result", "in the background", task_uid=background)
    session.open_gate()
    session.wait_task(uid)
    session.wait_quiet()
    session.call("task_result", "ended", task_uid=uid)
    session.call("status", "ended")


@scenario("while a background function runs")
def background(session: Session) -> None:
    session.ready()
    uid = session.call("function_execute", item=function("wait_for_gate"), run_in_background=True, **USER)[
        "task_uid"
    ]
    session.wait(lambda s: s["worker_background_tasks"] == 1)
    session.call("status", "in the background")
    session.call("queue_item_execute", "beside it", item=plan("silent"), **USER)
    session.wait(lambda s: s["items_in_history"] == 1 and s["manager_state"] == "idle")
    session.call("environment_close", "beside it")
    session.open_gate()
    session.wait(
        lambda s: s["worker_environment_state"] in {"closed", "idle"} and s["worker_background_tasks"] == 0
    )
    session.wait_quiet()
    session.call("task_status", "ended", task_uid=uid)


@scenario("status and result of tasks")
def tasks(session: Session) -> None:
    session.ready()
    uid = session.ask("function_execute", item=function("give", 1), **USER)["task_uid"]
    session.wait_task(uid)
    arguments: dict[str, object] = {
        "known": uid,
        "unknown": "nothing",
        "list": [uid, "nothing"],
        "empty list": [],
        "list of numbers": [1, 2],
        "number": 5,
        "empty": "",
        "null": None,
        "dictionary": {"a": 1},
    }
    for method in ("task_status", "task_result"):
        session.call(method, "nothing")
        for what, argument in arguments.items():
            session.call(method, what, task_uid=argument)


SCRIPTS: dict[str, str] = {
    "a value": "some_value = 5",
    "empty": "",
    "syntax": "def (:\n",
    "fails": "raise RuntimeError('the script fails')",
    "inner failure": "def f():\n    raise ValueError('inner')\ntry:\n    f()\nexcept ValueError as exc:\n"
    "    raise KeyError('outer') from exc\n",
    "a plan": "def new_plan(a: int = 1):\n    yield from bps.null()\n",
    "a device": "from ophyd.sim import SynAxis\nnew_motor = SynAxis(name='new_motor')\n",
    "a function": "def give_new():\n    return some_value\n",
    "a bad plan": "from bluesky_queueserver import parameter_annotation_decorator\n"
    "@parameter_annotation_decorator({'parameters': {'a': {'annotation': 'NoType'}}})\n"
    "def bad_plan(a):\n    yield from bps.null()\n",
    "removes it": "del bad_plan\n",
    "prints": "print('from a script')\n",
    "leaves": "import sys\nsys.exit(3)\n",
}


@scenario("scripts")
def scripts(session: Session) -> None:
    session.ready()
    session.call("script_upload", "nothing")
    session.call("script_upload", "a number", script=5)
    session.call("script_upload", "null", script=None)
    for note, script in SCRIPTS.items():
        uid = session.call("script_upload", note, script=script)["task_uid"]
        session.wait_task(uid)
        session.wait_quiet()
        session.call("task_result", note, task_uid=uid)
        session.call("status", note)
    session.call("queue_item_add", "a new plan", item=plan("new_plan", 2), **USER)
    session.call("queue_item_add", "a new device", item=plan("count", ["new_motor"]), **USER)
    uid = session.call("function_execute", "a new function", item=function("give_new"), **USER)["task_uid"]
    session.wait_task(uid)
    session.call("task_result", "a new function", task_uid=uid)
    session.wait_quiet()
    session.call("plans_allowed", "with the new ones", user_group="limited")
    session.call("queue_start")
    session.wait_quiet(items_in_history=2)
    session.call("history_get")


@scenario("scripts and lists")
def updates(session: Session) -> None:
    session.ready()
    options: dict[str, dict[str, Any]] = {
        "lists are left": {"script": "def third_plan():\n    yield from bps.null()\n", "update_lists": False},
        "in the background": {"script": "in_background = 1", "run_in_background": True},
        "new RunEngine": {"script": "RE = RunEngine({'second': 1})\n", "update_re": True},
        "RunEngine is left": {"script": "RE = RunEngine({'third': 1})\n"},
    }
    for note, params in options.items():
        uid = session.call("script_upload", note, **params)["task_uid"]
        session.wait_task(uid)
        session.wait_quiet()
        session.call("task_result", note, task_uid=uid)
        session.call("status", note)
        session.call("re_metadata", note)
    for background in (False, True):
        uid = session.call("environment_update", f"{background}", run_in_background=background)["task_uid"]
        session.wait_task(uid)
        session.wait_quiet()
        session.call("task_result", f"update {background}", task_uid=uid)
        session.call("status", f"update {background}")
        session.call("re_metadata", f"update {background}")
    session.closed()


@scenario("metadata of the RunEngine")
def metadata(session: Session) -> None:
    session.ready()
    session.call("re_metadata")
    for name, value in (("sample", "copper"), ("nested", {"a": [1, 2, {"b": None}]}), ("text", "Å")):
        uid = session.ask("function_execute", item=function("set_metadata", name, value), **USER)["task_uid"]
        session.wait_task(uid)
        session.wait_quiet()
        session.call("re_metadata", name)
    script = "import numpy\nRE.md['array'] = numpy.zeros(2)\n"
    uid = session.ask("script_upload", script=script)["task_uid"]
    session.wait_task(uid)
    session.wait_quiet()
    session.call("re_metadata", "not to be encoded")
    session.closed()
