"""The first process of the daemon: starts the manager and the workers, reaps them, restarts the manager.

It does little else, so that there is little that can fail in it: workers are its children and go on when the
manager dies. As the main process of a service it also tells the service manager how the daemon is. To stay
small it imports a few modules of the standard library only.

The manager inherits one end of a socket pair. Messages are lines of JSON:

=============  ====================================================  ======================================
from           message                                               meaning
=============  ====================================================  ======================================
supervisor     ``hello`` restarts, boot_id, children                 first message to each manager
supervisor     ``spawned`` id, pid or error                          answer to ``spawn``
supervisor     ``exited`` pid, returncode                            a worker ended (negative: by a signal)
supervisor     ``stop`` signal                                       leave in an orderly way
supervisor     ``leave``                                             end, leave workers alone
manager        ``heartbeat`` status                                  once a second; the state as text
manager        ``spawn`` id, argv, env, cwd                          start a worker
manager        ``workers`` leave                                     whether workers outlive the daemon
manager        ``stopping``                                          the end of the manager is intended
manager        ``quiet``                                             write nothing but what goes wrong
=============  ====================================================  ======================================
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time

from remanager.daemon.channel import Channel, Message
from remanager.daemon.journal_stream import NOTICE, WARNING, is_journal, say
from remanager.daemon.notify import Notifier

EXIT_CONFIGURATION = 2
"""Exit code of a manager that can not start until somebody changes something: it is not restarted."""

_ENDED_CHILDREN_KEPT = 64
_FRUITLESS_STARTS = 3
_LONGEST_WAIT_S = 3600.0
_BACK_OFF_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)


class Timing:
    """How long (s) the supervisor waits for what.

    Parameters
    ----------
    start_s : float
        From the start of a manager to its first heartbeat. With a hundred thousand tasks queued it takes
        some seconds, on a busy machine ten times as long.
    silence_s : float
        From one heartbeat to the next.
    stop_s : float
        From the request to stop to the manager's end.
    again_s : float
        From the first signal to stop to one that counts as another: some senders signal a process and its
        group at the same moment.
    workers_s : float
        From SIGTERM to SIGKILL for workers that are left at the end.
    healthy_s : float
        A manager that lived so long is restarted without delay when it dies.
    """

    __slots__ = ("again_s", "healthy_s", "silence_s", "start_s", "stop_s", "workers_s")

    def __init__(
        self,
        start_s: float = 180.0,
        silence_s: float = 6.0,
        stop_s: float = 8.0,
        workers_s: float = 2.0,
        healthy_s: float = 30.0,
        again_s: float = 1.0,
    ) -> None:
        self.start_s = start_s
        self.silence_s = silence_s
        self.stop_s = stop_s
        self.workers_s = workers_s
        self.healthy_s = healthy_s
        self.again_s = again_s


def _log(text: str, priority: int = WARNING) -> None:
    if is_journal(2):  # which notes the time
        say(f"remanager supervisor: {text}", priority)
        return
    now = time.time()
    stamp = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))}.{int(now % 1 * 1000):03d}"
    say(f"[{'W' if priority == WARNING else 'I'} {stamp} remanager.supervisor] {text}")


def _describe_exit(returncode: int) -> str:
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"died of {signal.Signals(-returncode).name}"
    except ValueError:
        return f"died of signal {-returncode}"


class Supervisor:
    """Runs one manager at a time, and the workers that it asks for, until the end.

    Parameters
    ----------
    command : list of str
        Command of the manager; ``--supervisor-fd N`` and ``argv`` are appended.
    argv : list of str
        Arguments for the manager.
    timing : Timing
        Waiting times.
    notifier : Notifier
        Tells the service manager.
    """

    def __init__(self, command: list[str], argv: list[str], timing: Timing, notifier: Notifier) -> None:
        self._command = command
        self._argv = argv
        self._timing = timing
        self._notifier = notifier
        self._boot_id = os.urandom(16).hex()
        self._selector = selectors.DefaultSelector()
        self._manager: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._ended: dict[int, int] = {}
        self._restarts = 0
        self._crashes = 0
        self._ever_healthy = False
        self._healthy_since: float | None = None
        self._deadline = 0.0
        self._stopping = False
        self._replacing = False
        self._leave_workers = False
        self._quiet = False
        self._asked_to_stop: float | None = None
        self._killed = False
        self._result: int | None = None

    # -------------------------------------------------------------------------------------- main loop

    def run(self) -> int:
        """Run until the manager ends for good; return the exit code of the daemon."""
        woken, wakes = socket.socketpair()
        woken.setblocking(False)
        wakes.setblocking(False)
        self._selector.register(woken, selectors.EVENT_READ)
        old_wakeup = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        # The handlers do nothing: the numbers of the signals arrive through the wake-up descriptor.
        caught = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        old_handlers = [(number, signal.signal(number, lambda *_: None)) for number in caught]
        try:
            self._start_manager()
            while self._result is None:
                self._wait(woken)
            return self._result
        finally:
            self._end_processes(woken)
            for number, handler in old_handlers:
                signal.signal(number, handler)
            signal.set_wakeup_fd(old_wakeup)
            self._selector.close()
            woken.close()
            wakes.close()
            self._notifier.close()

    def _wait(self, woken: socket.socket) -> None:
        """Wait for one round of events, then look at the deadline."""
        timeout = min(max(0.0, self._deadline - time.monotonic()), _LONGEST_WAIT_S)
        for key, _ in self._selector.select(timeout):
            if key.fileobj is woken:
                for number in self._take_signals(woken):
                    self._on_signal(number)
            elif self._channel is not None and key.fileobj is self._channel.connection:
                self._channel.flush()
                self._read_channel()
        self._watch_channel()
        # Messages first: after a pause of this very process the heartbeats are there, but late.
        if self._result is None and time.monotonic() >= self._deadline:
            self._on_deadline()

    @staticmethod
    def _take_signals(woken: socket.socket) -> bytes:
        try:
            return woken.recv(4096)
        except BlockingIOError:
            return b""

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number == signal.SIGHUP:
            self._replace_manager()
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._stop(number)

    def _stop(self, number: int) -> None:
        if self._manager is None:
            self._result = 0
        elif self._asked_to_stop is None:
            self._asked_to_stop = time.monotonic()
            self._expect_stop()
            if self._channel is not None:
                self._channel.send({"op": "stop", "signal": number})
        elif time.monotonic() - self._asked_to_stop >= self._timing.again_s:
            _log("asked to stop again: the manager is killed")
            self._kill_manager()

    def _expect_stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._notifier.stopping()
            self._deadline = time.monotonic() + self._timing.stop_s

    def _replace_manager(self) -> None:
        """Have the manager leave and start another one: new code and settings, the same workers."""
        if self._channel is None or self._stopping or self._replacing or self._killed:
            return
        self._replacing = True
        self._notifier.reloading()
        self._deadline = time.monotonic() + self._timing.stop_s
        self._channel.send({"op": "leave"})

    def _on_deadline(self) -> None:
        """Act on what did not happen in time."""
        if self._manager is None:
            self._start_manager()
            return
        if self._stopping or self._replacing:
            _log(f"the manager did not stop within {self._timing.stop_s:g} s: it is killed")
        elif self._healthy_since is None:
            _log(f"the manager did not start within {self._timing.start_s:g} s: it is killed")
        else:
            _log(f"the manager sent no heartbeat for {self._timing.silence_s:g} s: it is killed")
        self._kill_manager()

    def _note(self, text: str) -> None:
        """Write what is no fault."""
        if not self._quiet:
            _log(text, NOTICE)

    # -------------------------------------------------------------------------------------- manager

    def _start_manager(self) -> None:
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours, _log)
        self._selector.register(ours, selectors.EVENT_READ)
        children: list[Message] = [{"pid": pid, "returncode": None} for pid in self._workers]
        children += [{"pid": pid, "returncode": code} for pid, code in self._ended.items()]
        self._channel.send(
            {"op": "hello", "restarts": self._restarts, "boot_id": self._boot_id, "children": children}
        )
        argv = [*self._command, "--supervisor-fd", str(theirs.fileno()), *self._argv]
        self._healthy_since = None
        self._killed = self._replacing = self._quiet = False
        self._deadline = time.monotonic() + self._timing.start_s
        try:
            # In a session of its own: Ctrl-C in a terminal reaches this process alone, which stops in order.
            self._manager = subprocess.Popen(
                argv, pass_fds=(theirs.fileno(),), start_new_session=True, stdin=subprocess.DEVNULL
            )
        except OSError as exc:
            self._close_channel()
            self._plan_restart(f"could not be started: {exc}", returncode=1)
        finally:
            theirs.close()

    def _kill_manager(self) -> None:
        if self._manager is not None:
            self._killed = True
            self._deadline = float("inf") if self._stopping else time.monotonic() + self._timing.start_s
            _signal_session(self._manager.pid, signal.SIGKILL)

    def _on_manager_exit(self, returncode: int) -> None:
        self._manager = None
        self._read_channel()  # its last words
        self._close_channel()
        if self._replacing and not self._stopping:
            self._note("the manager is replaced")
            self._restarts += 1
            self._start_manager()
        elif self._stopping or returncode == 0:
            self._result = 0 if returncode == 0 else max(returncode, 1)
        else:
            self._plan_restart(_describe_exit(returncode), returncode)

    def _plan_restart(self, what: str, returncode: int) -> None:
        """Decide what follows a manager that ended without being asked to."""
        now = time.monotonic()
        if self._healthy_since is not None and now - self._healthy_since >= self._timing.healthy_s:
            self._crashes = 0
        self._crashes += 1
        hopeless = returncode == EXIT_CONFIGURATION or self._crashes >= _FRUITLESS_STARTS
        if hopeless and not self._ever_healthy:
            if returncode != EXIT_CONFIGURATION:  # then it has said what is wrong
                _log(f"the manager {what} and never ran: it is not restarted")
            self._result = max(returncode, 1)
            return
        delay = _BACK_OFF_S[min(self._crashes, len(_BACK_OFF_S)) - 1]
        self._restarts += 1
        self._deadline = now + delay
        _log(f"the manager {what}: restart {self._restarts} in {delay:g} s")
        self._notifier.status(f"the manager {what} and is restarted")

    # -------------------------------------------------------------------------------------- messages

    def _read_channel(self) -> None:
        while self._channel is not None:
            messages = self._channel.receive()
            if messages is None:
                # Without the channel no heartbeat will come: the deadline ends a manager that lost it.
                self._close_channel()
                return
            if not messages:
                return
            for message in messages:
                self._on_message(message)

    def _on_message(self, message: Message) -> None:
        op = message.get("op")
        if op == "heartbeat":
            self._on_heartbeat(str(message.get("status", "")))
        elif op == "spawn":
            self._spawn(message)
        elif op == "workers":
            self._leave_workers = message.get("leave") is True
        elif op == "stopping":
            if not self._replacing:
                self._expect_stop()
        elif op == "quiet":
            self._quiet = True
        else:
            _log(f"unknown message {op!r}")

    def _on_heartbeat(self, status: str) -> None:
        now = time.monotonic()
        if self._healthy_since is None:
            self._healthy_since = now
            self._ever_healthy = True
            self._notifier.ready()
        if not (self._stopping or self._replacing or self._killed):
            self._deadline = now + self._timing.silence_s
            self._notifier.status(status)
            self._notifier.alive()

    def _watch_channel(self) -> None:
        if self._channel is not None:
            writing = selectors.EVENT_WRITE if self._channel.waits_to_send else 0
            self._selector.modify(self._channel.connection, selectors.EVENT_READ | writing)

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._selector.unregister(self._channel.connection)
            self._channel.connection.close()
            self._channel = None

    # -------------------------------------------------------------------------------------- workers

    def _spawn(self, message: Message) -> None:
        answer: Message = {"op": "spawned", "id": message.get("id")}
        try:
            if self._stopping or self._manager is None:
                raise OSError("the daemon is stopping")
            worker = subprocess.Popen(
                message["argv"],  # type: ignore[call-overload]
                env=message.get("env"),
                cwd=message.get("cwd"),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._workers[worker.pid] = worker
            answer["pid"] = worker.pid
        except (OSError, ValueError, TypeError, KeyError) as exc:
            answer["error"] = f"{type(exc).__name__}: {exc}"
        if self._channel is not None:
            self._channel.send(answer)

    def _reap(self) -> None:
        """Collect every child that has ended, orphans of workers included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            returncode = os.waitstatus_to_exitcode(status)
            if self._manager is not None and pid == self._manager.pid:
                self._manager.returncode = returncode
                self._on_manager_exit(returncode)
            elif pid in self._workers:
                self._workers.pop(pid).returncode = returncode
                self._on_worker_exit(pid, returncode)

    def _on_worker_exit(self, pid: int, returncode: int) -> None:
        if returncode < 0:
            # Helpers of a worker that was killed would hold on to its devices.
            _signal_session(pid, signal.SIGKILL)
        self._ended[pid] = returncode
        if len(self._ended) > _ENDED_CHILDREN_KEPT:
            del self._ended[next(iter(self._ended))]
        if self._channel is not None:
            self._channel.send({"op": "exited", "pid": pid, "returncode": returncode})

    def _end_processes(self, woken: socket.socket) -> None:
        """Leave no process behind, except workers that shall outlive the daemon."""
        self._close_channel()
        if self._manager is not None:
            self._stopping = True
            self._kill_manager()
        if self._leave_workers:
            if self._workers:
                self._note(f"workers go on: {' '.join(map(str, self._workers))}")
            self._workers.clear()
        sessions = list(self._workers)
        hurried = self._killed
        for pid in sessions:
            _signal_session(pid, signal.SIGKILL if hurried else signal.SIGTERM)
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + self._timing.workers_s
            while (self._workers or self._manager is not None) and time.monotonic() < deadline:
                self._selector.select(max(0.0, deadline - time.monotonic()))
                if any(n in (signal.SIGTERM, signal.SIGINT) for n in self._take_signals(woken)):
                    break
                self._reap()
            if number == signal.SIGTERM:
                for pid in sessions:
                    _signal_session(pid, signal.SIGKILL)


def _signal_session(pid: int, number: int) -> None:
    """Send a signal to the process group of a child that leads its own session."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # nobody is left in it


def run(argv: list[str], manager_command: list[str] | None = None, timing: Timing | None = None) -> int:
    """Supervise a manager until it ends for good.

    Parameters
    ----------
    argv : list of str
        Arguments for the manager.
    manager_command : list of str, optional
        Command of the manager instead of ``python -m remanager start``.
    timing : Timing, optional
        Waiting times.

    Returns
    -------
    int
        Exit code: 0 after an orderly end, 2 if the manager refuses its options, addresses or store,
        1 if it had to be killed or can not run.
    """
    command = manager_command or [sys.executable, "-P", "-m", "remanager", "start"]
    return Supervisor(command, argv, timing or Timing(), Notifier.taken_from(os.environ)).run()
