"""JSON and msgpack, told apart per message; replies built from parts that are encoded only once."""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from enum import Enum, StrEnum
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _json_string
from operator import add
from typing import Any, Final, TypeVar, cast

import msgpack

from remanager.model.errors import InvalidRequest
from remanager.model.json_text import make_encoder, refuse
from remanager.wire.values import MAX_DEPTH, packed_to_json

V = TypeVar("V", bound=Hashable)


class Encoding(StrEnum):
    """Encoding of a message on the control or info socket."""

    JSON = "json"
    MSGPACK = "msgpack"


class DecodeError(InvalidRequest):
    """A frame is neither valid JSON nor valid msgpack.

    Attributes
    ----------
    encoding : Encoding
        The encoding that the frame was taken for: the reply goes out in it.
    """

    def __init__(self, text: str, encoding: Encoding) -> None:
        super().__init__(text)
        self.encoding = encoding


class NoReply(Enum):
    """The type of :data:`NO_REPLY`."""

    NO_REPLY = "no_reply"


NO_REPLY: Final = NoReply.NO_REPLY
"""What a handler returns when the client must get no answer at all."""

_BLANKS = b" \t\r\n"
_MSGPACK_MAP_STARTS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
_JSON_STARTS = frozenset(b"{[")

_CONTAINERS = frozenset((dict, list))
# What is left of a frame without these bytes is at least as long as there are containers in it.
_CONTAINER_BYTES = {
    Encoding.JSON: frozenset(b"{["),
    Encoding.MSGPACK: frozenset((*range(0x80, 0xA0), *range(0xDC, 0xE0))),
}
_OTHER_BYTES = {encoding: bytes({*range(256)} - begin) for encoding, begin in _CONTAINER_BYTES.items()}


def detect_encoding(frame: bytes, default: Encoding) -> Encoding:
    """Tell by the first significant byte in which encoding a request is written.

    Parameters
    ----------
    frame : bytes
        The request.
    default : Encoding
        The answer for frames that are no request in either encoding.
    """
    if not frame:
        return default
    first = frame[0]
    if first in _JSON_STARTS:
        return Encoding.JSON
    if first in _MSGPACK_MAP_STARTS:
        return Encoding.MSGPACK
    if first in _BLANKS and frame.lstrip(_BLANKS)[:1] in (b"{", b"["):
        return Encoding.JSON
    return default


def decode_request(frame: bytes, default: Encoding) -> tuple[object, Encoding]:
    """Decode a request and say in which encoding it came.

    Parameters
    ----------
    frame : bytes
        The request as received.
    default : Encoding
        Encoding assumed for frames that could be either or none.

    Returns
    -------
    request : object
        Whatever the frame holds: not necessarily a dictionary.
    encoding : Encoding
        The encoding of the request and hence of its reply.

    Raises
    ------
    DecodeError
        The frame can not be decoded, or it is nested so deeply that this or another part could not handle it.
    """
    encoding = detect_encoding(frame, default)
    try:
        request = json.loads(frame.decode()) if encoding is Encoding.JSON else msgpack.unpackb(frame)
        if len(frame.translate(None, _OTHER_BYTES[encoding])) > MAX_DEPTH and _is_too_deep(request):
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
        return request, encoding
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as exc:
        # msgpack's own exceptions may come without a text.
        reason = str(exc) or type(exc).__name__
        text = f"Failed to decode the request: {encoding.name} decode error: {reason}"
        raise DecodeError(text, encoding) from exc


def _is_too_deep(request: object) -> bool:
    """Tell whether there are more than MAX_DEPTH levels of dictionaries and lists."""
    level: list[Any] = [request]
    for _ in range(MAX_DEPTH):
        level = [
            part
            for whole in level
            for part in (whole.values() if type(whole) is dict else whole)
            if type(part) in _CONTAINERS
        ]
        if not level:
            return False
    return True


# ------------------------------------------------------------------------------------------ replies


