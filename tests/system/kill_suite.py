"""What the kill suite is made of: tasks to submit, processes to kill, and what must hold afterwards."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import zmq
from system_harness import ROOT, Daemon, function

TASKS = Path(__file__).parent / "tasks"
RUNS = "runs"
PAGE = 1000
ALL = {"all": True}

ACTIVE = frozenset(("pending", "blocked", "paused", "running", "waiting_children"))
SUCCEEDS = frozenset(("completed",))
"""States in which a task with retries may end."""

ENDS: Mapping[str, frozenset[str]] = {
    "steady": SUCCEEDS,
    "gentle": SUCCEEDS,
    "flaky": SUCCEEDS,
    "once": frozenset(("completed", "lost")),
    "hopeless": frozenset(("dead_letter", "lost")),
    "broken": frozenset(("failed",)),
    "nothing_to_do": frozenset(("skipped",)),
    "family": SUCCEEDS,
}

Task = dict[str, Any]
Run = tuple[int, int, bool]
"""Lease epoch, attempt, and whether it finishes a parent."""


def make_options(directory: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return options and variables of a daemon that runs the tasks of this suite."""
    words = ("--task-modules", "kill_tasks", "--task-paths", str(TASKS), "--task-workers", "2")
    return words, {"KILL_TASKS_DIR": str(directory)}


# ------------------------------------------------------------------------------------ work


