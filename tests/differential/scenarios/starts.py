"""Daemons that are started otherwise: start-up code that fails, no RunEngine, an IPython kernel."""

from __future__ import annotations

from scenario import Setup, scenario
from session import USER, Session, function, plan

FAILING = Setup(
    "start-up code fails", startup="raise RuntimeError('the start-up code fails')\n", encodings=("json",)
)
SYNTAX = Setup("start-up code is no Python", startup="def (:\n", encodings=("json",))
NO_ENGINE = Setup(
    "no RunEngine",
    startup="import time\n\ndef give(value=None):\n    return value\n\ndef a_plan():\n    yield from []\n",
    encodings=("json",),
)
ODD_PLANS = """
import enum
from bluesky import RunEngine
from bluesky_queueserver import parameter_annotation_decorator

RE = RunEngine({})

class Color(enum.Enum):
    RED = 1

def odd_default(value=Color.RED):
    yield from []

@parameter_annotation_decorator({"parameters": {"a": {"annotation": "NoSuchType"}}})
def odd_annotation(a):
    yield from []

@parameter_annotation_decorator({"parameters": {"a": {"default": 5}}})
def odd_decorator(a):
    yield from []

def odd_type(a: Color, b: "NotThere" = None):
    yield from []

def good(a: int = 5):
    yield from []
"""
STRICT = Setup("odd plans", startup=ODD_PLANS, encodings=("json",))
TOLERANT = Setup(
    "odd plans are left out", ("--ignore-invalid-plans=ON",), startup=ODD_PLANS, encodings=("json",)
)
KERNEL = Setup("IPython kernel", ("--use-ipython-kernel=ON",), encodings=("json",))


def _fails_to_open(session: Session) -> None:
    session.call("environment_open")
    session.wait_quiet(worker_environment_exists=False, worker_environment_state="closed")
    session.call("status", "failed")
    session.call("queue_start")
    session.call("environment_close")
    session.call("environment_destroy")
    session.call("plans_existing")


@scenario("start-up code that fails", FAILING)
def failing(session: Session) -> None:
    _fails_to_open(session)


@scenario("start-up code that is no Python", SYNTAX)
def syntax(session: Session) -> None:
    _fails_to_open(session)


@scenario("an environment without a RunEngine", NO_ENGINE)
def no_engine(session: Session) -> None:
    session.call("environment_open")
    session.wait_quiet(worker_environment_exists=True, worker_environment_state="idle")
    session.call("status", "open")
    session.call("plans_existing")
    session.call("devices_existing")
    session.call("re_metadata")
    session.call("queue_item_add", item=plan("a_plan"), **USER)
    session.call("queue_start")
    session.call("queue_item_execute", item=plan("a_plan"), **USER)
    for method in ("re_pause", "re_resume", "re_stop", "re_abort", "re_halt"):
        session.call(method)
    session.call("status", "after refusals")
    uid = session.call("function_execute", item=function("give", 5), **USER)["task_uid"]
    session.wait_task(uid)
    session.wait_quiet()
    session.call("task_result", task_uid=uid)


@scenario("odd plans", STRICT)
def odd_plans(session: Session) -> None:
    _fails_to_open(session)


@scenario("odd plans that are left out", TOLERANT)
def odd_plans_left_out(session: Session) -> None:
    session.call("environment_open")
    session.wait_quiet(worker_environment_exists=True, re_state="idle")
    session.call("status", "open")
    session.call("plans_existing")
    session.call("plans_allowed", user_group="primary")
    session.call("queue_item_add", item=plan("odd_type", 1), **USER)
    session.call("queue_item_add", item=plan("odd_annotation", 1), **USER)


@scenario("an environment in an IPython kernel", KERNEL)
def kernel(session: Session) -> None:
    session.call("status", "closed")
    session.call("config_get", "closed")
    session.call("kernel_interrupt", "closed")
    session.call("environment_open")
    session.wait_quiet(worker_environment_exists=True, re_state="idle", ip_kernel_state="idle")
    session.call("status", "open")
    session.call("config_get", "open")
    session.call("kernel_interrupt", "idle")
    session.wait_quiet(ip_kernel_state="idle")
    uid = session.call("function_execute", item=function("give", 5), **USER)["task_uid"]
    session.wait_task(uid)
    session.wait_quiet(ip_kernel_state="idle")
    session.call("task_result", task_uid=uid)
    session.ask("queue_item_add", item=plan("held"), **USER)
    session.call("queue_start")
    session.wait_held()
    session.call("status", "held")
    session.call("kernel_interrupt", "held")
    session.call("kernel_interrupt", "held, task", interrupt_task=True)
    session.call("re_pause", option="immediate")
    session.wait_paused()
    session.call("re_stop")
    session.wait_quiet(ip_kernel_state="idle")
    session.call("status", "stopped")
    session.call("history_get")
    session.call("environment_close")
    session.wait_quiet(worker_environment_exists=False, worker_environment_state="closed")
    session.call("status", "closed again")
    session.call("config_get", "closed again")