class Fragment:
    """An already encoded part of a reply.

    The missing form is made on demand, once, by decoding the one that was given.

    Parameters
    ----------
    json : bytes, optional
        The value as JSON text in UTF-8.
    msgpack : bytes, optional
        The value in msgpack. In JSON, what that has no form for is tagged, see :mod:`remanager.wire.values`.
    """

    __slots__ = ("_json", "_msgpack")

    def __init__(self, json: bytes | None = None, msgpack: bytes | None = None) -> None:
        if json is None and msgpack is None:
            raise ValueError("a fragment needs at least one encoded form")
        self._json = json
        self._msgpack = msgpack

    @classmethod
    def of_json_texts(cls, texts: Iterable[str]) -> Fragment:
        """Make an array of values that exist as JSON texts, without parsing them."""
        return cls(json=f"[{','.join(texts)}]".encode())

    def bytes(self, encoding: Encoding) -> bytes:
        """Return the encoded value.

        Raises
        ------
        ValueError, OverflowError, TypeError
            The given form is broken, or the other encoding can not express it.
        """
        if encoding is Encoding.JSON:
            if self._json is None:
                self._json = packed_to_json(cast(bytes, self._msgpack)).encode()
            return self._json
        if self._msgpack is None:
            self._msgpack = _plain_bytes(json.loads(cast(bytes, self._json)), encoding)
        return self._msgpack


class Keys:
    """Keys of objects of a reply, escaped only once for all of them.

    Parameters
    ----------
    keys : sequence of str
        The keys; none comes twice.
    """

    __slots__ = ("_texts", "keys")

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys
        self._texts: list[str] | None = None

    def texts(self) -> list[str]:
        """Return the keys as JSON texts."""
        if self._texts is None:
            self._texts = list(map(_json_string, self.keys))
        return self._texts


class WordMap(Fragment):
    """An object of a reply with many keys and few different values: faster than a dictionary.

    Parameters
    ----------
    keys : Keys
        Perhaps those of other objects, too.
    values : collection
        As many, in their order.
    words : mapping
        The values as texts.
    """

    __slots__ = ("_keys", "_values", "_words")

    def __init__(self, keys: Keys, values: Collection[V], words: Mapping[V, str]) -> None:
        self._keys = keys
        self._values: Collection[Any] = values
        self._words: Mapping[Any, str] = words

    def bytes(self, encoding: Encoding) -> bytes:
        """Return the encoded object."""
        if encoding is Encoding.JSON:
            ends = {value: ":" + _json_string(self._words[value]) for value in set(self._values)}
            members = map(add, self._keys.texts(), map(ends.__getitem__, self._values))
            return f"{{{','.join(members)}}}".encode()
        words = map(self._words.__getitem__, self._values)
        return _plain_bytes(dict(zip(self._keys.keys, words, strict=True)), encoding)


class CachedReply:
    """A reply that is sent many times: encoded at most once per encoding.

    Parameters
    ----------
    content : Mapping
        The reply; it must not be changed afterwards.
    """

    __slots__ = ("_encoded", "content")

    def __init__(self, content: Mapping[str, object]) -> None:
        self.content = content
        self._encoded: dict[Encoding, bytes] = {}

    def bytes(self, encoding: Encoding) -> bytes:
        """Return the encoded reply."""
        encoded = self._encoded.get(encoding)
        if encoded is None:
            encoded = self._encoded[encoding] = _encode(self.content, encoding)
        return encoded


Reply = Mapping[str, object] | CachedReply
"""What a handler answers; values at any depth may be :class:`Fragment` objects."""


def encode_reply(reply: Reply, encoding: Encoding) -> bytes:
    """Encode a reply.

    Raises
    ------
    TypeError, ValueError, OverflowError, RecursionError
        The reply holds something that the encoding can not express.
    """
    if isinstance(reply, CachedReply):
        return reply.bytes(encoding)
    if isinstance(reply, dict):
        return _encode(reply, encoding)
    return _encode(dict(reply), encoding)


