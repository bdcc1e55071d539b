"""One daemon's side of a script: requests are sent, and what comes back is recorded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import zmq

REPLY_TIMEOUT_S = 30.0
STATE_TIMEOUT_S = 60.0
POLL_S = 0.05

EMERGENCY_KEY = "emergency"
ENDED_EARLY = "the script ended early"
"""Name of the step that a script ends with if something in it did not work."""

USER = {"user": "tester", "user_group": "primary"}

Reply = dict[str, Any]
Condition = Callable[[Reply], bool]


@dataclass(frozen=True, slots=True)
class Step:
    """A request and its answer.

    Attributes
    ----------
    method : str
        Method; empty for a frame or a message of another form.
    name : str
        Method, with a word about the request where the same method is sent more than once.
    request : object
        What was sent: the parameters, or the frame.
    reply : object
        What came back, decoded; a text that says so if nothing did.
    """

    method: str
    name: str
    request: Any
    reply: Any


class Session:
    """Sends the requests of a script to a daemon.

    Parameters
    ----------
    address : str
        Control address.
    encoding : str
        ``json`` or ``msgpack``.
    profile : Path
        The daemon's own copy of the start-up code.

    Attributes
    ----------
    steps : list of Step
        What was recorded.
    """

    def __init__(self, address: str, encoding: str, profile: Path) -> None:
        self.encoding = encoding
        self.profile = profile
        self.steps: list[Step] = []
        self._address = address
        self._context = zmq.Context()
        self._gate = profile / "gate"
        self._permissions: dict[str, Any] | None = None
        self.shut()

    def close(self) -> None:
        """End the session."""
        self._context.term()

    # ------------------------------------------------------------------------------ requests

    def call(self, method: str, note: str = "", /, **params: Any) -> dict[str, Any]:
        """Send a request, record the answer and return it."""
        reply = self._exchange(self.encode({"method": method, "params": params}))
        self.steps.append(Step(method, f"{method} {note}".strip(), params, reply))
        return reply if isinstance(reply, dict) else {}

    def message(self, name: str, message: object) -> None:
        """Send any object as a request, and record the answer."""
        self.frame(name, self.encode(message), message)

    def frame(self, name: str, frame: bytes, request: object = None) -> None:
        """Send bytes as a request, and record the answer."""
        self.steps.append(Step("", name, frame if request is None else request, self._exchange(frame)))

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request that is no part of the script.

        Raises
        ------
        RuntimeError
            It was refused.
        """
        reply = self._exchange(self.encode({"method": method, "params": params}))
        if not isinstance(reply, dict) or reply.get("success") is False:
            raise RuntimeError(f"{method}: {reply}")
        return reply

    def encode(self, message: object) -> bytes:
        """Encode a message."""
        if self.encoding == "json":
            return json.dumps(message).encode()
        packed: bytes = msgpack.packb(message)
        return packed

    def _exchange(self, frame: bytes) -> Any:
        with self._context.socket(zmq.REQ) as sock:
            sock.linger = 0
            sock.connect(self._address)
            sock.send(frame)
            if not sock.poll(int(REPLY_TIMEOUT_S * 1000)):
                return f"no answer within {REPLY_TIMEOUT_S:g} s"
            reply = sock.recv()
        try:
            return json.loads(reply) if self.encoding == "json" else msgpack.unpackb(reply)
        except ValueError:
            return f"not decodable: {reply!r:.200}"

    # ------------------------------------------------------------------------------- waiting

    def wait(self, condition: Condition) -> Reply:
        """Ask for the status until it meets a condition; nothing is recorded.

        Raises
        ------
        TimeoutError
            It did not in time.
        """
        return self._poll(condition, "the expected status did not come", "status")

    def _poll(self, condition: Condition, fault: str, method: str, /, **params: Any) -> Reply:
        """Ask until the answer meets a condition: theirs is another's process and does not tell changes."""
        end = time.monotonic() + STATE_TIMEOUT_S
        while not condition(found := self.ask(method, **params)):
            if time.monotonic() > end:
                raise TimeoutError(f"{fault}: {found}")
            time.sleep(POLL_S)
        return found

    def wait_quiet(self, **expected: object) -> Reply:
        """Wait until nothing runs or is about to, and the status has certain values."""
        return self.wait(lambda s: _is_quiet(s) and all(s[k] == v for k, v in expected.items()))

    def wait_paused(self) -> Reply:
        """Wait until the plan is paused."""
        return self.wait(lambda s: s["manager_state"] == s["re_state"] == "paused" and not s["pause_pending"])

    def wait_held(self, runs: int = 1) -> None:
        """Wait until the plan at the gate has begun its runs."""
        self.wait(lambda s: s["manager_state"] == "executing_queue" and s["re_state"] == "running")
        self._poll(lambda r: len(r["run_list"]) >= runs, "the runs did not begin", "re_runs")

    def wait_task(self, uid: str) -> None:
        """Wait until a task has ended and the worker is free again."""
        self._poll(lambda r: r["status"] == "completed", "the task did not end", "task_status", task_uid=uid)
        self.wait(lambda s: s["worker_background_tasks"] == 0)

    # ---------------------------------------------------------------------------------- gate

    def open_gate(self) -> None:
        """Let the plans and functions that wait go on."""
        self._gate.touch()

    def shut(self) -> None:
        """Let plans and functions wait from now on."""
        self._gate.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------ situations

    def ready(self) -> None:
        """Bring the daemon into a state that the script can rely on, the environment open."""
        self.clean()
        if not self.ask("status")["worker_environment_exists"]:
            self.ask("environment_open")
            if not self.wait_quiet()["worker_environment_exists"]:
                raise RuntimeError("the environment does not open")
            self.wait_quiet(re_state="idle")

    def closed(self) -> None:
        """The same, with the environment closed."""
        self.clean()
        if self.ask("status")["worker_environment_exists"]:
            self.ask("environment_close")
            self.wait_quiet(worker_environment_exists=False, worker_environment_state="closed")

    def clean(self) -> None:
        """Undo what scripts leave behind."""
        self.ask("unlock", lock_key=EMERGENCY_KEY)
        self.open_gate()
        status = self.ask("status")
        if status["manager_state"] == "paused":
            self.ask("re_halt")
        if status["manager_state"] == "executing_queue":
            self.ask("queue_stop")
        self.wait_quiet()
        self.shut()
        self.ask("queue_autostart", enable=False)
        self.ask("queue_mode_set", mode="default")
        self.ask("queue_clear")
        self.ask("history_clear")
        permissions = self.ask("permissions_get")["user_group_permissions"]
        if self._permissions is None:
            self._permissions = permissions
        if permissions != self._permissions:
            self.ask("permissions_reload")


def _is_quiet(status: Reply) -> bool:
    return (
        status["manager_state"] == "idle"
        and status["worker_environment_state"] in {"idle", "closed"}
        and status["worker_background_tasks"] == 0
        and status["running_item_uid"] is None
        and not status["pause_pending"]
    )


def plan(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the item of a plan."""
    return {"item_type": "plan", "name": name, "args": list(args), "kwargs": kwargs}


def function(name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the item of a function."""
    return {"item_type": "function", "name": name, "args": list(args), "kwargs": kwargs}


STOP = {"item_type": "instruction", "name": "queue_stop"}
"""The instruction that stops the queue."""
