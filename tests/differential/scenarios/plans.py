"""Plans that run: the queue, its modes, pausing and ending plans, executing items at once, history."""

from __future__ import annotations

from scenario import scenario
from session import STOP, USER, Session, plan

HELD = plan("held", "a label")
SILENT = plan("silent")
BROKEN = plan("broken", "as it was told")


def _add(session: Session, *items: dict[str, object]) -> list[str]:
    return [i["item_uid"] for i in session.ask("queue_item_add_batch", items=list(items), **USER)["items"]]


def _ended(session: Session, note: str, history: int) -> None:
    """Wait for the end of what runs, and look at what became of it."""
    session.wait_quiet(items_in_history=history)
    session.call("status", note)
    session.call("queue_get", note)
    session.call("history_get", note)


@scenario("environment")
def environment(session: Session) -> None:
    session.closed()
    session.call("environment_open")
    session.call("environment_open", "at once again")
    session.wait_quiet(worker_environment_exists=True, re_state="idle")
    session.call("status", "open")
    session.call("environment_open", "open")
    session.call("re_metadata")
    session.call("re_runs")
    session.call("config_get")
    for method in ("re_pause", "re_resume", "re_stop", "re_abort", "re_halt", "kernel_interrupt"):
        session.call(method, "nothing runs")
    session.wait_quiet()
    session.call("queue_start", "empty queue")
    session.wait_quiet()
    session.call("queue_stop", "nothing runs")
    session.call("queue_stop_cancel", "nothing runs")
    session.call("status", "after all that")
    session.call("environment_close")
    session.call("environment_close", "at once again")
    session.wait_quiet(worker_environment_exists=False, worker_environment_state="closed")
    session.call("status", "closed")
    session.call("environment_destroy", "closed")


@scenario("a queue that runs")
def queue(session: Session) -> None:
    session.ready()
    _add(session, plan("count", ["det1"], num=2), SILENT, plan("scan", ["det1"], "motor1", -1, 1, 3))
    session.call("queue_get", "before")
    session.call("queue_start")
    _ended(session, "after the queue", 3)
    session.call("re_runs", "after the queue")
    session.call("re_metadata", "after the queue")
    session.call("queue_start", "empty queue")
    _ended(session, "after an empty queue", 3)


@scenario("while a plan runs")
def running(session: Session) -> None:
    session.ready()
    held, waiting = _add(session, HELD, SILENT)
    session.call("queue_start")
    session.wait_held()
    session.call("status", "held")
    session.call("queue_get", "held")
    session.call("history_get", "held")
    for option in ("active", "open", "closed"):
        session.call("re_runs", option, option=option)
    for method in (
        *(
            "queue_start",
            "environment_open",
            "environment_close",
            "re_resume",
            "re_stop",
            "re_abort",
            "re_halt",
        ),
        *("environment_update", "manager_stop"),
    ):
        session.call(method, "while a plan runs")
    session.call("kernel_interrupt", "while a plan runs", interrupt_plan=True)
    session.call("queue_item_execute", "while a plan runs", item=SILENT, **USER)
    session.call("script_upload", "while a plan runs", script="a = 1")
    session.call("queue_item_get", "the running one", uid=held)
    session.call("queue_item_remove", "the running one", uid=held)
    session.call("queue_item_remove_batch", "the running one", uids=[held])
    session.call("queue_item_move", "the running one", uid=held, pos_dest="back")
    session.call("queue_item_move", "before the running one", uid=waiting, before_uid=held)
    session.call("queue_item_move", "after the running one", uid=waiting, after_uid=held)
    session.call("queue_item_move_batch", "before the running one", uids=[waiting], before_uid=held)
    session.call("queue_item_move_batch", "after the running one", uids=[waiting], after_uid=held)
    session.call("queue_item_add", "before the running one", item=SILENT, before_uid=held, **USER)
    session.call("queue_item_add", "after the running one", item=SILENT, after_uid=held, **USER)
    session.call("queue_item_add", "in front", item=SILENT, pos="front", **USER)
    session.call("queue_item_update", "the running one", item={**SILENT, "item_uid": held}, **USER)
    session.call("queue_get", "changed")
    session.call("queue_stop")
    session.call("queue_stop", "again")
    session.call("status", "stop pending")
    session.call("queue_stop_cancel")
    session.call("status", "stop cancelled")
    session.call("queue_stop", "for good")
    session.call("queue_clear", "while a plan runs")
    session.call("history_clear", "while a plan runs")
    _add(session, SILENT)
    session.open_gate()
    _ended(session, "stopped", 1)


