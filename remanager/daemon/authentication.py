"""CURVE authentication: which client keys may connect (ZAP), and whose message it is."""

from __future__ import annotations

import logging
from typing import Protocol

import zmq
from zmq.utils import z85

from remanager.daemon.sockets import SocketReader, ZmqContext
from remanager.model.principal import Principal

logger = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_VERSION = b"1.0"
_CURVE_FRAMES = 7


class Identities(Protocol):
    """Knows who is behind a key."""

    def identify(self, public_key: str, /) -> Principal | None:
        """Return who is behind a public key; None if it does not count."""

    def refresh(self) -> None:
        """Take changes of what is known into account at once."""


class Authenticator:
    """Answers libzmq's question, once a handshake, whether a client may connect (RFC 27, ZAP).

    The user id of an accepted client is its public key, so that what the key may do can still change while
    the client is connected.

    Parameters
    ----------
    context : zmq.Context
        Context of the sockets that ask.
    identities : Identities
        Who is known.
    """

    def __init__(self, context: ZmqContext, identities: Identities) -> None:
        self._identities = identities
        self.accepted = self.rejected = 0
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        try:
            self._socket.bind(ZAP_ENDPOINT)
            self._reader = SocketReader(self._socket, self._answer)
            self._reader.start()
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Stop; close the sockets that ask before."""
        self._reader.stop()
        self._socket.close(linger=0)

    def _answer(self, frames: list[bytes]) -> None:
        code, text, user_id = self._decide(frames)
        request_id = frames[1] if len(frames) > 1 else b""
        self._socket.send_multipart([_ZAP_VERSION, request_id, code, text, user_id, b""])
        self._reader.kick()

    def _decide(self, frames: list[bytes]) -> tuple[bytes, bytes, bytes]:
        if len(frames) != _CURVE_FRAMES or frames[0] != _ZAP_VERSION or frames[5] != b"CURVE":
            self.rejected += 1
            return b"400", b"CURVE is needed", b""
        public_key: bytes = z85.encode(frames[6])
        self._identities.refresh()
        principal = self._identities.identify(public_key.decode())
        address = frames[3].decode(errors="replace")
        if principal is None:
            self.rejected += 1
            logger.warning(
                "A client at %s was refused: its key %s is not known", address, public_key.decode()
            )
            return b"400", b"Unknown key", b""
        self.accepted += 1
        logger.debug("%s connects from %s", principal.name, address)
        return b"200", b"OK", public_key


class AuthenticatedReader(SocketReader):
    """Reads messages together with the user id that the authenticator gave to their sender.

    Attributes
    ----------
    user_id : str
        User id of the message that is being handled; empty if it has none.
    """

    user_id = ""

    def _receive_first(self) -> bytes:
        frame = self._socket.recv(zmq.NOBLOCK, copy=False)
        try:
            self.user_id = str(frame.get("User-Id"))
        except zmq.ZMQError:
            self.user_id = ""
        return frame.bytes
