"""Whichever process of the task queue is killed and whenever: no task is lost, none has two ends.

``make kill-suite`` runs the long form: ``KILL_TASKS`` tasks in ``KILL_ROUNDS`` rounds from ``KILL_SEED``.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import kill_suite as suite
import pytest
from system_harness import Daemon

TASKS = int(os.environ.get("KILL_TASKS", "300"))
ROUNDS = int(os.environ.get("KILL_ROUNDS", "4"))
SEED = int(os.environ.get("KILL_SEED", "1"))

MOST_MESSAGES = 60
"""Messages on the info socket after which a process is killed at the latest."""


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_kills_at_random(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    rng = random.Random(SEED)
    options, env = suite.make_options(tmp_path)
    daemon = make_daemon(*options, env=env)
    daemon.start()
    daemon.client.ok("task_function_list")
    work = suite.Work(daemon, rng)
    work.add_schedules()
    kills = [suite.KILLS[n % len(suite.KILLS)] for n in range(ROUNDS)]
    rng.shuffle(kills)
    share = TASKS // ROUNDS
    for kill in kills:
        with daemon.listen() as listener:
            work.submit_batch(share - share // 3)
            work.send_single(share // 3)
            work.cancel_some(share // 12)
            listener.wait_messages(rng.randrange(1, MOST_MESSAGES))
        kill(daemon, rng)
        work.collect()
        suite.check_sums(daemon)
    work.end_schedules()
    waited = daemon.client.call("task_wait", selector=suite.ALL, until="idle", timeout=60.0)
    while waited["active"]:
        waited = daemon.client.call("task_wait", selector=suite.ALL, until="idle", timeout=60.0)

    total = suite.check_sums(daemon)
    tasks = suite.all_tasks(daemon)
    assert total == len(tasks) >= TASKS // ROUNDS * ROUNDS
    runs = suite.Runs.read(tmp_path)
    suite.check_states(tasks, work)
    suite.check_runs(tasks, runs)
    suite.check_children(tasks, runs)
    suite.check_schedules(tasks, work.schedules)
    suite.check_logs(daemon, tasks, runs, tasks)
    daemon.stop()
