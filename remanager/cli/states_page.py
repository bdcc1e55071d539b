"""The page about the states of tasks: ``python -m remanager.cli.states_page``."""

from __future__ import annotations

import sys

from remanager.model.states import STATE_CLASS, TaskState

_INTRODUCTION = """\
# States of a task

Plans, functions, scripts and background tasks share one state machine. A task has exactly one state; what
has ended stays as it is, with one record of its end. `task_status` translates the states into the three
words that clients of the RE Manager protocol know: `running` (all active states), `completed` (all
others), `not_found`.

The arrows from the frame hold for each state in it; those from a dot are beginnings.

![States and what leads from one to another](states.svg)
"""

_MEANING = {
    TaskState.PENDING: "Waits for a place, for its time, or for a limit; `wait_reason` says for which.",
    TaskState.BLOCKED: "Waits for its prerequisites (or for the end of an earlier task with its key).",
    TaskState.PAUSED: "Is held; `pause_reasons` says why. It goes on when no reason is left. A paused plan "
    "(`re_pause`) keeps its worker.",
    TaskState.RUNNING: "A worker has it. Its stage is `preparing`, `executing`, `finishing` or `cancelling`.",
    TaskState.WAITING_CHILDREN: "Its execution has ended, its children have not. It takes no place. "
    "After them it is handed to a worker once more, to finish.",
    TaskState.COMPLETED: "Succeeded.",
    TaskState.STOPPED: "A plan that was stopped, as if it had been complete.",
    TaskState.SKIPPED: "The function found that there was nothing to do.",
    TaskState.FAILED: "An error that is not to be repeated, or a child failed.",
    TaskState.DEAD_LETTER: "Failed as often as it was allowed to.",
    TaskState.DEPENDENCY_FAILED: "A prerequisite did not succeed.",
    TaskState.TIMED_OUT: "An execution took longer than `timeout_s`, and no attempt was left.",
    TaskState.LOST: "Its worker died, and no attempt was left. The `exit_status` of such a plan in the "
    "history is `failed`, as the plan returns to the queue, or `unknown` if the manager had died as well.",
    TaskState.CANCELLED: "Cancelled, also if the execution had a result all the same.",
    TaskState.ABORTED: "A plan that was aborted.",
    TaskState.HALTED: "A plan that was halted.",
    TaskState.EXPIRED: "Not started, or not started again, within its time to live.",
    TaskState.SUPERSEDED: "Replaced by a newer task with the same key.",
}

_RULES = """\
## Rules

- **Attempts.** Each hand-over to a worker has a lease epoch; reports of an older one change nothing. An
  execution counts as an attempt, unless it was given back before it began or stopped for a pause. The
  death of a worker uses an attempt, that of the manager does not. What may be repeated waits for its
  delay as `pending`.
- **Stopping.** A running task is told to stop (`cancelling`); after `kill_after_s` its worker is killed.
  A cancellation is stronger than a time-out, a time-out is stronger than a pause. A pause only asks.
- **Time-outs.** `timeout_s` counts from when the execution began, also where the worker could not tell so
  (code that keeps the interpreter's lock). An execution that took longer has timed out, whatever it
  returned.
- **In the environment** (`where: environment`) a task can only be told to stop: it listens or not. The
  worker is not killed for it, as it holds the instrument. One that does not listen stays `cancelling`
  until it ends by itself, and has its place as long; `state_reason` says that its time is over,
  `duration` since when it runs.
- **Waiting.** `wait_reason` of what does not run is `slot` (all places are taken, by a paused plan, too),
  `run_after`, `backoff`, `rate_limit`, `limit:SCOPE/NAME`, `resource_lock:NAME`, `no_worker`,
  `environment_closed`, `queue_stopped`, `dependencies`, `children` or `paused`.
- **Transitions.** Each has `from` and `to`; where these are the same, `stage` is what has changed. `outcome`
  says how an execution ended after which the task goes on: `failed`, `retry` (it asked for another
  attempt), `timed_out`, `lost`, `returned` (it had not begun) or `interrupted` (for a pause). Those of
  plans, functions and scripts come from their records.
- **Families.** Cancellation and expiry reach all descendants. A parent that ends without success takes
  its children with it; children outlive a failed attempt of their parent. With `fail_fast` a parent fails
  with its first child that does not succeed, and the other children are cancelled.
- **Dependents.** Only success satisfies. By the policy `cancel` a dependent ends as `dependency_failed`,
  by `ignore` it goes on. The `last_error` of what fails through another task names that one: its `type` is
  `DependencyFailed` or `ChildFailed`.
- **Keys.** Of one type, one active task stands for a key. One that is being stopped for good does not any
  longer; its successor waits for its end. A running task of which a duplicate asked for another run
  begins anew when it ends, whatever its end; a cancellation forgets that. Each run counts its attempts
  from 1, as does the new task of `task_retry`: in `attempts`, `run` tells the runs of a task apart.
- **Time to live.** It bounds the time before a start, also between attempts, and is not stopped by a
  pause.
"""


def page() -> str:
    """Return the page in Markdown."""
    rows = [f"| `{s}` | {STATE_CLASS[s]} | {_MEANING[s]} |" for s in TaskState]
    table = ["| state | class | |", "|---|---|---|", *rows]
    return "\n".join([_INTRODUCTION, *table, "", _RULES])


if __name__ == "__main__":
    sys.stdout.write(page())
