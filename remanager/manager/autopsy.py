"""What is known of a worker that died: kept for whoever wants to find out why."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from remanager.manager.ledger import Batch
from remanager.manager.ports import Clock, ReadConsole
from remanager.manager.state import State, WorkerRecord

if TYPE_CHECKING:
    from remanager.manager.tasks import RunningTask

SETTING = "worker_autopsies"
KEPT = 20
"""How many autopsies are kept."""

CONSOLE_LINES = 30
MAX_LINE_CHARS = 500
_PIECES = 300
"""Pieces of console output that are searched for the last lines."""

_END = 2**62


class Autopsies:
    """Writes down what is known of workers that ended unexpectedly; the last ones survive a restart.

    Parameters
    ----------
    state : State
        The manager's state, as the worker left it.
    clock : callable
        Wall clock, s.
    read_console : callable
        Reads the console output of manager and worker.
    stored : sequence of dict
        Autopsies of former lives, oldest first.

    Attributes
    ----------
    tasks : mapping
        Functions and scripts that run in the environment, by UID.
    """

    def __init__(
        self, state: State, clock: Clock, read_console: ReadConsole, stored: Sequence[dict[str, Any]]
    ) -> None:
        self._state = state
        self._clock = clock
        self._read_console = read_console
        self._all = list(stored)[-KEPT:]
        self._first = 1  # the first piece of output since the worker was started, or the manager
        self.tasks: Mapping[str, RunningTask] = {}

    def all(self) -> list[dict[str, Any]]:
        """Return the autopsies, newest first."""
        return self._all[::-1]

    def worker_starts(self) -> None:
        """Take what is written from now on for the output of a new worker."""
        self._first = self._read_console(_END, 0).next_seq

    def record(
        self, batch: Batch, worker: WorkerRecord, returncode: int | None, msg: str, crash: str
    ) -> None:
        """Write an autopsy, before anything that the worker left behind is closed.

        Parameters
        ----------
        batch : Batch
            Transaction to write to.
        worker : WorkerRecord
            The worker that ended.
        returncode : int or None
            Exit code, negative for a signal, None if it is not known.
        msg : str
            The same for people.
        crash : str
            The stacks of its threads, if it left any.
        """
        state, now = self._state, self._clock()
        known = state.worker_state
        running = state.running
        autopsy = {
            "time": now,
            "worker_uid": worker.uid,
            "pid": worker.pid,
            "returncode": returncode,
            "signal": _signal_name(returncode),
            "msg": msg,
            "traceback": crash,
            "manager_state": state.manager_state.value,
            "running_item_uid": running.uid if running else None,
            "running_item_name": running.item.get("name") if running else None,
            "running_item_time_s": now - running.time_start if running else None,
            "running_task_uid": state.running_task_uid,
            "running_tasks": [
                {"task_uid": t.uid, "name": t.name, "background": t.background} for t in self.tasks.values()
            ],
            "background_tasks": known.background_tasks if known else 0,
            "open_run_uids": [r["uid"] for r in known.run_list if r["is_open"]] if known else [],
            "progress": state.progress_dict(),
            "rss_bytes": worker.rss_bytes,
            "heartbeat_age_s": now - worker.last_heartbeat if worker.last_heartbeat else None,
            "console": self._last_lines(),
        }
        self._all = [*self._all, autopsy][-KEPT:]
        batch.setting(SETTING, self._all)
        batch.event("worker_autopsy", running.uid if running else None, **autopsy)

    def _last_lines(self) -> list[str]:
        end = self._read_console(_END, 0).next_seq
        page = self._read_console(max(end - _PIECES, self._first), _PIECES)
        # What workers of the pool write does not tell of this one.
        # Backslashes instead of lone surrogates: the store takes proper text only.
        text = (
            "".join(m.text for m in page.messages if m.worker_uid is None)
            .encode("utf-8", "backslashreplace")
            .decode()
        )
        return [line[:MAX_LINE_CHARS] for line in text.splitlines()[-CONSOLE_LINES:]]


def _signal_name(returncode: int | None) -> str | None:
    if returncode is None or returncode >= 0:
        return None
    number = -returncode
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)
