"""The worker's end of the link to the manager."""

from __future__ import annotations

import logging
import math
import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from remanager.model.link import Ack, Heartbeat, StateChanged, Welcome, pack, unpack
from remanager.worker.outbox import Outbox
from remanager.worker.stream import Lost, ManagerStream
from remanager.worker.wakeup import WakeUp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from remanager.model.link import Event, Hello, Message, Progress, ToManager, WorkerState
    from remanager.model.pool_messages import PoolEvent, PoolHello, PoolToManager, TaskProgress

logger = logging.getLogger(__name__)

HEARTBEAT_S = 2.0
PROGRESS_INTERVAL_S = 0.5
LINGER_S = 0.5
PORTION_BYTES = 1 << 16


class Link:
    """Sends messages to the manager and hands its commands on.

    A thread makes the connection, receives, and sends what is due. Events and replies are sent by the thread
    that has them, as far as the socket takes them; the rest is left to the link's thread. As soon as there is
    a connection (again), :class:`~remanager.model.link.Hello` and all events without an acknowledgement are
    sent. Events and the newest progress are kept while there is no connection; anything else is dropped
    then, because ``Hello`` repeats the state.

    Parameters
    ----------
    address : str
        Path of the manager's socket.
    worker_uid : str
        Identity of this worker.
    on_message : callable
        Called in the link's thread with each message except ``Ack``; it must not block.
    hello : callable
        Called in the link's thread as ``hello(last_seq)``, with the lock held; returns the message that
        begins a connection.
    on_tick : callable
        Called in the link's thread in each round as ``on_tick(contact_age_s)``, at least every heartbeat; the
        age of the last contact with a manager is in seconds.
    on_fault : callable
        Called in the link's thread when it ends by a fault of its own.
    on_round : callable
        Called before messages are sent, with the lock held, in each round of the link's thread and by whoever
        calls :meth:`wake`: it may publish what has gathered. It returns after how long (s) it wants to be
        called again at the latest, or None.
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
        self._on_message = on_message
        self._hello = hello
        self._on_tick = on_tick
        self._on_fault = on_fault
        self._on_round = on_round
        self._heartbeat_s = heartbeat_s
        # Taken and given back without Python code in between: no handler that raises can leave it taken.
        self._lock = threading.RLock()  # guards everything down to the blank line
        self._condition = threading.Condition(self._lock)
        self._stream = ManagerStream(address, greeting=worker_uid.encode())
        self._outbox = Outbox()
        self._queue: deque[ToManager | PoolToManager] = deque()
        self._connected = False
        self._is_sending = False
        self._is_publishing = False
        self._later: deque[tuple[Sequence[Event | PoolEvent], WorkerState | None]] = deque()
        self._progress: Progress | TaskProgress | None = None
        self._progress_due = 0.0
        self._round_due = math.inf
        self._sleeps_until = 0.0
        self._closing = False

        self._heartbeat_due = 0.0
        self._last_contact = time.monotonic()
        self._pid = os.getpid()
        self._wake = WakeUp()
        self._thread = threading.Thread(target=self._run, name="remanager-link", daemon=True)

    def start(self) -> None:
        """Connect and start the thread."""
        self._thread.start()

    def publish(self, events: Sequence[Event | PoolEvent], state: WorkerState | None = None) -> None:
        """Enqueue events and then the state that goes with them. Never blocks.

        Progress that is still held back is sent before the events. A state that follows directly on another
        unsent one replaces it; it is left to the link's thread if no event goes with it, so that states that
        follow each other closely become one message.
        """
        with self._lock:
            self._later.append((events, state))
            must_wake = self._publish_all()
        if must_wake:
            self._wake.set()

    def send(self, message: ToManager | PoolToManager) -> None:
        """Send a message that need not survive a loss of the connection. Never blocks."""
        with self._lock:
            self._enqueue(message)
            must_wake = self._send_now()
        if must_wake:
            self._wake.set()

    def wake(self) -> None:
        """Publish what has gathered, and send it."""
        with self._lock:
            self._gather()
            must_wake = self._send_now() or self._round_due < self._sleeps_until
        if must_wake:
            self._wake.set()

    def progress(self, progress: Progress | TaskProgress) -> None:
        """Tell how far the plan or task is; at most two messages per second are sent, the newest always."""
        with self._lock:
            self._progress = progress
            must_wake = self._connected and self._progress_due < self._sleeps_until
        if must_wake:
            self._wake.set()

    def close(self, timeout: float) -> bool:
        """Wait until all events are acknowledged, then close the socket and end the thread.

        Returns
        -------
        bool
            False if events were left without an acknowledgement after ``timeout`` (s).
        """
        with self._lock:
            done = self._condition.wait_for(lambda: not self._outbox.unacknowledged(), timeout)
            self._closing = True
        self._wake.set()
        self._thread.join(LINGER_S + 1.0)
        return done

    # -------------------------------------------------------------------------- with the lock held

    def _publish_all(self) -> bool:
        """Publish what is to be published; return True if the link's thread has to be woken to send it.

        The handler of a signal may publish while its thread does: it leaves that to what it has interrupted,
        so that events are sent in the order of their numbers.
        """
        must_wake = False
        while self._later and not self._is_publishing:
            self._is_publishing = True
            try:
                must_wake |= self._publish(*self._later.popleft())
            except BaseException:
                self._is_sending = True  # a numbered event may be left out: a new connection tells all again
                self._wake.set()
                raise
            finally:
                self._is_publishing = False
        return must_wake

    def _publish(self, events: Sequence[Event | PoolEvent], state: WorkerState | None) -> bool:
        """Enqueue events and a state; return True if the link's thread has to be woken to send them."""
        if events:
            self._flush_progress()
        for event in events:
            self._enqueue(self._outbox.add(event))
        if state is not None:
            if self._queue and isinstance(self._queue[-1], StateChanged):
                self._queue.pop()
            self._enqueue(StateChanged(state))
        return self._send_now() if events else not self._in_link_thread()

    def _flush_progress(self) -> None:
        """Send progress that is held back with the next messages; without a connection it is kept."""
        if self._progress is not None and self._connected:
            self._enqueue(self._progress)
            self._progress = None

    def _enqueue(self, message: ToManager | PoolToManager) -> None:
        if self._connected:
            self._queue.append(message)

    def _gather(self) -> None:
        wait_s = self._on_round()
        self._round_due = math.inf if wait_s is None else time.monotonic() + wait_s

    def _in_link_thread(self) -> bool:
        return threading.get_ident() == self._thread.ident

    def _send_now(self) -> bool:
        """Send what is queued; return True if the link's thread has to be woken for the rest.

        The link's thread itself sends at the end of its round, all in one go. A forked child shares the
        connection and must not use it.
        """
        if self._in_link_thread() or os.getpid() != self._pid:
            return False
        return not self._send_queue()

    def _send_queue(self) -> bool:
        """Send what is queued, as far as the socket takes it; return False if something is left to do."""
        if not self._connected:
            return True
        if self._is_sending:  # this is the handler of a signal, or one has broken it off
            return False
        self._is_sending = True  # and so it remains if this does not come to its end
        stream, queue = self._stream, self._queue
        try:
            sent = stream.send_rest()
            while sent and queue:
                portion = [pack(queue.popleft())]
                size = len(portion[0])
                while queue and size < PORTION_BYTES:
                    portion.append(pack(queue.popleft()))
                    size += len(portion[-1])
                sent = stream.send(*portion)
        except Lost:
            return False
        self._is_sending = False
        return sent

    # -------------------------------------------------------------------------- only the link's thread

    def _run(self) -> None:
        try:
            self._loop()
        except Exception:
            # Deaf and mute, the worker would be of no use and nobody would know.
            logger.critical("The connection to the manager failed; the worker ends", exc_info=True)
            self._on_fault()
            raise
        finally:
            self._disconnect()
            self._wake.close()

    def _loop(self) -> None:
        while True:
            if self._wait():
                self._receive()
            if self._stream.connect():
                self._greet()
            self._on_tick(time.monotonic() - self._last_contact)
            with self._lock:
                self._gather()  # first: progress of what has begun is told after its begin
                self._add_timed_messages()
                if not self._send_queue() and self._is_sending:
                    self._disconnect()
                if self._closing and not (self._connected and (self._queue or self._stream.is_blocked)):
                    return

    def _wait(self) -> bool:
        """Wait until there is something to do; return True if there is something to receive."""
        stream, poller = self._stream, select.poll()
        poller.register(self._wake.fd, select.POLLIN)
        with self._lock:
            now = time.monotonic()
            due = min(self._heartbeat_due, self._round_due, now + stream.connect_in_s)
            if self._progress is not None and self._connected:
                due = min(due, self._progress_due)
            self._sleeps_until = due
            if self._connected:
                poller.register(stream.fd, select.POLLIN | (select.POLLOUT if stream.is_blocked else 0))
        # Rounded up: waking too early would only make the loop turn once more.
        ready = poller.poll(max(0, math.ceil((due - now) * 1000)))
        self._sleeps_until = 0.0  # it will look how long it may sleep next
        received = False
        for fd, events in ready:
            if fd == self._wake.fd:
                self._wake.clear()
            else:
                received = events != select.POLLOUT
        return received

    def _greet(self) -> None:
        with self._lock:
            self._connected = True
            self._queue.append(self._hello(self._outbox.last_seq))
            self._queue.extend(self._outbox.unacknowledged())

    def _disconnect(self) -> None:
        with self._lock:
            self._connected = self._is_sending = False
            self._queue.clear()
            self._stream.close()

    def _receive(self) -> None:
        try:
            frames = self._stream.receive()
        except Lost:
            self._disconnect()
            return
        for frame in frames:
            self._last_contact = time.monotonic()
            try:
                message = unpack(frame)
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
        with self._lock:
            self._outbox.ack(seq)
            self._condition.notify_all()

    def _add_timed_messages(self) -> None:
        now = time.monotonic()
        if self._progress is not None and self._connected and now >= self._progress_due:
            self._flush_progress()
            self._progress_due = now + PROGRESS_INTERVAL_S
        if now >= self._heartbeat_due:
            self._enqueue(Heartbeat(time.time()))
            self._heartbeat_due = now + self._heartbeat_s
