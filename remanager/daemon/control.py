"""The control socket: requests of many clients, none of which waits for another."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from types import CoroutineType
from typing import NamedTuple, cast

import zmq

from remanager.daemon.authentication import AuthenticatedReader, Authenticator, Identities
from remanager.daemon.sockets import (
    NOBLOCK,
    NOBLOCK_SNDMORE,
    SocketReader,
    ZmqContext,
    ZmqSocket,
    bind,
    check_curve_key,
    harden,
)
from remanager.model.errors import RemanagerError
from remanager.model.principal import LOCAL, Principal
from remanager.wire.codec import (
    NO_REPLY,
    CachedReply,
    DecodeError,
    Encoding,
    NoReply,
    Reply,
    decode_request,
    detect_encoding,
    encode_reply,
)

logger = logging.getLogger(__name__)

Answer = Reply | NoReply
Dispatch = Callable[[object, Encoding, Principal], Answer | Awaitable[Answer]]

_MIB = 1 << 20
_LARGE_REPLY_BYTES = 64 << 10
_MAX_HOPS = 8
_CANCEL_TIMEOUT_S = 2.0
_MAX_HOP_BYTES = 255
# The usual types come first, and coroutines before them: the question to the abstract one is slow.
_ANSWERS = (CachedReply, dict, NoReply, Mapping)
_ENCODING_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class ControlLimits:
    """Bounds of the control socket.

    Attributes
    ----------
    in_flight : int
        Requests being worked on; further ones are refused with ``busy``.
    in_flight_per_client : int
        The same for one client.
    message_bytes : int
        Larger requests are refused with ``too_large``, undecoded.
    frame_bytes : int
        A client that sends a larger frame is disconnected by libzmq.
    queued_replies : int
        Replies that may wait for one client to read them; further ones are dropped.
    unread_bytes : int
        Sum of the large replies that may wait for one client to read them; further ones are dropped.
    """

    in_flight: int = 4096
    in_flight_per_client: int = 256
    message_bytes: int = 64 * _MIB
    frame_bytes: int = 256 * _MIB
    queued_replies: int = 2000
    unread_bytes: int = 128 * _MIB


@dataclass(slots=True)
class ControlCounters:
    """What happened on the control socket since the start.

    ``stats`` tells them beside the counters of tasks: no name may be one of those.

    Attributes
    ----------
    received, replied : int
        Messages in and out.
    undecodable, too_large, busy : int
        Requests refused before they reached a handler (they are answered).
    internal_errors : int
        Handlers that raised, replies that could not be encoded (they are answered).
    unanswered : int
        Requests that a handler left unanswered on purpose.
    dropped_malformed : int
        Messages without the delimiter that a ``REQ`` socket sends.
    dropped_unreachable, dropped_unread : int
        Replies to clients that are gone, and to clients that do not read.
    """

    received: int = 0
    replied: int = 0
    undecodable: int = 0
    too_large: int = 0
    busy: int = 0
    internal_errors: int = 0
    unanswered: int = 0
    dropped_malformed: int = 0
    dropped_unreachable: int = 0
    dropped_unread: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)


def error_reply(error: RemanagerError) -> dict[str, object]:
    """Make the reply that reports an error."""
    return {"success": False, "msg": str(error), "code": error.code}


def _refusal(code: str, msg: str) -> dict[str, object]:
    return {"success": False, "msg": msg, "code": code}


class _Client(NamedTuple):
    """Where a reply goes: the routing frames of the request, delimiter included, and the encoding."""

    envelope: list[bytes]
    encoding: Encoding

    @property
    def identity(self) -> bytes:
        return self.envelope[0]


class ControlServer:
    """Answers requests on a ``ROUTER`` socket.

    Parameters
    ----------
    address : str
        For example ``tcp://*:60615``.
    dispatch : callable
        Called with each decoded request, its encoding and who asks. It answers with a reply, with
        ``NO_REPLY``, or with an awaitable of one of them, which then runs as a task of its own.
    encoding : Encoding
        Taken for requests that could be in either encoding or in none.
    private_key : str, optional
        Server's CURVE key; clients must then encrypt.
    identities : Identities, optional
        Who is behind the key of a client; without it every client that encrypts is accepted.
    limits : ControlLimits, optional
        Bounds.
    context : zmq.Context, optional
        Context to use; without it the server makes and ends its own.
    """

    def __init__(
        self,
        address: str,
        dispatch: Dispatch,
        *,
        encoding: Encoding = Encoding.JSON,
        private_key: str | None = None,
        identities: Identities | None = None,
        limits: ControlLimits | None = None,
        context: ZmqContext | None = None,
    ) -> None:
        self.address = address
        self.counters = ControlCounters()
        self._dispatch = dispatch
        self._encoding = encoding
        self._key = check_curve_key(private_key) if private_key else None
        self._identities = identities if self._key is not None else None
        self._authenticator: Authenticator | None = None
        self._limits = limits or ControlLimits()
        self._context = context
        self._own_context: ZmqContext | None = None
        self._socket: ZmqSocket | None = None
        self._reader: SocketReader | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: dict[bytes, int] = {}
        self._unread: dict[bytes, list[tuple[zmq.MessageTracker, int]]] = {}
        self._closing = False

    # -------------------------------------------------------------------------------------- life

    def start(self) -> None:
        """Bind the socket and begin to answer, in the running loop.

        Raises
        ------
        AddressError
            The address can not be used.
        """
        if self._context is None:
            self._context = self._own_context = zmq.Context()
        socket = self._context.socket(zmq.ROUTER)
        try:
            if self._identities is not None:
                self._authenticator = Authenticator(self._context, self._identities)
            harden(socket)
            socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            # A client that names itself and lost its connection must get in again.
            socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
            socket.setsockopt(zmq.MAXMSGSIZE, self._limits.frame_bytes)
            socket.setsockopt(zmq.SNDHWM, self._limits.queued_replies)
            # What a client sends ahead waits in its own memory, not here.
            socket.setsockopt(zmq.RCVHWM, 100)
            if self._key is not None:
                socket.setsockopt(zmq.CURVE_SERVER, 1)
                socket.setsockopt(zmq.CURVE_SECRETKEY, self._key)
            remedy = "Is another manager running? Stop it, or choose another address with --zmq-control-addr."
            self.address = bind(socket, self.address, what="control", remedy=remedy)
        except BaseException:
            socket.close(linger=0)
            self._end_authenticator()
            self._end_context()
            raise
        self._socket = socket
        reader = SocketReader if self._identities is None else AuthenticatedReader
        self._reader = reader(socket, self._receive)
        self._reader.start()

    async def close(self, linger_ms: int = 1000) -> None:
        """Answer the requests in flight with an error, then close.

        Parameters
        ----------
        linger_ms : int
            How long (ms) replies may take to leave for clients that still read.
        """
        if self._socket is None:
            return
        self._closing = True
        if self._reader is not None:
            self._reader.stop()
        await asyncio.sleep(0)  # a task that was made in this turn can answer only after its first step
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CANCEL_TIMEOUT_S)
        self._socket.close(linger=linger_ms)
        self._socket = None
        self._end_authenticator()
        await asyncio.to_thread(self._end_context)

    def _end_authenticator(self) -> None:
        if self._authenticator is not None:
            self._authenticator.close()
            self._authenticator = None

    def _end_context(self) -> None:
        if self._own_context is not None:
            self._own_context.term()
            self._context = self._own_context = None

    @property
    def in_flight(self) -> int:
        """Number of requests being worked on."""
        return len(self._tasks)

    # -------------------------------------------------------------------------------------- requests

    def _receive(self, frames: list[bytes]) -> None:
        """Take one message apart and answer it."""
        self.counters.received += 1
        if len(frames) == 3 and frames[0] and not frames[1]:
            self._handle(frames[:2], frames[2])
            return
        # [identity, further hops ..., empty delimiter, body]
        delimiter = next((n for n, frame in enumerate(frames) if n and not frame), None)
        if (
            delimiter is None
            or delimiter > _MAX_HOPS
            or any(len(f) > _MAX_HOP_BYTES for f in frames[:delimiter])
        ):
            self.counters.dropped_malformed += 1
            return
        envelope, body = frames[: delimiter + 1], frames[delimiter + 1 :]
        if len(body) != 1:
            self.counters.undecodable += 1
            text = f"Failed to decode the request: it must be one frame, not {len(body)}"
            self._reply(_Client(envelope, self._encoding), _refusal("invalid_request", text))
            return
        self._handle(envelope, body[0])

    def _handle(self, envelope: list[bytes], body: bytes) -> None:
        limits = self._limits
        if len(body) > limits.message_bytes:
            self.counters.too_large += 1
            text = (
                f"The request of {len(body)} bytes is too large: the limit is {limits.message_bytes} bytes."
            )
            client = _Client(envelope, detect_encoding(body[:64], self._encoding))
            self._reply(client, _refusal("too_large", text))
            return
        busy = self._busy_reason(envelope[0])
        if busy:
            self.counters.busy += 1
            client = _Client(envelope, detect_encoding(body[:64], self._encoding))
            self._reply(client, _refusal("busy", busy))
            return
        try:
            # Decoding of a large request holds the interpreter lock: a thread would not free the loop.
            request, encoding = decode_request(body, self._encoding)
        except DecodeError as exc:
            self.counters.undecodable += 1
            self._reply(_Client(envelope, exc.encoding), error_reply(exc))
            return
        client = _Client(envelope, encoding)
        principal = self._principal()
        if principal is None:
            self._reply(client, _refusal("not_permitted", "The key of this client does not count any more."))
            return
        self._dispatch_request(client, request, principal)

    def _principal(self) -> Principal | None:
        """Return who sent the message that is being handled; None if its key was revoked meanwhile."""
        if self._identities is None or not isinstance(self._reader, AuthenticatedReader):
            return LOCAL
        return self._identities.identify(self._reader.user_id)

    def _busy_reason(self, identity: bytes) -> str:
        limits = self._limits
        if len(self._tasks) >= limits.in_flight:
            return f"Too many requests are in progress (limit {limits.in_flight}). Try again later."
        if self._in_flight.get(identity, 0) >= limits.in_flight_per_client:
            limit = limits.in_flight_per_client
            return (
                f"Too many requests of this client are in progress (limit {limit}). Read the replies first."
            )
        return ""

    def _dispatch_request(self, client: _Client, request: object, principal: Principal) -> None:
        try:
            answer = self._dispatch(request, client.encoding, principal)
        except RemanagerError as exc:
            self._reply(client, error_reply(exc))
            return
        except Exception as exc:
            logger.exception("A request handler failed")
            self._reply(client, self._failure(exc))
            return
        if not isinstance(answer, CoroutineType) and isinstance(answer, _ANSWERS):
            self._reply(client, answer)
            return
        # One task from here to the reply: each further one, or callback, would cost a turn of the loop.
        task = asyncio.get_running_loop().create_task(self._answer(client, answer))
        self._tasks.add(task)
        self._in_flight[client.identity] = self._in_flight.get(client.identity, 0) + 1

    async def _answer(self, client: _Client, answer: Awaitable[Answer]) -> None:
        """Answer a request whose handler takes its time."""
        reply: Answer
        try:
            if self._closing:  # it shall not begin now
                if asyncio.iscoroutine(answer):
                    answer.close()
                raise asyncio.CancelledError
            reply = await answer
        except asyncio.CancelledError:
            reason = "the manager is stopping" if self._closing else "it was cancelled"
            reply = _refusal("cancelled", f"The request was not completed: {reason}.")
        except RemanagerError as exc:
            reply = error_reply(exc)
        except Exception as exc:
            logger.exception("A request handler failed")
            reply = self._failure(exc)
        self._tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        self._in_flight[client.identity] -= 1
        if self._in_flight[client.identity] <= 0:
            del self._in_flight[client.identity]
        self._reply(client, reply)

    def _failure(self, exc: BaseException) -> dict[str, object]:
        """Make the reply for a handler that raised."""
        self.counters.internal_errors += 1
        return _refusal("internal", f"Internal error of the manager: {type(exc).__name__}: {exc}")

    # -------------------------------------------------------------------------------------- replies

    def _reply(self, client: _Client, answer: Answer) -> None:
        """Encode and send an answer, whatever it holds."""
        if answer is NO_REPLY:
            self.counters.unanswered += 1
            return
        try:
            data = encode_reply(answer, client.encoding)
        except _ENCODING_ERRORS as exc:
            self.counters.internal_errors += 1
            logger.exception("A reply could not be encoded in %s", client.encoding.name)
            refusal = _refusal("internal", f"The reply can not be encoded in {client.encoding.name}: {exc}")
            data = encode_reply(refusal, client.encoding)
        self._send(client.envelope, data)

    def _send(self, envelope: list[bytes], data: bytes) -> None:
        socket, reader = self._socket, self._reader
        if socket is None or reader is None:
            return
        large = len(data) > _LARGE_REPLY_BYTES
        if large and not self._may_send_large(envelope[0], len(data)):
            self.counters.dropped_unread += 1
            return
        try:
            self._send_identity(socket, envelope[0])
            for hop in envelope[1:]:
                socket.send(hop, NOBLOCK_SNDMORE)
            if large:
                tracker = socket.send(data, NOBLOCK, copy=False, track=True)
                self._unread.setdefault(envelope[0], []).append((tracker, len(data)))
            else:
                socket.send(data, NOBLOCK)
            self.counters.replied += 1
        except zmq.ZMQError as exc:
            if exc.errno == errno.EHOSTUNREACH:
                self.counters.dropped_unreachable += 1
            elif exc.errno == errno.EAGAIN:
                self.counters.dropped_unread += 1
            else:
                raise
        reader.kick()

    @staticmethod
    def _send_identity(socket: ZmqSocket, identity: bytes) -> None:
        """Begin a message; libzmq refuses here if the client is gone or its queue is full."""
        try:
            socket.send(identity, NOBLOCK_SNDMORE)
        except zmq.Again:
            # Asking for events makes libzmq notice what the client has read meanwhile.
            socket.getsockopt(zmq.EVENTS)
            socket.send(identity, NOBLOCK_SNDMORE)

    def _may_send_large(self, identity: bytes, size: int) -> bool:
        """Tell whether a client has read enough of its large replies to get another one."""
        for client, waiting in list(self._unread.items()):
            waiting[:] = [(tracker, n) for tracker, n in waiting if not tracker.done]
            if not waiting:
                del self._unread[client]
        unread = sum(n for _, n in self._unread.get(identity, ()))
        return not unread or unread + size <= self._limits.unread_bytes
