"""The info socket: console output and status, published to whoever listens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import zmq

from remanager.daemon.sockets import SocketReader, ZmqContext, ZmqSocket, bind, harden
from remanager.wire.codec import Encoding, Reply, encode_reply

TOPIC_CONSOLE = "QS_Console"
TOPIC_INFO = "QS_Info"
_TOPICS = {TOPIC_CONSOLE: TOPIC_CONSOLE.encode(), TOPIC_INFO: TOPIC_INFO.encode()}


@dataclass(slots=True)
class InfoCounters:
    """What happened on the info socket since the start.

    Attributes
    ----------
    published : int
        Messages sent.
    skipped : int
        Messages that nobody listened to; they were not even encoded.
    overflows : int
        Times that the queue of a slow subscriber was full; it misses messages until it has read some.
    """

    published: int = 0
    skipped: int = 0
    overflows: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)


class InfoPublisher:
    """Publishes messages of two frames, topic and payload, on an ``XPUB`` socket.

    Parameters
    ----------
    address : str
        For example ``tcp://*:60625``.
    encoding : Encoding
        Encoding of all payloads.
    on_subscribe : callable, optional
        Called with a topic whenever somebody subscribes to it.
    queued_messages : int
        Messages that may wait for one subscriber; it misses further ones.
    context : zmq.Context, optional
        Context to use; without it the publisher makes and ends its own.
    """

    def __init__(
        self,
        address: str,
        encoding: Encoding = Encoding.JSON,
        *,
        on_subscribe: Callable[[str], None] | None = None,
        queued_messages: int = 10_000,
        context: ZmqContext | None = None,
    ) -> None:
        self.address = address
        self.counters = InfoCounters()
        self._encoding = encoding
        self._on_subscribe = on_subscribe
        self._queued_messages = queued_messages
        self._context = context
        self._own_context: ZmqContext | None = None
        self._socket: ZmqSocket | None = None
        self._reader: SocketReader | None = None
        self._prefixes: dict[str, set[bytes]] = {topic: set() for topic in _TOPICS}

    def start(self) -> None:
        """Bind the socket and begin to note subscriptions, in the running loop.

        Raises
        ------
        AddressError
            The address can not be used.
        """
        if self._context is None:
            self._context = self._own_context = zmq.Context()
        socket = self._context.socket(zmq.XPUB)
        try:
            harden(socket)
            # Every subscription is reported, not only the first one to a topic: newcomers want the status.
            socket.setsockopt(zmq.XPUB_VERBOSE, 1)
            socket.setsockopt(zmq.XPUB_NODROP, 1)
            socket.setsockopt(zmq.SNDHWM, self._queued_messages)
            socket.setsockopt(zmq.MAXMSGSIZE, 4096)
            remedy = "Is another manager running? Stop it, or choose another address with --zmq-info-addr."
            self.address = bind(socket, self.address, what="info", remedy=remedy)
        except BaseException:
            socket.close(linger=0)
            self._end_context()
            raise
        self._socket = socket
        self._reader = SocketReader(socket, self._on_subscription)
        self._reader.start()

    async def close(self, linger_ms: int = 200) -> None:
        """Close the socket; messages may take ``linger_ms`` (ms) to leave."""
        if self._socket is None:
            return
        if self._reader is not None:
            self._reader.stop()
        self._socket.close(linger=linger_ms)
        self._socket = None
        await asyncio.to_thread(self._end_context)

    def _end_context(self) -> None:
        if self._own_context is not None:
            self._own_context.term()
            self._context = self._own_context = None

    # -------------------------------------------------------------------------------------- subscriptions

    def has_subscribers(self, topic: str) -> bool:
        """Tell whether anybody listens to a topic."""
        return bool(self._prefixes[topic])

    def _on_subscription(self, frames: list[bytes]) -> None:
        frame = frames[0]
        if len(frames) != 1 or frame[:1] not in (b"\x00", b"\x01"):
            return
        prefix = frame[1:]
        for topic, name in _TOPICS.items():
            # Prefixes of other topics are not kept: a client could send any number of them.
            if not name.startswith(prefix):
                continue
            if frame[0]:
                self._prefixes[topic].add(prefix)
                if self._on_subscribe is not None:
                    self._on_subscribe(topic)
            else:
                self._prefixes[topic].discard(prefix)

    # -------------------------------------------------------------------------------------- messages

    def publish_console(self, text: str, when: float) -> None:
        """Publish a piece of console output, written at ``when`` (epoch seconds)."""
        self._publish(TOPIC_CONSOLE, text, when)

    def publish_status(self, status: Reply, when: float | None = None) -> None:
        """Publish the manager's status."""
        self._publish(TOPIC_INFO, {"status": status}, when)

    def publish_info(self, msg: Mapping[str, object], when: float | None = None) -> None:
        """Publish other news, for example ``{"task_event": {...}}``."""
        self._publish(TOPIC_INFO, msg, when)

    def _publish(self, topic: str, msg: object, when: float | None) -> None:
        socket, reader = self._socket, self._reader
        if socket is None or reader is None:
            return
        if not self._prefixes[topic]:
            self.counters.skipped += 1
            return
        payload = encode_reply({"time": time.time() if when is None else when, "msg": msg}, self._encoding)
        frames = (_TOPICS[topic], payload)
        if not self._try_send(socket, frames):
            # Asking for events makes libzmq notice what subscribers have read meanwhile.
            socket.getsockopt(zmq.EVENTS)
            if not self._try_send(socket, frames):
                # Some subscriber's queue is full. It alone misses this message: the others get it.
                self.counters.overflows += 1
                socket.setsockopt(zmq.XPUB_NODROP, 0)
                socket.send_multipart(frames, zmq.NOBLOCK)
                socket.setsockopt(zmq.XPUB_NODROP, 1)
        self.counters.published += 1
        reader.kick()

    @staticmethod
    def _try_send(socket: ZmqSocket, frames: tuple[bytes, bytes]) -> bool:
        try:
            socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True