@scenario("runs inside runs")
def runs(session: Session) -> None:
    session.ready()
    _add(session, plan("nested"))
    session.call("queue_start")
    session.wait_held(2)
    session.wait(lambda _s: [r["is_open"] for r in session.ask("re_runs")["run_list"]] == [True, False])
    for option in ("active", "open", "closed", "all"):
        session.call("re_runs", option, option=option)
    session.call("status", "inside")
    session.open_gate()
    _ended(session, "ended", 1)


def _ending(session: Session, method: str) -> None:
    """Pause a plan and end it in some way."""
    session.ready()
    _add(session, HELD, SILENT)
    session.call("queue_start", method)
    session.wait_held()
    session.call("re_pause", f"before {method}", option="immediate")
    session.wait_paused()
    session.call("status", f"before {method}")
    session.call("queue_start", "paused")
    session.call("queue_stop", "paused")
    session.call("queue_stop_cancel", "paused")
    session.call("re_pause", "paused")
    session.wait_paused()
    session.call("environment_close", "paused")
    session.call("queue_item_execute", "paused", item=SILENT, **USER)
    session.call("re_runs", f"before {method}", option="open")
    session.call(method)
    _ended(session, f"after {method}", 1)


@scenario("stop")
def stop(session: Session) -> None:
    _ending(session, "re_stop")


@scenario("abort")
def abort(session: Session) -> None:
    _ending(session, "re_abort")


@scenario("halt")
def halt(session: Session) -> None:
    _ending(session, "re_halt")


@scenario("pause and resume")
def resume(session: Session) -> None:
    session.ready()
    _add(session, HELD, SILENT)
    session.call("queue_start")
    session.wait_held()
    session.call("re_pause")
    session.wait_paused()
    session.call("status", "paused")
    session.call("queue_get", "paused")
    session.call("re_runs", "paused")
    session.call("re_resume")
    session.wait_held()
    session.call("status", "resumed")
    session.call("re_resume", "running")
    session.open_gate()
    _ended(session, "resumed and ended", 2)


@scenario("pause that comes too late")
def late_pause(session: Session) -> None:
    session.ready()
    _add(session, plan("held_without_checkpoint"), SILENT)
    session.call("queue_start")
    session.wait(lambda s: s["re_state"] == "running")
    session.call("re_pause", option="deferred")
    session.call("status", "pending")
    session.open_gate()
    _ended(session, "ended before the pause", 1)


@scenario("plans that fail")
def failures(session: Session) -> None:
    session.ready()
    _add(session, BROKEN, SILENT)
    session.call("queue_start")
    _ended(session, "failed", 1)
    session.ask("queue_clear")
    _add(session, plan("broken_in_run"), SILENT)
    session.call("queue_start", "inside a run")
    _ended(session, "failed inside a run", 2)
    session.ask("queue_clear")
    _add(session, plan("scan", ["det1"], "motor1", "a", "b", 3))
    session.call("queue_start", "wrong values")
    _ended(session, "wrong values", 3)


@scenario("ignoring failures")
def ignoring(session: Session) -> None:
    session.ready()
    session.call("queue_mode_set", mode={"ignore_failures": True})
    _add(session, BROKEN, SILENT, BROKEN, SILENT)
    session.call("queue_start")
    _ended(session, "with failures", 4)


@scenario("loop")
def loop(session: Session) -> None:
    session.ready()
    session.call("queue_mode_set", mode={"loop": True})
    _add(session, SILENT, STOP, plan("count", ["det1"]))
    session.call("queue_get", "before the loop")
    session.call("queue_start")
    _ended(session, "after the instruction", 1)
    session.call("queue_start", "again")
    _ended(session, "after the instruction again", 3)
    session.ask("queue_clear")
    _add(session, BROKEN, SILENT)
    session.call("queue_start", "failing")
    _ended(session, "failed in the loop", 4)


