"""Values of tasks: arguments, results, checkpoints.

A value is what JSON can say (None, bool, int, float, str, lists, dictionaries), and beside it ``bytes``,
``datetime``, numbers and dictionary keys that JSON has no form for, and NumPy arrays. A tuple becomes a list
and a NumPy scalar the number that it holds (a scalar without an exact counterpart an array without axes).

There are two forms of it:

*Packed* (:func:`encode_value`): JSON text where JSON says the value exactly, else msgpack with the extension
types of :class:`Extension`.

*Tagged JSON* (:func:`value_to_json`), in which arguments travel: JSON text in which what JSON has no form
for is an object with a tag:

=====================================================  ==========================================
``{"__ndarray__": [[1, 2], [3, 4]]}``                  array of nested lists; ``"dtype"`` may follow
``{"__ndarray__": BASE64, "dtype": D, "shape": [N]}``  array of its bytes in C order
``{"__bytes__": BASE64}``                              bytes
``{"__datetime__": "2026-01-31T12:00:00+01:00"}``      date and time (ISO 8601)
``{"__float__": "nan"}``                               ``nan``, ``inf`` or ``-inf``
``{"__dict__": [[KEY, VALUE], ...]}``                  dictionary with other keys than strings, or
                                                       one that looks like one of these forms
=====================================================  ==========================================

``dtype`` is NumPy's own notation, such as ``"<f8"``, or a list of fields. Packed values that are JSON hold no
tags: JSON text of a value can always be read as tagged JSON.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Collection
from datetime import datetime
from enum import IntEnum
from typing import Any, cast

import msgpack

from remanager.wire.arrays import number_of, of_nested_lists, put_together, take_apart

MAX_DEPTH = 200
"""Nesting beyond which a value is refused."""


class Extension(IntEnum):
    """Extension types of msgpack in packed values."""

    ARRAY = 1
    """msgpack array of data type, shape and bytes."""

    DATETIME = 2
    """ISO 8601 text."""

    INTEGER = 3
    """Decimal text of an integer of more than 64 bits."""


class ValueFault(ValueError):
    """A value cannot be encoded or decoded; the text says what is wrong with which part."""


def encode_value(value: object) -> tuple[str, bytes]:
    """Encode a value.

    Returns
    -------
    codec : str
        ``json`` where JSON says the value exactly, else ``msgpack``.
    payload : bytes
        The encoded value.

    Raises
    ------
    ValueFault
        The value holds something that cannot be encoded.
    """
    if value is None:
        return "json", b"null"
    try:
        if _json_says(value, 0):
            return "json", json.dumps(value, allow_nan=False, default=number_of).encode()
    except ValueError:  # NaN or infinity
        pass
    return "msgpack", pack_value(value)


def pack_value(value: object) -> bytes:
    """Encode a value in msgpack; see :func:`encode_value`."""
    try:
        _check(value, 0)
        return cast(bytes, msgpack.packb(value, default=_extend, unicode_errors="surrogatepass"))
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise ValueFault(_explain(value, exc)) from exc


def unpack_value(payload: bytes) -> Any:
    """Decode what :func:`pack_value` returned; raises :class:`ValueFault` if it is damaged."""
    return _unpack(payload, _revive)


def packed_to_json(payload: bytes) -> str:
    """Return a value in msgpack as tagged JSON text, without making arrays of it.

    Raises
    ------
    ValueFault
        The payload is damaged.
    """
    return json.dumps(_tagged(_unpack(payload, _Tagged.of_extension)), separators=(",", ":"))


def value_to_json(value: object) -> str:
    """Return a value as tagged JSON text.

    Raises
    ------
    ValueFault
        The value holds something that cannot be encoded.
    """
    try:
        _check(value, 0)
        return json.dumps(_tagged(value))
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueFault(_explain(value, exc)) from exc


def value_from_json(text: str) -> Any:
    """Return the value of a tagged JSON text.

    Raises
    ------
    ValueFault
        It is no JSON text, or a tagged object in it is not of its form.
    """
    try:
        if '"__' not in text:
            return json.loads(text)
        return json.loads(text, object_hook=_untag)
    except ValueFault:
        raise
    except (ValueError, RecursionError) as exc:
        raise ValueFault(f"not a value in JSON: {exc}") from exc


# ------------------------------------------------------------------------------------------ JSON and msgpack

_TOO_DEEP = f"it holds itself, or is nested deeper than {MAX_DEPTH} levels"
_MOST_BITS = 13_000
"""Python reads and writes no longer numbers in decimal, so JSON has none."""
_SCALARS = frozenset((bool, int, float, str, type(None)))
_EXACT = _SCALARS - {float}


def _json_says(value: object, depth: int) -> bool:
    """Tell whether JSON has a form for the value (NaN and infinity aside) that is not taken for a tag."""
    if type(value) in _SCALARS:
        return True
    if depth > MAX_DEPTH:
        return False
    if isinstance(value, dict):
        if not all(type(key) is str for key in value) or not _TAGS.isdisjoint(value):
            return False
        items: Collection[object] = value.values()
    elif isinstance(value, (list, tuple)):
        items = value
    else:
        return isinstance(number_of(value), (str, int, float))
    return set(map(type, items)) <= _SCALARS or all(_json_says(item, depth + 1) for item in items)


def _check(value: object, depth: int) -> None:
    """Raise TypeError or ValueError for what msgpack would encode and not give back."""
    if depth > MAX_DEPTH:
        raise ValueError(_TOO_DEEP)
    if isinstance(value, dict):
        odd = next((key for key in value if isinstance(key, tuple)), None)
        if odd is not None:
            raise TypeError("a dictionary key of the type tuple")
        items: Collection[object] = value.values()
    elif isinstance(value, (list, tuple)):
        items = value
    else:
        return
    for item in items:
        if type(item) not in _SCALARS:
            _check(item, depth + 1)


def _extend(value: object) -> object:
    """Return what msgpack can encode for a value that it has no form for."""
    plain = number_of(value)
    if plain is not value:
        return plain
    if isinstance(value, datetime):
        return msgpack.ExtType(Extension.DATETIME, value.isoformat().encode())
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise ValueError("a whole number of more than 4000 digits")
        return msgpack.ExtType(Extension.INTEGER, hex(value).encode())
    parts = take_apart(value)
    if parts is not None:
        return msgpack.ExtType(Extension.ARRAY, msgpack.packb(parts))
    raise TypeError(f"a value of the type {_type_name(value)}")


def _unpack(payload: bytes, hook: Any) -> Any:
    try:
        return msgpack.unpackb(payload, ext_hook=hook, strict_map_key=False, unicode_errors="surrogatepass")
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as exc:
        raise ValueFault(f"not a value in msgpack: {exc or type(exc).__name__}") from exc


def _revive(code: int, data: bytes) -> object:
    match code:
        case Extension.ARRAY:
            return put_together(*msgpack.unpackb(data))
        case Extension.DATETIME:
            return datetime.fromisoformat(data.decode())
        case Extension.INTEGER:
            return int(data, 16)
    raise ValueError(f"unknown extension type {code}")


# ------------------------------------------------------------------------------------------ tagged JSON


class _Tagged:
    """An object of tagged JSON that is finished: it is not looked into again."""

    __slots__ = ("form",)

    def __init__(self, form: object) -> None:
        self.form = form

    @classmethod
    def of_array(cls, descr: object, shape: object, data: bytes) -> _Tagged:
        return cls({"__ndarray__": _base64(data), "dtype": descr, "shape": shape})

    @classmethod
    def of_extension(cls, code: int, data: bytes) -> object:
        match code:
            case Extension.ARRAY:
                return cls.of_array(*msgpack.unpackb(data))
            case Extension.DATETIME:
                return cls({"__datetime__": data.decode()})
            case _:
                return _revive(code, data)


_TAGS = frozenset(("__ndarray__", "__bytes__", "__datetime__", "__float__", "__dict__"))


def _tagged(value: object) -> object:
    """Return the value in forms that JSON has."""
    match number_of(value):
        case None | str() | bool() | int() as same:
            return same
        case float() as number:
            return number if math.isfinite(number) else {"__float__": str(float(number))}
        case dict() as mapping:
            if all(isinstance(key, str) for key in mapping) and mapping.keys().isdisjoint(_TAGS):
                return {key: _tagged(item) for key, item in mapping.items()}
            return {"__dict__": [[_tagged(part) for part in pair] for pair in mapping.items()]}
        case list() | tuple() as items:
            # Mostly numbers, and many of them.
            return [
                item
                if type(item) in _EXACT or (type(item) is float and math.isfinite(item))
                else _tagged(item)
                for item in items
            ]
        case bytes() | bytearray() | memoryview() as data:
            return {"__bytes__": _base64(bytes(data))}
        case datetime() as moment:
            return {"__datetime__": moment.isoformat()}
        case _Tagged() as tagged:
            return tagged.form
        case other:
            parts = take_apart(other)
            if parts is None:
                raise TypeError(f"a value of the type {_type_name(value)}")
            return _Tagged.of_array(*parts).form


def with_tags(value: object) -> object:
    """Return what came in msgpack with tagged forms for its bytes and extension types.

    Forms that it holds already stay as they are.

    Raises
    ------
    ValueFault
        An extension type is damaged, or not one of :class:`Extension`.
    """
    match value:
        case dict():
            return {key: with_tags(part) for key, part in value.items()}
        case msgpack.ExtType(code, data):
            try:
                form = _Tagged.of_extension(code, data)
            except (ValueError, TypeError, msgpack.UnpackException) as exc:
                raise ValueFault(f"an extension type of msgpack is not a value: {exc or code}") from exc
            return form.form if isinstance(form, _Tagged) else form
        case list():
            return [with_tags(part) for part in value]
        case bytes():
            return {"__bytes__": _base64(value)}
    return value


def _untag(found: dict[str, Any]) -> object:
    if _TAGS.isdisjoint(found):
        return found
    tag = next(iter(_TAGS & found.keys()))
    content = found[tag]
    try:
        if tag == "__ndarray__":
            return _array(**{"content" if k == tag else k: v for k, v in found.items()})
        if len(found) > 1:
            raise ValueError("it has other keys beside the tag")
        match tag:
            case "__bytes__":
                return base64.b64decode(content, validate=True)
            case "__datetime__":
                return datetime.fromisoformat(content)
            case "__float__":
                return float(content)
            case _:
                return dict(content)
    except (ValueError, TypeError) as exc:
        raise ValueFault(f"an object with '{tag}' is not of the form of such a value: {exc}") from exc


def _array(content: object, dtype: Any = None, shape: Any = None) -> object:
    if isinstance(content, str):
        if dtype is None or shape is None:
            raise ValueError("'dtype' and 'shape' are needed beside the bytes")
        return put_together(dtype, shape, base64.b64decode(content, validate=True))
    if shape is not None:
        raise ValueError("'shape' goes with bytes only")
    return of_nested_lists(content, dtype)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# ------------------------------------------------------------------------------------------ faults


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _explain(value: object, exc: Exception) -> str:
    """Say which part of a value cannot be encoded."""
    if isinstance(exc, RecursionError):
        return _TOO_DEEP
    path = _place(value, "", 0)
    return f"{exc}, at {path}" if path else str(exc)


def _place(value: object, path: str, depth: int) -> str | None:
    """Return the place of the first part that cannot be encoded; None if there is none."""
    if type(value) in _SCALARS or depth > MAX_DEPTH:
        return None
    if isinstance(value, dict):
        parts = [(f"{path}[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(f"{path}[{n}]", item) for n, item in enumerate(value)]
    else:
        try:
            msgpack.packb(value, default=_extend, unicode_errors="surrogatepass")
        except (TypeError, ValueError, OverflowError):
            return path
        return None
    return next((found for place, item in parts if (found := _place(item, place, depth + 1))), None)
