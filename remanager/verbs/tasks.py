"""Functions and scripts in the environment, and what became of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from remanager.manager.items import FUNCTIONS, MISSING, check_form, prepare, user_of
from remanager.manager.manager import Manager
from remanager.model.errors import InvalidParams, RemanagerError
from remanager.model.states import STATE_WORDS, STATUS_WORDS
from remanager.verbs.queue import UserParams
from remanager.verbs.registry import LockParams, LockScope, Params, Refusal, fixed, verb
from remanager.wire.codec import Keys, Reply, WordMap

MAX_UIDS = 10_000
MAX_WAIT_S = 60.0
"""Longest wait of one request, s: clients ask again."""

Wait = Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)]


class FunctionParams(UserParams):
    """Parameters of ``function_execute``."""

    item: Any = Field(MISSING, description="the function: ``item_type`` ``function``, name, args, kwargs")
    run_in_background: Any = Field(False, description="run it in a thread beside plans and other tasks")


class ScriptParams(LockParams):
    """Parameters of ``script_upload``."""

    script: Any = Field(None, description="Python code")
    update_lists: Any = Field(True, description="make the lists of plans and devices anew afterwards")
    update_re: Any = Field(False, description="let the script replace ``RE`` and ``db``")
    run_in_background: Any = Field(False, description="run it in a thread beside plans and other tasks")


class TaskParams(Params):
    """Parameters of ``task_status``."""

    task_uid: Any = Field(None, description="UID of a task; ``task_status`` also takes a list")


class ResultParams(TaskParams):
    """Parameters of ``task_result``."""

    timeout: Wait = Field(0.0, description="wait so long for the end of the task (s, at most 60)")


@verb(
    "function_execute",
    FunctionParams,
    lock=LockScope.ENVIRONMENT,
    fillers=lambda request, _manager: {"item": request.get("item"), "task_uid": None},
)
async def function_execute(manager: Manager, params: FunctionParams) -> Reply:
    """Start to execute a function in the environment; its result is asked for with ``task_result``."""
    item = check_form(params.item, FUNCTIONS)
    user, group = user_of(manager.catalogue, params.user, params.user_group)
    item = {"args": [], "kwargs": {}, **prepare(manager.catalogue, item, user, group)}
    try:
        uid = await manager.tasks.execute_function(item, background=bool(params.run_in_background))
    except RemanagerError as exc:
        raise Refusal(exc, item=item) from exc
    return {"item": item, "task_uid": uid}


@verb("script_upload", ScriptParams, lock=LockScope.ENVIRONMENT, fillers=fixed(task_uid=None), plain=True)
async def script_upload(manager: Manager, params: ScriptParams) -> Reply:
    """Start to execute a script in the namespace of the environment."""
    if params.script is None:
        raise InvalidParams("Required 'script' parameter is is missing in API call.")
    if not isinstance(params.script, str):
        raise InvalidParams("Type of the 'script' parameter in API call is incorrect.")
    uid = await manager.tasks.load_script(
        params.script,
        update_lists=bool(params.update_lists),
        update_re=bool(params.update_re),
        background=bool(params.run_in_background),
    )
    return {"task_uid": uid}


def _asked(request: Any, _manager: Manager) -> dict[str, object]:
    return {"task_uid": request.get("task_uid"), "status": None}


@verb("task_status", TaskParams, fillers=_asked)
def task_status(manager: Manager, params: TaskParams) -> Reply:
    """Return the status of one task or of several.

    ``status`` has the protocol's words ``running``, ``completed`` and ``not_found``; ``state`` says more.
    """
    asked = _required(params)
    uids = [asked] if isinstance(asked, str) else asked
    if not isinstance(uids, list) or set(map(type, uids)) - {str}:
        raise InvalidParams(
            f"'task_uid' must be a string or a list of strings: type(task_uid)={type(asked)!r}"
        )
    if len(uids) > MAX_UIDS:
        raise InvalidParams(f"at most {MAX_UIDS} tasks can be asked for at once; {len(uids)} are given")
    states = manager.tasks.states(uids)
    if isinstance(asked, str):
        state = states[asked]
        return {"task_uid": asked, "status": STATUS_WORDS[state], "state": STATE_WORDS[state]}
    keys = Keys(list(states))
    return {
        "task_uid": asked,
        "status": WordMap(keys, states.values(), STATUS_WORDS),
        "state": WordMap(keys, states.values(), STATE_WORDS),
    }


@verb("task_result", ResultParams, fillers=lambda r, m: {**_asked(r, m), "result": None})
async def task_result(manager: Manager, params: ResultParams) -> Reply:
    """Return what is known of a task: while it runs, when it started; afterwards, its result.

    With a ``timeout`` the answer comes when the task has ended, or the time is over.
    """
    uid = _required(params)
    if not isinstance(uid, str):
        raise InvalidParams(f"'task_uid' must be a string: type(task_uid)={type(uid)!r}")
    if params.timeout > 0:
        await manager.questions.wait([uid], "all", params.timeout)
    return {"task_uid": uid, **await manager.tasks.result(uid)}


def _required(params: TaskParams) -> object:
    if params.task_uid is None:
        raise InvalidParams("Required 'task_uid' parameter is missing in the API call.")
    return params.task_uid