class Work:
    """Makes tasks at random, and submits them whatever happens.

    Parameters
    ----------
    daemon : Daemon
        Where they go.
    rng : random.Random
        The seed of everything.
    """

    def __init__(self, daemon: Daemon, rng: random.Random) -> None:
        self._daemon = daemon
        self._rng = rng
        self._number = 0
        self._unanswered: dict[int, tuple[zmq.Socket[bytes], bytes]] = {}
        self.accepted: list[str] = []
        self.cancelled: set[str] = set()
        self.schedules: list[str] = []

    def _make(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return item and options of a task."""
        rng = self._rng
        self._number += 1
        options: dict[str, Any] = {"key": f"k{self._number}", "priority": rng.randrange(120, 136)}
        item = rng.choices(
            [
                function("steady", rng.choice([0.0, 0.0, 0.001, 0.01, 0.05])),
                function("gentle", rng.choice([0.0, 0.01])),
                function("flaky", rng.randrange(1, 5)),
                function("once", rng.choice([0.0, 0.01])),
                function("hopeless"),
                function("broken"),
                function("nothing_to_do"),
                function("family", [["steady", 0.01], ["flaky", 1], ["gentle", 0.0]][: rng.randrange(1, 4)]),
                function("steady", 0.3),
            ],
            [10, 4, 6, 4, 2, 2, 2, 3, 1],
        )[0]
        if self.accepted and rng.random() < 0.3:
            newest = self.accepted[-20:]
            options["depends_on"] = rng.sample(newest, min(len(newest), rng.randrange(1, 4)))
            options["on_dependency_failure"] = rng.choice(["cancel", "ignore"])
        return item, options

    def submit_batch(self, count: int) -> None:
        """Submit tasks and wait for the answer."""
        made = [self._make() for _ in range(count)]
        entries = [{"item": item, "options": options} for item, options in made]
        reply = self._daemon.client.ok("task_submit_batch", items=entries, **ROOT)
        for result in reply["results"]:
            self._accept(result)

    def add_schedules(self) -> None:
        """Begin schedules."""
        for recurring in (
            {"interval_s": 0.1},
            {"interval_s": 0.2, "mode": "fixed_rate"},
            {"interval_s": 0.2, "mode": "fixed_rate", "catch_up": "one"},
        ):
            item = function("steady", 0.01)
            reply = self._daemon.client.ok("schedule_add", item=item, recurring=recurring, **ROOT)
            self.schedules.append(reply["schedule_uid"])

    def end_schedules(self) -> None:
        """Check that each schedule has counted its tasks, and end it."""
        ask = self._daemon.client.ok
        for uid in self.schedules:
            ask("schedule_pause", schedule_uid=uid)
        found = {s["schedule_uid"]: s for s in ask("schedule_list")["schedules"]}
        assert sorted(found) == sorted(self.schedules)
        for uid in self.schedules:
            total = ask("task_count", selector={"schedule_uid": uid})["total"]
            assert total == found[uid]["execution_count"] > 0, found[uid]
            ask("schedule_cancel", schedule_uid=uid)

    def cancel_some(self, count: int) -> None:
        """Cancel tasks, most of which have not ended."""
        uids = self._rng.sample(self.accepted[-3 * count :], count)
        reply = self._daemon.client.ok("task_cancel", task_uid=uids)
        self.cancelled.update(reply["cancelled"], reply["cancelling"], reply["cascaded"])

    def send_single(self, count: int) -> None:
        """Submit tasks one by one and wait for nothing."""
        socket = self._daemon.client.context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(self._daemon.control)
        for _ in range(count):
            item, options = self._make()
            request = json.dumps(
                {"method": "task_submit", "params": {"item": item, "options": options, **ROOT}}
            ).encode()
            self._unanswered[self._number] = socket, request
            socket.send_multipart([b"", request])

    def collect(self) -> None:
        """Take the answers; submit again what has none."""
        for socket in {socket for socket, _ in self._unanswered.values()}:
            # Answers come in the order of the requests; a killed manager leaves the last ones unanswered.
            numbers = [n for n, (s, _) in self._unanswered.items() if s is socket]
            for number in numbers:
                if not socket.poll(200):
                    break
                reply = json.loads(socket.recv_multipart()[1])
                self._accept(reply)
                del self._unanswered[number]
            socket.close()
        for number, (_, request) in list(self._unanswered.items()):
            self._accept(json.loads(self._daemon.client.send_raw(request, 30.0)))
            del self._unanswered[number]

    def _accept(self, result: Mapping[str, Any]) -> None:
        assert result["success"], result["msg"]
        self.accepted.append(result["task_uid"] or result["existing_task_uid"])


# ------------------------------------------------------------------------------------ killing


def pool_workers(daemon: Daemon) -> list[psutil.Process]:
    """The processes of the pool."""
    return [p for p in daemon.processes() if "remanager.worker.pool" in p.cmdline()]


def kill_manager(daemon: Daemon, _rng: random.Random) -> None:
    daemon.kill_manager()


def kill_worker(daemon: Daemon, rng: random.Random) -> None:
    workers = pool_workers(daemon)
    if workers:
        victim = rng.choice(workers)
        victim.kill()
        psutil.wait_procs([victim], 10)


def kill_both(daemon: Daemon, rng: random.Random) -> None:
    """Kill the manager and some or all workers of the pool; nobody is restarted in between."""
    assert daemon.process is not None
    supervisor, manager, workers = psutil.Process(daemon.process.pid), daemon.manager(), pool_workers(daemon)
    supervisor.suspend()
    victims = [manager, *rng.sample(workers, rng.randrange(len(workers) + 1))]
    rng.shuffle(victims)
    for victim in victims:
        victim.kill()
    supervisor.resume()
    psutil.wait_procs(victims, 10)
    daemon.wait_answer()


def kill_everything(daemon: Daemon, _rng: random.Random) -> None:
    daemon.kill_all()
    daemon.start()


KILLS: tuple[Callable[[Daemon, random.Random], None], ...] = (
    kill_manager,
    kill_worker,
    kill_both,
    kill_everything,
)


# ------------------------------------------------------------------------------------ what must hold


@dataclass
class Runs:
    """What the tasks wrote down."""

    begun: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    ended: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    order: dict[tuple[str, str, int], int] = field(default_factory=dict)
    overlaps: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, directory: Path) -> Runs:
        """Read the file."""
        runs = cls()
        for number, text in enumerate((directory / RUNS).read_text().splitlines()):
            line = json.loads(text)
            uid, run = line["uid"], (line["epoch"], line["attempt"], line["finishing"])
            if line["what"] == "overlap":
                runs.overlaps.append(uid)
                continue
            (runs.begun if line["what"] == "begin" else runs.ended)[uid].append(run)
            runs.order[line["what"], uid, line["epoch"]] = number
        return runs


def all_tasks(daemon: Daemon) -> dict[str, Task]:
    """Return the records of all tasks, page by page."""
    found: dict[str, Task] = {}
    cursor = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        reply = daemon.client.ok("task_list", limit=PAGE, **more)
        found.update({t["task_uid"]: t for t in reply["tasks"]})
        cursor = reply["next_cursor"]
        if cursor is None:
            assert reply["total"] == len(found)
            return found


def check_sums(daemon: Daemon) -> int:
    """Numbers by any value add up to the total, also while tasks run; return the total."""
    total = 0
    for by in ("state", "class", "task_type", "user"):
        reply = daemon.client.ok("task_count", group_by=by)
        total = reply["total"]
        assert sum(c["count"] for c in reply["counts"]) + reply["others"] == total
    return total


def check_states(tasks: Mapping[str, Task], work: Work) -> None:
    """Every accepted task is there, and all have ended as they had to."""
    assert set(work.accepted) <= tasks.keys()
    for uid, task in tasks.items():
        state, name = task["state"], task["name"]
        if uid in work.cancelled or task["parent_uid"] in work.cancelled:
            assert state == "cancelled" or uid not in work.cancelled, task
            continue
        failed = [n for n in task["depends_on"] if tasks[n]["state"] not in ("completed", "skipped")]
        if failed and task["on_dependency_failure"] == "cancel":
            assert state == "dependency_failed", (task, failed)
        else:
            assert state in ENDS[name], task


def check_runs(tasks: Mapping[str, Task], runs: Runs) -> None:
    """No task ran twice at once, none without an attempt, none before what it needs."""
    assert not runs.overlaps
    assert runs.begun.keys() <= tasks.keys()
    for uid, begun in runs.begun.items():
        task = tasks[uid]
        epochs = [epoch for epoch, _, _ in begun]
        assert epochs == sorted(set(epochs)), (task, begun)
        assert max(epochs) <= task["lease_epoch"], (task, begun)
        attempts = [attempt for _, attempt, finishing in begun if not finishing]
        assert attempts == sorted(set(attempts)), (task, begun)
        assert max(attempt for _, attempt, _ in begun) <= task["attempt"], (task, begun)
        if task["state"] == "completed":
            assert begun[-1] in runs.ended[uid], (task, begun, runs.ended[uid])
        first = runs.order["begin", uid, epochs[0]]
        for needed in task["depends_on"]:
            if tasks[needed]["state"] == "completed":
                last = runs.ended[needed][-1]
                assert runs.order["end", needed, last[0]] < first, (task, needed)
    for uid, task in tasks.items():
        assert (uid in runs.begun) or task["state"] in ("lost", "dependency_failed", "cancelled"), task


def check_children(tasks: Mapping[str, Task], runs: Runs) -> None:
    """A parent finished after its children."""
    for uid, task in tasks.items():
        parent = task["parent_uid"]
        if parent is None or tasks[parent]["state"] != "completed":
            continue
        finishing = [epoch for epoch, _, finishing in runs.begun[parent] if finishing]
        assert finishing, tasks[parent]
        assert runs.order["end", uid, runs.ended[uid][-1][0]] < runs.order["begin", parent, finishing[-1]]


def check_schedules(tasks: Mapping[str, Task], schedules: Iterable[str]) -> None:
    """Of the tasks of a schedule one was active at a time."""
    for uid in schedules:
        own = sorted((t["time_created"], t["time_stop"]) for t in tasks.values() if t["schedule_uid"] == uid)
        for (_, stop), (created, _) in itertools.pairwise(own):
            assert stop <= created, own


def check_logs(daemon: Daemon, tasks: Mapping[str, Task], runs: Runs, uids: Iterable[str]) -> None:
    """Each task has one terminal record, and an attempt that nobody saw begin was lost with its worker."""
    for uid in uids:
        reply = daemon.client.ok("task_info", task_uid=uid, include=["transitions"])
        transitions = reply["transitions"]
        terminal = [t for t in transitions if t["to"] not in ACTIVE]
        assert len(terminal) == 1, transitions
        assert transitions[-1] is terminal[0], transitions
        assert terminal[0]["to"] == tasks[uid]["state"]
        seen = {attempt for _, attempt, _ in runs.begun.get(uid, ())}
        lost = {
            t["attempt"]
            for t in transitions
            if t["from"] == "running" and (t.get("error") or {}).get("type") == "WorkerLost"
        }
        begun = {t["attempt"] for t in transitions if t["to"] == "running"}
        assert seen <= begun, (transitions, runs.begun[uid])
        if tasks[uid]["state"] not in ("dependency_failed", "cancelled"):
            assert set(range(1, tasks[uid]["attempt"] + 1)) <= seen | lost, (transitions, runs.begun.get(uid))
    finished = Counter(e["task_uid"] for e in events(daemon, "task_finished"))
    assert all(number == 1 for number in finished.values()), finished.most_common(3)
    assert finished.keys() == tasks.keys()


def events(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    """Return all events of a type."""
    found: list[dict[str, Any]] = []
    since = 0
    while True:
        page = daemon.client.ok("event_list", since=since, types=[kind], limit=PAGE)
        assert since == 0 or not page["gap"]
        found += page["events"]
        if not page["events"]:
            return found
        since = page["next_seq"]
