"""Which rows of `docs/reference/differences.md` explain which differences.

The page says what is different and why; a rule says where that shows. A difference that no rule matches fails
the run, and so does, in a complete run, a rule that matches nothing: it would hide what comes later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from comparison import UID, Mismatch

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "differences.md"


@dataclass(frozen=True, slots=True)
class Rule:
    """Explains differences.

    Attributes
    ----------
    row : str
        First cell of the row of the page.
    step : str
        Pattern (as of a shell) of ``script: step``.
    path : str
        Pattern of the place in the answer.
    theirs, ours : str
        Regular expressions that must be found in the values, as Python writes them.
    wording : bool
        The values are texts that say the same; what clients look for must be in both.
    sometimes : bool
        It depends on what comes first, and may match nothing.
    """

    row: str
    step: str
    path: str
    theirs: str = ""
    ours: str = ""
    wording: bool = False
    sometimes: bool = False

    def explains(self, step: str, mismatch: Mismatch) -> bool:
        """Whether a difference is one of those that are meant."""
        return (
            fnmatchcase(step, self.step)
            and fnmatchcase(mismatch.path, self.path)
            and re.search(self.theirs, repr(mismatch.theirs)) is not None
            and re.search(self.ours, repr(mismatch.ours)) is not None
            and (not self.wording or says_the_same(mismatch.theirs, mismatch.ours))
        )


PINNED = tuple(
    re.compile(text)
    for text in (
        r"Failed to decode the request: (JSON|MSGPACK) decode error:",
        r"Invalid request format: method is not specified",
        r"Unknown method '\w+'",
        r"API request contains unsupported parameters: ('\w+'|\[.*?\])\. Supported parameters:",
        r"Invalid lock key",
        r"RE Worker environment already exists",
        r"in the process of (creating|closing) the RE Worker environment",
        r"RE (Worker )?environment does not exist",
        r"RE Worker environment is not open",
        r"Queue execution is in progress",
        r"Run Engine is not found in the RE Worker environment",
        r"RE Manager is busy",
        r"RE Manager must be in idle state",
        r"user (name|group) is not specified",
        r"Unknown user group: '\w*'",
        r"request contains no item info",
        r"item parameter must have type 'dict'",
        r"unsupported 'item_type' value: '\w+'",
        r"'item_type' key is not found",
        r"Plan '\w+' is not in the list of allowed plans",
        r"Plan validation failed: got an unexpected keyword argument '\w+'",
        r"is (not in the queue|currently running)",
        r"Ambiguous parameters",
        r"Can not insert a plan in the queue before a currently running plan",
        r"Failed to (add|get|remove|move|start|set|load) \w+ \w+( of \w+)?:",
        r"validation of \d+ out of \d+ submitted items failed",
        r"Can not remove an item which is currently running",
        r"Request does not contain the list of UIDs",
        r"The list of contains repeated UIDs",
        r"The queue does not contain items with the following UIDs: \[.*\]",
        r"(Source|Destination) plan \((position|UID) .*?\) was not found",
        r"(Source|Destination) position or UID is not specified",
        r"Destination for the batch is not specified",
        r"more than one mutually exclusive parameter",
        r"item with UID '.*' is in the batch",
        r"Queue mode is passed using object of unsupported type '.*'",
        r"Unsupported plan queue mode parameter '\w+'",
        r"Unsupported type '.*' of the parameter '\w+'",
        r"Required '\w+' parameter (is missing|must be boolean)",
        r"The '\w+' parameter must be an? \w+",
        r"Parameters 'size' and 'item_uid' are mutually exclusive",
        r"Parameter '\w+' is (missing|not a)",
        r"'user_groups' is a required property",
        r"Missing required user group: '\w+'",
        r"RE Manager was started with option user_group_permissions_reload='\w+'",
        r"Failed to create description of plan '\w+'",
        r"Function name is not specified",
        r"Function '\w+' is not (allowed|found in the worker namespace)",
        r"'task_uid' must be a string or a list of strings",
        r"Environment does not exist\. Cannot retrieve RE metadata",
        r"Run Engine does not (exist in worker environment|have a metadata attribute)",
        r"environment and/or queue must be selected",
        r"(User name|Lock key) (is not specified|must be a non-empty string)",
        r"Note must be a string or None",
        r"Request contains no lock key",
        r"Not allowed to interrupt running (plan|task)",
    )
)
"""Parts of texts that clients and their tests look for."""

_ORDER = re.compile(r"Supported parameters: \[.*?\]")


def says_the_same(theirs: object, ours: object) -> bool:
    """Whether two texts have the same parts that clients look for."""
    if not (isinstance(theirs, str) and isinstance(ours, str) and theirs and ours):
        return False
    return all(_parts(pattern, theirs) <= _parts(pattern, ours) for pattern in PINNED)


def _parts(pattern: re.Pattern[str], text: str) -> set[str]:
    text = UID.sub("<uid>", text.replace("{uid}", "<uid>"))
    text = _ORDER.sub("Supported parameters: []", text)
    return {match.group() for match in pattern.finditer(text)}


WORDING = "texts of refusals"
UIDS = "UIDs of what stays as it is"
PERMISSIONS = "permissions with a bad pattern"
TYPES = "positions that are booleans, UIDs that are no texts"
RELOAD = "permissions that are set or reloaded with an open environment"
PAIRS = "values of `*args: tuple[A, B]`, as `list_scan` of bluesky 1.15 has them"
RESULT = "item that returned to the queue"
TASK_ERRORS = "errors of functions and scripts"
LOCK_INFO = "refused `lock`, `lock_info`, `unlock`"
SWITCHES = "switches of `lock` that are no booleans"
LOCKED_ITEM = "item of a request that the lock refuses"
USER = "user that is no text"
PARAMS = "`params` that are null or a list"
DESTROYED = "runs of a plan whose environment was destroyed"
ANNOTATION = "annotation of a parameter that names nothing"

RULES: tuple[Rule, ...] = (
    Rule(WORDING, "*", "msg", wording=True),
    Rule(WORDING, "*", "results.*.msg", wording=True),
    Rule(UIDS, "*", "run_list_uid"),
    Rule(UIDS, "*: status*", "plan_queue_uid"),
    Rule(UIDS, "*: status*", "plan_history_uid"),
    Rule(PERMISSIONS, "permissions: permissions_?et *pattern is no expression", "*"),
    Rule(RELOAD, "*: status*", "task_results_uid"),
    Rule(RELOAD, "permissions: status*", "worker_background_tasks", theirs="1", sometimes=True),
    Rule(PAIRS, "values of parameters: queue_item_add pairs one after the other", "*"),
    Rule(TYPES, "updating items: queue_item_update uid is a number", "msg"),
    Rule(TYPES, "getting and removing items: queue_item_remove_batch numbers", "*"),
    Rule(TYPES, "status and result of tasks: task_status list of numbers", "*"),
    Rule(TYPES, "status and result of tasks: task_result number", "*"),
    Rule(RESULT, "*", "items.*.result", ours="not there"),
    Rule(TASK_ERRORS, "*", "result.msg", theirs="Execute function|Load script"),
    Rule(TASK_ERRORS, "*", "result.traceback"),
    Rule(LOCK_INFO, "*", "lock_info_uid", theirs="None"),
    Rule(SWITCHES, "lock: lock numbers for true", "lock_info.*"),
    Rule(LOCKED_ITEM, "lock: queue_item_add no key", "item", theirs="None"),
    Rule(USER, "items of a bad form: *", "*user", theirs="None"),
    Rule(PARAMS, "form of requests: parameters are *", "*"),
    Rule(DESTROYED, "destroying the environment: history_get destroyed", "items.0.result.*"),
    Rule(DESTROYED, "destroying the environment: re_runs destroyed", "run_list"),
    Rule(ANNOTATION, "odd plans that are left out: *", "*odd_type.parameters.1.annotation"),
    Rule(ANNOTATION, "odd plans that are left out: queue_item_add", "*"),
)


def rows() -> set[str]:
    """Return the first cells of the tables of the page."""
    lines = PAGE.read_text().splitlines()
    return {line.split("|")[1].strip() for line in lines if line.startswith("| ")}


def explanation(step: str, mismatch: Mismatch) -> Rule | None:
    """Return the first rule that explains a difference."""
    return next((rule for rule in RULES if rule.explains(step, mismatch)), None)