@scenario("instructions in the queue")
def instructions(session: Session) -> None:
    session.ready()
    _add(session, SILENT, STOP, SILENT, STOP)
    session.call("queue_start")
    _ended(session, "first stop", 1)
    session.call("queue_start", "goes on")
    _ended(session, "second stop", 2)
    _add(session, STOP)
    session.call("queue_start", "only an instruction")
    _ended(session, "only an instruction", 2)


@scenario("items that are executed at once")
def execute(session: Session) -> None:
    session.ready()
    _add(session, SILENT)
    session.call("queue_item_execute", item=plan("count", ["det1"]), **USER)
    _ended(session, "executed", 1)
    session.call("queue_item_execute", "fails", item=BROKEN, **USER)
    _ended(session, "failed", 2)
    session.call("queue_item_execute", "an instruction", item=STOP, **USER)
    _ended(session, "an instruction", 2)
    session.call("queue_item_execute", "not valid", item=plan("no_such_plan"), **USER)
    session.call("queue_item_execute", "a function", item={"item_type": "function", "name": "give"}, **USER)
    session.call("queue_item_execute", "nothing", **USER)
    session.call("queue_item_execute", "no user", item=SILENT)
    session.call("queue_mode_set", mode={"loop": True})
    session.call("queue_item_execute", "in loop mode", item=SILENT, **USER)
    _ended(session, "in loop mode", 3)
    session.call("queue_item_execute", "to be stopped", item=HELD, **USER)
    session.wait_held()
    session.call("status", "held")
    session.call("queue_get", "held")
    session.call("queue_stop", "item runs beside the queue")
    session.call("re_pause", option="immediate")
    session.wait_paused()
    session.call("re_abort")
    _ended(session, "aborted", 4)


@scenario("autostart")
def autostart(session: Session) -> None:
    session.ready()
    session.call("queue_autostart", "on", enable=True)
    session.call("status", "on, nothing to do")
    session.call("queue_item_add", item=SILENT, **USER)
    _ended(session, "after one", 1)
    session.call("queue_item_add_batch", items=[SILENT, SILENT], **USER)
    _ended(session, "after three", 3)
    session.call("queue_item_add", "fails", item=BROKEN, **USER)
    _ended(session, "after a failure", 4)
    session.ask("queue_clear")
    session.call("queue_item_add", "stays", item=HELD, **USER)
    session.call("queue_autostart", "on again", enable=True)
    session.wait_held()
    session.call("queue_stop")
    session.call("status", "stop pending")
    session.open_gate()
    _ended(session, "after a stop", 5)


@scenario("destroying the environment")
def destroy(session: Session) -> None:
    session.ready()
    _add(session, HELD, SILENT)
    session.call("queue_start")
    session.wait_held()
    session.call("environment_destroy")
    session.wait_quiet(worker_environment_exists=False, worker_environment_state="closed")
    session.call("status", "destroyed")
    session.call("queue_get", "destroyed")
    session.call("history_get", "destroyed")
    session.call("re_runs", "destroyed")
    session.ready()
    session.call("status", "open again")
    session.call("environment_destroy", "idle")
    session.wait_quiet(worker_environment_exists=False, worker_environment_state="closed")
    session.call("status", "destroyed again")


@scenario("history")
def history(session: Session) -> None:
    session.ready()
    _add(session, *(plan("plain", number) for number in range(6)))
    session.call("queue_start")
    session.wait_quiet(items_in_history=6)
    items = session.call("history_get")["items"]
    method = "history_clear"
    session.call(method, "text", size="ab")
    session.call(method, "float", size=2.5)
    session.call(method, "bool", size=True)
    session.call(method, "negative", size=-1)
    session.call("history_get", "after refusals")
    session.call(method, "more than there are", size=100)
    session.call(method, "uid is a number", item_uid=1.5)
    session.call(method, "both", size=1, item_uid=items[0]["item_uid"])
    session.call(method, "unknown uid", item_uid="nothing")
    session.call("history_get", "before clearing")
    session.call("status", "before clearing")
    session.call(method, "size", size=4)
    session.call("history_get", "size")
    session.call(method, "uid", item_uid=items[3]["item_uid"])
    session.call("history_get", "uid")
    session.call("status", "uid")
    session.call(method, "to nothing", size=0)
    session.call("history_get", "to nothing")
    session.call(method, "again")
    session.call("status", "again")
