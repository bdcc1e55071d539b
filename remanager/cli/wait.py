"""``--wait``: from the reply to the outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from remanager.cli.requests import Wait
from remanager.cli.send import ExitStatus, Failure, Reply, ask, refusal
from remanager_api import WaitTimeoutError
from remanager_api.zmq import REManagerAPI

_FOREVER_S = 1e9
_GOOD_ENDS = {"completed", "stopped"}


def wait_for(
    api: REManagerAPI, what: Wait, method: str, reply: Reply, options: Mapping[str, Any], before: Reply
) -> ExitStatus:
    """Wait for what a request began and tell how it ended.

    Parameters
    ----------
    api : REManagerAPI
        Client; it must not raise on refusals.
    what : Wait
        What to wait for.
    method : str
        Method of the request.
    reply : dict
        Reply to the request.
    options : Mapping
        Options of the command.
    before : dict
        Status before the request, where the queue is waited for.

    Returns
    -------
    ExitStatus
        ``SUCCESS`` or ``FAILED``.
    """
    as_json, limit = options["as_json"], options["wait_timeout"]
    limit = _FOREVER_S if limit is None else limit
    try:
        if what is Wait.TASK:
            return _task(api, reply["task_uid"], limit, as_json=as_json)
        api.wait_for_condition(_has_ended(method), timeout=limit)
    except WaitTimeoutError as exc:
        raise Failure(f"still not done: {exc}", ExitStatus.FAILED) from exc
    status = ask(api, "status", {})
    if what is Wait.ENVIRONMENT:
        is_open, opens = bool(status["worker_environment_exists"]), method == "environment_open"
        return _outcome(is_open is opens, _environment(status), as_json)
    if what is Wait.QUEUE:
        good = status["manager_state"] == "idle" and not status["items_in_queue"]
        return _outcome(good, f"{_failure(api, before, status)}{_queue(status)}", as_json)
    return _item(api, reply["item"]["item_uid"], as_json)


def _has_ended(method: str) -> Callable[[Mapping[str, Any]], bool]:
    def ended(status: Mapping[str, Any]) -> bool:
        # A paused plan waits for somebody; an environment that is opening or closing does not.
        states = {"idle"} if method.startswith("environment") else {"idle", "paused"}
        return str(status["manager_state"]) in states

    return ended


def _environment(status: Reply) -> str:
    if status["worker_environment_exists"]:
        return "The environment is open."
    reason = str(status.get("not_ready_reason") or "the environment is closed")
    return f"{reason[0].upper()}{reason[1:]}."


def _queue(status: Reply) -> str:
    left = status["items_in_queue"]
    items = "1 item is" if left == 1 else f"{left} items are"
    is_paused = status["manager_state"] == "paused"
    return f"{'A plan is paused' if is_paused else 'The queue has stopped'}; {items} left."


def _failure(api: REManagerAPI, before: Reply, status: Reply) -> str:
    """Return a sentence about the plan that ended last, and a blank, if it ended lately and not well."""
    if status["plan_history_uid"] == before.get("plan_history_uid"):
        return ""
    history = ask(api, "history_get", {}).get("items") or [None]
    last = history[-1]
    if last is None or last["result"]["exit_status"] in _GOOD_ENDS:
        return ""
    return f"The plan '{last['name']}' has {_end(last['result'])} "


def _end(result: Mapping[str, Any]) -> str:
    words = f"{result['exit_status']}: {result['msg']}" if result["msg"] else str(result["exit_status"])
    return f"{words.rstrip('.')}."


def _outcome(good: bool, text: str, as_json: bool) -> ExitStatus:
    """Tell how it ended: as output, unless that is the reply in JSON, or it did not end well."""
    click.echo(text, err=as_json or not good)
    return ExitStatus.SUCCESS if good else ExitStatus.FAILED


def _item(api: REManagerAPI, item_uid: str, as_json: bool) -> ExitStatus:
    history = ask(api, "history_get", {}).get("items", [])
    item = next((i for i in reversed(history) if i.get("item_uid") == item_uid), None)
    if item is None:
        return _outcome(False, "The item has not ended: it is paused, or the history was cleared.", as_json)
    result = item["result"]
    return _outcome(result["exit_status"] in _GOOD_ENDS, f"The item has {_end(result)}", as_json)


def _task(api: REManagerAPI, task_uid: str, limit: float, *, as_json: bool) -> ExitStatus:
    api.wait_for_completed_task(task_uid, timeout=limit)
    reply = ask(api, "task_result", {"task_uid": task_uid})
    if not reply.get("success"):
        return _outcome(False, refusal(reply), as_json)
    if as_json:
        click.echo(json.dumps(reply, indent=2))
    else:
        from remanager.cli.show import show

        task = ask(api, "task_info", {"task_uid": task_uid}).get("task") or {}
        show("task_result", {**reply, "reason": task.get("state_reason")})
    return ExitStatus.SUCCESS if (reply.get("result") or {}).get("success") else ExitStatus.FAILED
