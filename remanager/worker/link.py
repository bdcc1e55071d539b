"""The worker's end of the link to the manager: one thread that owns the socket."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import zmq
from zmq.utils.monitor import recv_monitor_message

from remanager.model.link import Ack, Heartbeat, StateChanged, Welcome, pack, unpack
from remanager.worker.outbox import Outbox
from remanager.worker.wakeup import WakeUp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remanager.model.link import Event, Hello, Message, Progress, ToManager, WorkerState
    from remanager.model.pool_messages import PoolEvent, PoolHello, PoolToManager, TaskProgress

logger = logging.getLogger(__name__)

HEARTBEAT_S = 2.0
PROGRESS_INTERVAL_S = 0.5
RECONNECT_MS = 20
RECONNECT_MAX_MS = 200
LINGER_MS = 500


class Link:
    """Sends messages to the manager and hands its commands on.

    A thread owns the ``DEALER`` socket; the other threads enqueue messages and wake it. The connection is
    watched: as soon as it is up (again), :class:`~remanager.model.link.Hello` and all events without an
    acknowledgement are sent. Events are kept while there is no connection; anything else is dropped then,
    because ``Hello`` repeats the state.

    Parameters
    ----------
    address : str
        Address of the manager's ``ROUTER`` socket.
    worker_uid : str
        Identity of this worker.
    on_message : callable
        Called in the link's thread with each message except ``Ack``; it must not block.
    hello : callable
        Called in the link's thread as ``hello(last_seq)``; returns the message that begins a connection.
    on_tick : callable
        Called in the link's thread after each round as ``on_tick(contact_age_s)``, at least every
        heartbeat; the age of the last contact with a manager is in seconds.
    on_fault : callable
        Called in the link's thread when it ends by a fault of its own.
    on_round : callable
        Called in the link's thread in each round before messages are sent: it may publish what has gathered.
        It returns after how long (s) it wants to be called again at the latest, or None.
    """

    def __init__(
        self,
        address: str,
        worker_uid: str,
        *,
        on_message: Callable[[Message], None],
        hello: Callable[[int], Hello | PoolHello],
        on_tick: Callable[[float], None],
        on_fault: Callable[[], None],
        on_round: Callable[[], float | None] = lambda: None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._address = address
        self._identity = worker_uid.encode()
        self._on_message = on_message
        self._hello = hello
        self._on_tick = on_tick
        self._on_fault = on_fault
        self._on_round = on_round
        self._heartbeat_s = heartbeat_s
        self._condition = threading.Condition()  # guards everything down to the blank line
        self._outbox = Outbox()
        self._queue: deque[ToManager | PoolToManager] = deque()
        self._connected = False
        self._progress: Progress | TaskProgress | None = None
        self._closing = False

        self._progress_due = 0.0
        self._heartbeat_due = 0.0
        self._round_due = math.inf
        self._last_contact = time.monotonic()
        self._wake = WakeUp()
        self._thread = threading.Thread(target=self._run, name="remanager-link", daemon=True)

    def start(self) -> None:
        """Connect and start the thread."""
        self._thread.start()

    def publish(self, events: Sequence[Event | PoolEvent], state: WorkerState | None = None) -> None:
        """Enqueue events and then the state that goes with them. Never blocks.

        Progress that is still held back is sent before the events. A state that follows directly on another
        unsent one replaces it.
        """
        with self._condition:
            if events:
                self.flush_progress()
            for event in events:
                self._enqueue(self._outbox.add(event))
            if state is not None:
                if self._queue and isinstance(self._queue[-1], StateChanged):
                    self._queue.pop()
                self._enqueue(StateChanged(state))
        self._wake_up()

    def send(self, message: ToManager | PoolToManager) -> None:
        """Enqueue a message that need not survive a loss of the connection."""
        with self._condition:
            self._enqueue(message)
        self._wake_up()

    def wake(self) -> None:
        """Let the link's thread make a round soon."""
        self._wake.set()

    def progress(self, progress: Progress | TaskProgress) -> None:
        """Tell how far the plan or task is; at most two messages per second are sent, the newest always."""
        with self._condition:
            first = self._progress is None
            self._progress = progress
        if first:
            self._wake.set()

    def flush_progress(self) -> None:
        """Send progress that is held back with the next messages."""
        with self._condition:
            if self._progress is not None:
                self._enqueue(self._progress)
                self._progress = None

    def close(self, timeout: float) -> bool:
        """Wait until all events are acknowledged, then close the socket and end the thread.

        Returns
        -------
        bool
            False if events were left without an acknowledgement after ``timeout`` (s).
        """
        with self._condition:
            done = self._condition.wait_for(lambda: not self._outbox.unacknowledged(), timeout)
            self._closing = True
        self._wake.set()
        self._thread.join(LINGER_MS / 1000 + 1.0)
        return done

    def _wake_up(self) -> None:
        # The link's thread itself looks at the queue before it waits again.
        if threading.get_ident() != self._thread.ident:
            self._wake.set()

    # -------------------------------------------------------------------------- only the link's thread

    def _enqueue(self, message: ToManager | PoolToManager) -> None:
        if self._connected:
            self._queue.append(message)

    def _run(self) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.IDENTITY, self._identity)
        # Nothing is handed to ZeroMQ without a connection: it would come out before the next Hello.
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        socket.connect(self._address)
        try:
            self._loop(socket, monitor)
        except Exception:
            # Deaf and mute, the worker would be of no use and nobody would know.
            logger.critical("The connection to the manager failed; the worker ends", exc_info=True)
            self._on_fault()
            raise
        finally:
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close()
            context.term()
            self._wake.close()

    def _loop(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(monitor, zmq.POLLIN)
        poller.register(self._wake.fd, zmq.POLLIN)
        poller.register(socket, zmq.POLLIN)
        while True:
            ready = dict(poller.poll(self._wait_ms()))
            if self._wake.fd in ready:
                self._wake.clear()
            if monitor in ready:
                self._take_connection_events(monitor)
            if socket in ready:
                self._receive(socket)
            self._add_timed_messages()
            wait_s = self._on_round()
            self._round_due = math.inf if wait_s is None else time.monotonic() + wait_s
            blocked = self._send_queue(socket)
            poller.register(socket, zmq.POLLIN | zmq.POLLOUT if blocked else zmq.POLLIN)
            self._on_tick(time.monotonic() - self._last_contact)
            with self._condition:
                if self._closing and not (self._queue and self._connected):
                    return

    def _wait_ms(self) -> int:
        now = time.monotonic()
        wait = min(self._heartbeat_due, self._round_due) - now
        if self._progress is not None:
            wait = min(wait, self._progress_due - now)
        # Rounded up: waking too early would only make the loop turn once more.
        return max(0, math.ceil(wait * 1000))

    def _take_connection_events(self, monitor: zmq.Socket[bytes]) -> None:
        while monitor.poll(0):
            event = recv_monitor_message(monitor)["event"]
            with self._condition:
                self._connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
                self._queue.clear()
                if self._connected:
                    self._queue.append(self._hello(self._outbox.last_seq))
                    self._queue.extend(self._outbox.unacknowledged())

    def _receive(self, socket: zmq.Socket[bytes]) -> None:
        while True:
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._last_contact = time.monotonic()
            try:
                message = unpack(frames[-1])
            except ValueError as exc:
                logger.warning("A message of the manager was dropped: %s", exc)
                continue
            if isinstance(message, Ack):
                self._acknowledge(message.seq)
                continue
            if isinstance(message, Welcome):
                self._acknowledge(message.acked_seq)
            self._on_message(message)

    def _acknowledge(self, seq: int) -> None:
        with self._condition:
            self._outbox.ack(seq)
            self._condition.notify_all()

    def _add_timed_messages(self) -> None:
        now = time.monotonic()
        with self._condition:
            if self._progress is not None and now >= self._progress_due:
                self._enqueue(self._progress)
                self._progress = None
                self._progress_due = now + PROGRESS_INTERVAL_S
            if now >= self._heartbeat_due:
                self._enqueue(Heartbeat(time.time()))
                self._heartbeat_due = now + self._heartbeat_s

    def _send_queue(self, socket: zmq.Socket[bytes]) -> bool:
        """Send what is queued; return True if the socket takes no more for now."""
        while True:
            with self._condition:
                if not self._queue:
                    return False
                message = self._queue.popleft()
            try:
                socket.send(pack(message), zmq.NOBLOCK)
            except zmq.Again:
                with self._condition:
                    # Without a connection the queue is made anew at the next Hello.
                    if self._connected:
                        self._queue.appendleft(message)
                return True
