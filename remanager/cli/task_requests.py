"""The commands about tasks; part of the table of :mod:`remanager.cli.requests`."""

from __future__ import annotations

from remanager.cli import task_words, words
from remanager.cli.request import Request, Wait
from remanager.cli.task_words import chosen, named

_USER = ("user", "user_group")
_FUNCTION = (
    'A function is a call such as \'move_run("/fast/run1", "/archive/run1")\', a dictionary in JSON or '
    "Python, or @FILE with one. "
)
OPTION_NAMES = (
    *("priority", "group", "domain", "label", "key", "on_duplicate", "tags", "job_uid", "parent_uid"),
    *("fail_fast", "depends_on", "on_dependency_failure", "run_after", "delay_s", "ttl_s", "ttl_from"),
    *("timeout_s", "kill_after_s", "max_retries", "retry", "expected_io", "resource_lock", "where"),
)
"""Those of :class:`remanager.manager.task_queue.submission.OptionsModel`, which takes long to import."""

_OPTIONS = (
    "Options are NAME=VALUE: priority=10, group=disk, key=run1, depends_on='[\"UID\"]', delay_s=60. There "
    f"are {', '.join(OPTION_NAMES)}; the reference of the methods says what they mean."
)
_CONDITIONS = (
    "Conditions are NAME=VALUE: state=failed, task_type=move_run, user=me, class=failure, "
    'tags=\'{"run": "1"}\', all=true; a value in brackets is a list.'
)
_CHOICE = "UID ... | CONDITION ..."
_SCOPE = "all | domain|task_type|group|schedule|task NAME"

