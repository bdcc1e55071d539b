"""The table of the commands that send a request: words on the command line, method, parameters.

Every command takes the words that ``qserver`` takes, so that habits and scripts carry over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from remanager.cli import words
from remanager.cli.words import Read

_PLACE = "[front|back|INDEX|before UID|after UID]"
_USER = ("user", "user_group")
_WHICH = "[front|back|INDEX|UID]"
_ITEM = (
    "An item is a call such as 'count([det1, det2], num=5)', a dictionary in JSON or Python such as "
    '\'{"name": "count", "args": [["det1"]]}\', or @FILE with one of them. '
    "The only instruction is queue-stop."
)


class Wait(StrEnum):
    """What ``--wait`` waits for."""

    NOTHING = ""
    ENVIRONMENT = "until the environment is open or closed"
    TASK = "for the result of the task"
    QUEUE = "until the queue has stopped"
    ITEM = "until the item has ended"


@dataclass(frozen=True, slots=True)
class Request:
    """A command that sends one request.

    Attributes
    ----------
    path : str
        Words that name the command.
    method : str
        Method on the wire.
    help : str
        What it does, one line.
    usage : str
        Further words, as the help shows them.
    read : callable
        Makes parameters of the further words.
    details : str
        Further lines of the help.
    also : tuple of str
        Other words that name the command: those of ``qserver`` where they differ.
    other : Mapping
        Other methods, by the one further word that selects them; they take no parameters.
    locked : bool
        ``--lock-key`` is sent along.
    who : tuple of str
        Which of ``user`` and ``user_group`` are sent along.
    wait : Wait
        What ``--wait`` waits for.
    """

    path: str
    method: str
    help: str
    usage: str = ""
    read: Read = words.nothing
    details: str = ""
    also: tuple[str, ...] = ()
    other: Mapping[str, str] = field(default_factory=dict)
    locked: bool = False
    who: tuple[str, ...] = ()
    wait: Wait = Wait.NOTHING


GROUPS = {
    "queue": "Start and stop the queue; see and change it.",
    "item": "Add, change, move and execute single items.",
    "batch": "Add, move and remove several items, all or none.",
    "history": "See or clear the history.",
    "environment": "Open and close the environment of the worker.",
    "plans": "See plans of the environment.",
    "devices": "See devices of the environment.",
    "permissions": "See and change the permissions of user groups.",
    "re": "Pause and end the running plan; see its runs.",
    "function": "Call functions in the environment.",
    "script": "Run scripts in the environment.",
    "task": "See what became of functions and scripts.",
    "kernel": "Interrupt the IPython kernel.",
    "manager": "Stop the daemon.",
    "keys": "Keys of the server and of clients, for encryption and identity.",
    # Groups of the words of qserver.
    "queue item": "Get, remove and move single items.",
    "queue mode": "Set modes of the queue.",
    "allowed": "See what a user group may use.",
    "existing": "See what the environment has.",
}
HIDDEN_GROUPS = frozenset({"allowed", "existing", "queue item"})

REQUESTS: tuple[Request, ...] = (
    Request("status", "status", "Show what the manager does."),
    Request("ping", "ping", "See whether the manager answers."),
    Request("config", "config_get", "Show configuration that clients need."),
    Request(
        "stats",
        "stats",
        "Show health, rates and counters.",
        "[SECTION ...]",
        lambda given: {"sections": list(given)} if given else {},
        "Sections: summary, queue, rates, types, workers, counters.",
    ),
    Request("queue-status", "queue_status", "Show how much is queued and running.", also=("queue status",)),
    Request("queue get", "queue_get", "Show the queue and the running item."),
    Request("queue clear", "queue_clear", "Remove all items; a running plan goes on.", locked=True),
    Request("queue start", "queue_start", "Start to execute the queue.", locked=True, wait=Wait.QUEUE),
    Request(
        "queue stop",
        "queue_stop",
        "Stop after the running item; with 'cancel': do not.",
        "[cancel]",
        other={"cancel": "queue_stop_cancel"},
        locked=True,
    ),
    Request(
        "queue autostart",
        "queue_autostart",
        "Execute items as soon as there are any, or not.",
        "enable|disable",
        words.switch,
        locked=True,
    ),
    Request(
        "queue mode set",
        "queue_mode_set",
        "Set modes of the queue.",
        "NAME VALUE ...",
        words.mode,
        "Modes: loop, ignore_failures; values: True, False. 'default' resets all.",
        locked=True,
    ),
    Request(
        "item add",
        "queue_item_add",
        "Add an item to the queue, by default at its end.",
        f"[plan|instruction] {_PLACE} ITEM",
        words.add,
        _ITEM,
        also=("queue add",),
        locked=True,
        who=_USER,
    ),
    Request(
        "item update",
        "queue_item_update",
        "Exchange an item of the queue.",
        "[plan|instruction] UID ITEM",
        words.update(replace=False),
        _ITEM,
        also=("queue update",),
        locked=True,
        who=_USER,
    ),
    Request(
        "item replace",
        "queue_item_update",
        "Exchange an item of the queue under a new UID.",
        "[plan|instruction] UID ITEM",
        words.update(replace=True),
        _ITEM,
        also=("queue replace",),
        locked=True,
        who=_USER,
    ),
    Request(
        "item execute",
        "queue_item_execute",
        "Execute an item at once, past the queue.",
        "[plan|instruction] ITEM",
        words.execute,
        _ITEM,
        also=("queue execute",),
        locked=True,
        who=_USER,
        wait=Wait.ITEM,
    ),
    Request(
        "item check",
        "item_check",
        "Check an item as submission would, and estimate what it takes.",
        "[plan|instruction] ITEM",
        words.execute,
        _ITEM,
        who=_USER,
    ),
    Request(
        "item get",
        "queue_item_get",
        "Show an item of the queue, by default the last one.",
        _WHICH,
        words.which,
        also=("queue item get",),
    ),
    Request(
        "item remove",
        "queue_item_remove",
        "Remove an item, by default the last one.",
        _WHICH,
        words.which,
        also=("queue item remove",),
        locked=True,
    ),
    Request(
        "item move",
        "queue_item_move",
        "Move an item to another place.",
        "front|back|INDEX|UID front|back|INDEX|before UID|after UID",
        words.move,
        also=("queue item move",),
        locked=True,
    ),
    Request(
        "batch add",
        "queue_item_add_batch",
        "Add the items of a file ('-': standard input).",
        f"FILE {_PLACE}",
        words.add_batch,
        "The file holds a list of items in JSON or Python, or one item a line. " + _ITEM,
        locked=True,
        who=_USER,
    ),
    Request("batch remove", "queue_item_remove_batch", "Remove items.", "UID ...", words.uids, locked=True),
    Request(
        "batch move",
        "queue_item_move_batch",
        "Move items next to each other.",
        "UID ... front|back|before UID|after UID",
        words.move_batch,
        locked=True,
    ),
    Request(
        "events",
        "event_list",
        "Show events of the journal: who did what, and what became of it.",
        "[SINCE] [TYPE ...]",
        words.events,
        "SINCE is the number of the first event to show; types are such as plan_finished.",
    ),
    Request("autopsies", "worker_autopsy_list", "Show what is known of workers that died."),
    Request("history get", "history_get", "Show the items that have ended."),
    Request(
        "history clear",
        "history_clear",
        "Forget all entries, all but the last COUNT, or UID and all older ones.",
        "[COUNT|UID]",
        words.history_clear,
        locked=True,
    ),
    Request(
        "environment open", "environment_open", "Open the environment.", locked=True, wait=Wait.ENVIRONMENT
    ),
    Request(
        "environment close", "environment_close", "Close the environment.", locked=True, wait=Wait.ENVIRONMENT
    ),
    Request(
        "environment destroy",
        "environment_destroy",
        "Kill the worker process, whatever it does.",
        locked=True,
        wait=Wait.ENVIRONMENT,
    ),
    Request(
        "environment update",
        "environment_update",
        "Bring the lists of plans and devices up to date.",
        "[background]",
        words.flags(background=("run_in_background", True)),
        locked=True,
        wait=Wait.TASK,
    ),
    Request(
        "plans allowed",
        "plans_allowed",
        "Show the plans that a user group may run.",
        "[NAME]",
        words.detail,
        "With a name: show the parameters of that plan.",
        also=("allowed plans",),
        who=("user_group",),
    ),
    Request(
        "plans existing",
        "plans_existing",
        "Show all plans of the environment.",
        "[NAME]",
        words.detail,
        "With a name: show the parameters of that plan.",
        also=("existing plans",),
    ),
    Request(
        "devices allowed",
        "devices_allowed",
        "Show the devices that a user group may use.",
        "[NAME]",
        words.detail,
        "With a name: show the components of that device.",
        also=("allowed devices",),
        who=("user_group",),
    ),
    Request(
        "devices existing",
        "devices_existing",
        "Show all devices of the environment.",
        "[NAME]",
        words.detail,
        "With a name: show the components of that device.",
        also=("existing devices",),
    ),
    Request("permissions get", "permissions_get", "Show the permissions of the user groups."),
    Request(
        "permissions set",
        "permissions_set",
        "Set the permissions from a YAML file.",
        "FILE",
        words.permissions,
        locked=True,
    ),
    Request(
        "permissions reload",
        "permissions_reload",
        "Read the permissions, with 'lists' also the lists of plans and devices, from their files.",
        "[lists]",
        words.flags(lists=("restore_plans_devices", True)),
        locked=True,
    ),
    Request(
        "re pause",
        "re_pause",
        "Pause the running plan, at its next checkpoint unless 'immediate'.",
        "[deferred|immediate]",
        lambda given: {"option": "deferred"} | words.one_of("option", "deferred", "immediate")(given),
        locked=True,
    ),
    Request("re resume", "re_resume", "Go on with the paused plan.", locked=True),
    Request("re stop", "re_stop", "End the paused plan; it counts as done.", locked=True),
    Request("re abort", "re_abort", "End the paused plan; it counts as aborted.", locked=True),
    Request("re halt", "re_halt", "End the paused plan at once, without its clean-up.", locked=True),
    Request(
        "re runs",
        "re_runs",
        "Show the runs of the running plan.",
        "[active|open|closed]",
        words.one_of("option", "active", "open", "closed"),
    ),
    Request("re metadata", "re_metadata", "Show the metadata of the RunEngine."),
    Request(
        "function execute",
        "function_execute",
        "Call a function in the environment.",
        "FUNCTION [background]",
        words.function,
        "A function is a call such as 'sleep(5)', a dictionary in JSON or Python, or @FILE with one.",
        locked=True,
        who=_USER,
        wait=Wait.TASK,
    ),
    Request(
        "script upload",
        "script_upload",
        "Run a script in the environment ('-': standard input).",
        "FILE [background] [update-re] [keep-lists]",
        words.script,
        "background: beside plans and tasks; update-re: the script may replace RE and db; "
        "keep-lists: leave the lists of plans and devices alone.",
        locked=True,
        wait=Wait.TASK,
    ),
    Request("task status", "task_status", "Show whether tasks run.", "UID ...", words.several("task_uid")),
    Request("task result", "task_result", "Show the result of a task.", "UID", words.text("task_uid")),
    Request(
        "kernel interrupt",
        "kernel_interrupt",
        "Interrupt the IPython kernel, as Ctrl-C does.",
        "[task] [plan]",
        words.flags(task=("interrupt_task", True), plan=("interrupt_plan", True)),
        "task, plan: also if the manager executes one.",
        locked=True,
    ),
    Request(
        "lock",
        "lock",
        "Lock the environment, the queue, or both; see who did.",
        "info | environment|queue|all [NOTE]",
        words.lock,
        "The key is given with --lock-key.",
        other={"info": "lock_info"},
        locked=True,
        who=("user",),
    ),
    Request("unlock", "unlock", "Unlock with the key given by --lock-key.", locked=True),
    Request(
        "manager stop",
        "manager_stop",
        "Stop the daemon, by default only if it is idle.",
        "[safe on|safe off]",
        words.safe,
    ),
    Request("manager kill", "manager_kill", "Hang the manager, as a test.", "test", words.kill),
)

BY_PATH: dict[str, Request] = {p: r for r in REQUESTS for p in (r.path, *r.also)}
"""Every way to name a command."""