class _FragmentFoundError(Exception):
    """The plain encoder met an encoded part: the value has to be put together from parts."""


def _refuse(value: object) -> object:
    if isinstance(value, _ENCODED_PARTS):
        raise _FragmentFoundError
    return refuse(value)


def _refuse_msgpack(value: object) -> object:
    if isinstance(value, _ENCODED_PARTS):
        raise _FragmentFoundError
    if isinstance(value, int):
        # One client's number of more than 64 bits, in JSON, must not keep the others from reading the queue.
        return _nearest(value)
    raise TypeError(f"can not serialize '{type(value).__name__}' object")


def _nearest(value: int) -> float | str:
    try:
        return float(value)
    except OverflowError:
        return hex(value)


_ENCODED_PARTS = (Fragment, CachedReply)
_MAY_HOLD_PARTS = (*_ENCODED_PARTS, dict, list, tuple)
_PART_TYPES = frozenset((Fragment, WordMap, CachedReply))
_json_text = make_encoder(_refuse, (",", ":"))


def _plain_bytes(value: object, encoding: Encoding) -> bytes:
    """Encode a value that holds no fragment."""
    if encoding is Encoding.JSON:
        return _json_text(value).encode()
    # Lone surrogates have no UTF-8 form; a strict reader must be able to decode what we send.
    packed = msgpack.packb(value, default=_refuse_msgpack, unicode_errors="backslashreplace")
    return cast(bytes, packed)


def _encode(value: object, encoding: Encoding) -> bytes:
    """Encode a value; only the way down to a fragment is walked in Python."""
    if isinstance(value, _ENCODED_PARTS):
        return value.bytes(encoding)
    if not isinstance(value, dict) or _PART_TYPES.isdisjoint(map(type, value.values())):
        try:
            return _plain_bytes(value, encoding)
        except _FragmentFoundError:
            pass
    if isinstance(value, Mapping):
        return _encode_mapping(value, encoding)
    return _encode_array(cast("list[object]", value), encoding)


def _encode_mapping(value: Mapping[str, object], encoding: Encoding) -> bytes:
    if encoding is Encoding.JSON:
        return b"{" + b",".join(_json_members(value)) + b"}"
    parts = [_msgpack_map_header(len(value))]
    for key, part in value.items():
        parts += _plain_bytes(_text_key(key), encoding), _encode(part, encoding)
    return b"".join(parts)


def _json_members(value: Mapping[str, object]) -> list[bytes]:
    """Return the members of a JSON object; scalars that follow each other are encoded together."""
    members: list[bytes] = []
    plain: dict[str, object] = {}
    for key, part in value.items():
        if isinstance(part, _MAY_HOLD_PARTS):
            if plain:
                members.append(_plain_bytes(plain, Encoding.JSON)[1:-1])
                plain = {}
            members.append(_json_key(_text_key(key)) + _encode(part, Encoding.JSON))
        else:
            plain[_text_key(key)] = part
    if plain:
        members.append(_plain_bytes(plain, Encoding.JSON)[1:-1])
    return members


@lru_cache(maxsize=1000)
def _json_key(key: str) -> bytes:
    """Return the beginning of a member of a JSON object."""
    return _plain_bytes(key, Encoding.JSON) + b":"


def _encode_array(value: list[object], encoding: Encoding) -> bytes:
    parts = [_encode(part, encoding) for part in value]
    if encoding is Encoding.JSON:
        return b"[" + b",".join(parts) + b"]"
    return b"".join((_msgpack_array_header(len(parts)), *parts))


def _text_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys of replies must be strings, not {type(key).__name__}")
    return key


def _msgpack_map_header(size: int) -> bytes:
    return cast(bytes, msgpack.Packer().pack_map_header(size))


def _msgpack_array_header(size: int) -> bytes:
    return cast(bytes, msgpack.Packer().pack_array_header(size))