TASK_REQUESTS: tuple[Request, ...] = (
    Request(
        "task submit",
        "task_submit",
        "Submit a task: a function of the task modules.",
        "FUNCTION [OPTION=VALUE ...]",
        task_words.submit,
        _FUNCTION + _OPTIONS,
        locked=True,
        who=_USER,
        wait=Wait.TASK,
    ),
    Request(
        "task submit-batch",
        "task_submit_batch",
        "Submit the functions of a file as one job ('-': standard input).",
        "FILE [OPTION=VALUE ...]",
        task_words.submit_batch,
        "The file holds a list of functions in JSON or Python, or one call a line. " + _OPTIONS,
        locked=True,
        is_long=True,
        who=_USER,
    ),
    Request("task functions", "task_function_list", "Show the functions that tasks can run."),
    Request("task status", "task_status", "Show whether tasks run.", "UID ...", words.several("task_uid")),
    Request("task result", "task_result", "Show the result of a task.", "UID", words.text("task_uid")),
    Request(
        "task results",
        "task_result_batch",
        "Show the results of several tasks.",
        "UID ...",
        lambda given: {"task_uid": list(given)},
    ),
    Request(
        "task info",
        "task_info",
        "Show everything that is known of a task.",
        "UID | task_type=NAME key=KEY [PART ...]",
        task_words.info,
        "Parts: transitions, attempts, dependents, children, result.",
    ),
    Request(
        "task list",
        "task_list",
        "Show tasks.",
        "[CONDITION ...] [order=created|finished|dispatch|priority] [limit=N] [cursor=CURSOR]",
        chosen("order", "limit", "cursor", "offset", "fields", uids=False),
        _CONDITIONS,
    ),
    Request(
        "task count",
        "task_count",
        "Show how many tasks there are.",
        "[GROUP] [CONDITION ...]",
        task_words.counted,
        "Groups: state, class, task_type, domain, group, user, priority, job_uid, worker_uid, tag:KEY. "
        + _CONDITIONS,
    ),
    Request(
        "task wait",
        "task_wait",
        "Wait until tasks have ended, for at most 60 s.",
        "UID ... | job_uid=UID | CONDITION ... [until=any|all|idle] [timeout=S]",
        chosen("until", "timeout", "job_uid", needed=False),
        _CONDITIONS,
    ),
    Request(
        "task cancel",
        "task_cancel",
        "Cancel tasks and their children.",
        f"{_CHOICE} [reason=TEXT] [cascade=false] [kill_after_s=S] [dry_run=true]",
        chosen("reason", "cascade", "kill_after_s", "dry_run", needed=True),
        _CONDITIONS,
        locked=True,
        is_long=True,
    ),
    Request(
        "task retry",
        "task_retry",
        "Submit tasks that have failed once more.",
        f"{_CHOICE} [reset_attempts=false] [again=true]",
        chosen("reset_attempts", "again", needed=True),
        _CONDITIONS,
        locked=True,
        is_long=True,
    ),
    Request(
        "task update",
        "task_update",
        "Change a task that has not ended.",
        "UID NAME=VALUE ...",
        task_words.changes,
        "Names: priority, group, tags, label, run_after, ttl_s, timeout_s, max_retries.",
        locked=True,
    ),
    Request(
        "task pause",
        "task_pause",
        "Hold tasks: all, those of a scope, or one.",
        f"{_SCOPE} [until=TIME] [running=interrupt] [reason=TEXT]",
        named("scope", "name", first=1),
        locked=True,
    ),
    Request(
        "task resume",
        "task_resume",
        "Let tasks go on that are held.",
        _SCOPE,
        named("scope", "name", first=1),
        locked=True,
    ),
    Request(
        "task progress", "task_progress", "Show how far tasks are.", "[CONDITION ...]", chosen(uids=False)
    ),
    Request(
        "task prune",
        "task_prune",
        "Forget tasks that have ended; they are archived before.",
        "keep=N | max_age_s=S [dry_run=true] [CONDITION ...]",
        chosen("keep", "max_age_s", "dry_run", uids=False),
        _CONDITIONS,
        locked=True,
        is_long=True,
    ),
    Request(
        "task tags",
        "tag_list",
        "Show tags, or the values of one.",
        "[key=KEY | prefix=TEXT] [CONDITION ...]",
        chosen("key", "prefix", uids=False),
    ),
    Request(
        "task job",
        "job_status",
        "Show how far a job is.",
        "JOB_UID ...",
        lambda given: {"job_uid": given[0] if len(given) == 1 else list(given)},
    ),
    Request(
        "task types",
        "type_stats",
        "Show durations and failures by type.",
        "TYPE ... [since=TIME] [sample=N]",
        lambda given: (
            named()([w for w in given if "=" in w]) | {"task_type": [w for w in given if "=" not in w]}
        ),
    ),
    Request("snapshot", "snapshot", "Show what the task queue does.", "[CONDITION ...]", chosen(uids=False)),
    Request(
        "stats-history",
        "stats_history",
        "Show a figure over time.",
        "METRIC [task_type=TYPE] [from=TIME] [to=TIME] [step_s=S]",
        named("metric", first=1),
    ),
    Request(
        "metrics",
        "metrics_get",
        "Show figures for monitoring systems.",
        "[prometheus|json]",
        words.one_of("format", "prometheus", "json"),
    ),
    Request(
        "limit list", "limit_list", "Show the limits of tasks.", "[SCOPE [NAME]]", named("scope", "name")
    ),
    Request(
        "limit set",
        "limit_set",
        "Limit the tasks of a scope.",
        'SCOPE [NAME] [max_running=N] [weight=W] [min_slots=N] [rate=\'{"permits": 5, "interval_s": 60}\']',
        named("scope", "name", first=1),
        "Scopes: all, domain, task_type, group, user.",
        locked=True,
    ),
    Request(
        "limit remove",
        "limit_remove",
        "Remove a limit.",
        "SCOPE [NAME]",
        named("scope", "name", first=1),
        locked=True,
    ),
    Request(
        "schedule add",
        "schedule_add",
        "Let a function run again and again.",
        "FUNCTION interval_s=S | cron='MIN HOUR DAY MONTH WEEKDAY' [NAME=VALUE ...]",
        task_words.schedule,
        _FUNCTION
        + f"When: {', '.join(task_words.RECURRENCE)}. Everything else is an option of the tasks. "
        + _OPTIONS,
        locked=True,
        who=_USER,
    ),
    Request("schedule list", "schedule_list", "Show schedules.", "[CONDITION ...]", chosen(uids=False)),
    Request(
        "schedule pause",
        "schedule_pause",
        "Hold a schedule.",
        "SCHEDULE_UID",
        words.text("schedule_uid"),
        locked=True,
    ),
    Request(
        "schedule resume",
        "schedule_resume",
        "Let a schedule go on.",
        "SCHEDULE_UID [catch_up=none|one]",
        named("schedule_uid", first=1),
        locked=True,
    ),
    Request(
        "schedule cancel",
        "schedule_cancel",
        "End a schedule for good.",
        "SCHEDULE_UID [cancel_current=false]",
        named("schedule_uid", first=1),
        locked=True,
    ),
    Request("worker list", "worker_list", "Show worker processes.", "[UID]", named("worker_uid")),
    Request(
        "worker stop",
        "worker_stop",
        "Stop a worker process.",
        "UID [drain=false] [timeout_s=S]",
        named("worker_uid", first=1),
        locked=True,
    ),
    Request(
        "worker restart",
        "worker_restart",
        "Replace a worker process.",
        "UID [drain=false] [timeout_s=S]",
        named("worker_uid", first=1),
        locked=True,
    ),
    Request("alert list", "alert_list", "Show alerts.", "[active=false] [name=NAME]", named()),
    Request(
        "alert ack",
        "alert_ack",
        "Say that an alert was seen.",
        "NAME",
        words.text("name"),
        locked=True,
        who=("user",),
    ),
    Request("alert rules", "alert_rule_list", "Show the rules of alerts."),
    Request(
        "alert set",
        "alert_rule_set",
        "Set a rule: raise an alert when a figure is beyond a limit.",
        "NAME METRIC [op='>'] [warn=X] [critical=X] [for_s=S] [clear_for_s=S] [selector=JSON]",
        named("name", "metric", first=2),
        "A metric is a path in the answer of 'stats', such as queue.depth or rates.5m.error_rate.",
        locked=True,
    ),
    Request("alert remove", "alert_rule_remove", "Remove a rule.", "NAME", words.text("name"), locked=True),
)
