"""Values of tasks: both forms give back what they were given, and say what they cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remanager.wire.values import (
    ValueFault,
    encode_value,
    packed_to_json,
    unpack_value,
    value_from_json,
    value_to_json,
)
from remanager_api.values import tagged, untagged

DTYPES = ("<f8", ">f4", "<i2", "|u1", "|b1", "<c16", "<U3", "|S4", "<M8[ns]", "<f2", "<i8")


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    size = int(np.prod(shape)) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype.kind == "U":
        data = b"a\0\0\0" * (size // 4)
    if dtype.kind == "b":
        data = bytes(octet & 1 for octet in data)
    return np.frombuffer(data, dtype).reshape(shape) if size else np.zeros(shape, dtype)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=20)
    | st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=5, minutes=30))]))
    | arrays()
)
keys = st.text(max_size=8) | st.integers() | st.sampled_from(["__ndarray__", "__dict__", "__bytes__"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and (a.dtype, a.shape) == (b.dtype, b.shape)
            and a.tobytes() == b.tobytes()
        )
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, datetime):  # without its ``fold``, which ISO 8601 does not say
        return isinstance(b, datetime) and a.isoformat() == b.isoformat()
    return type(a) is type(b) and repr(a) == repr(b)


def decode(codec: str, payload: bytes) -> Any:
    """Return the value that :func:`encode_value` encoded."""
    return unpack_value(payload) if codec == "msgpack" else json.loads(payload)


@given(values)
def test_the_client_writes_what_tasks_read(value: Any) -> None:
    if "'__" not in repr(value):  # what looks like a tagged form is taken for one
        assert same(value, value_from_json(json.dumps(tagged(value))))


@given(values)
@example({-(2**63) - 1: None})
def test_the_client_reads_what_tasks_write(value: Any) -> None:
    codec, payload = encode_value(value)
    assert same(value, untagged(json.loads(packed_to_json(payload) if codec == "msgpack" else payload)))
    if codec == "msgpack" and "'__" not in repr(value) and "\\ud" not in repr(value):
        raw = msgpack.unpackb(payload, strict_map_key=False)
        assert same(value, untagged(raw))
        assert same(untagged(json.loads(json.dumps(tagged(raw)))), value)


@given(values)
def test_packed_values_come_back(value: Any) -> None:
    codec, payload = encode_value(value)
    assert same(value, decode(codec, payload))


@given(values)
def test_tagged_values_come_back_from_proper_json(value: Any) -> None:
    text = value_to_json(value)

    def refuse(word: str) -> Any:
        raise AssertionError(word)

    json.loads(text, parse_constant=refuse)
    assert same(value, value_from_json(text))


@given(values)
def test_both_forms_say_the_same(value: Any) -> None:
    codec, payload = encode_value(value)
    text = packed_to_json(payload) if codec == "msgpack" else payload.decode()
    assert same(value_from_json(text), value)


@pytest.mark.parametrize(
    "value", [None, 1, 2**80, "ü", [1, [2.5, {"a": None}]], {"a": {"b": [True]}}, OrderedDict(a=1)]
)
def test_what_json_says_exactly_is_json(value: Any) -> None:
    assert encode_value(value) == ("json", json.dumps(value).encode())


def test_a_number_that_cannot_be_written_in_decimal_is_refused() -> None:
    for number in (10**5000, -(10**5000), [10**4301], {"a": (b"", 2**15_000)}):
        with pytest.raises(ValueFault):
            encode_value(number)
    encode_value(10**3900)


@pytest.mark.parametrize("value", [float("nan"), {1: 2}, b"", [float("inf")], {"a": {None: 1}}])
def test_what_json_would_change_is_not_json(value: Any) -> None:
    assert encode_value(value)[0] == "msgpack"


@pytest.mark.parametrize(
    "scalar", [np.float64(0.5), np.float32(0.5), np.int8(-3), np.bool_(True), np.str_("a")]
)
def test_numpy_scalars_are_numbers(scalar: Any) -> None:
    assert encode_value({"x": [scalar]}) == ("json", json.dumps({"x": [scalar.item()]}).encode())
    assert unpack_value(encode_value([scalar, b""])[1]) == [scalar.item(), b""]
    assert value_from_json(value_to_json(scalar)) == scalar.item()


def test_structured_arrays() -> None:
    array = np.zeros(2, [("at", "<f4", (2,)), ("name", "U3"), ("inner", [("a", "<i2"), ("b", "|b1")])])
    array["at"] = [[1, 2], [3, 4]]
    for back in (decode(*encode_value(array)), value_from_json(value_to_json(array))):
        assert back.dtype == array.dtype
        assert (back == array).all()
        back["name"] = "new"  # it is writable


def test_arrays_of_nested_lists() -> None:
    found = value_from_json(
        '{"a": {"__ndarray__": [[1, 2], [3, 4]]}, "b": {"__ndarray__": [1], "dtype": ">f4"}}'
    )
    assert found["a"].tolist() == [[1, 2], [3, 4]]
    assert found["b"].dtype == np.dtype(">f4")


def holds_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({1}, "a value of the type set"),
        ({"a": [0, {"b": lambda: 0}]}, r"a value of the type function, at \['a'\]\[1\]\['b'\]"),
        (1j, "type complex"),
        (np.array([None]), "array of Python objects"),
        (np.ma.array([1]), "MaskedArray"),
        (holds_itself(), "holds itself"),
        ({"x": b"", (1, 2): 3}, "key of the type tuple"),
        ({"x": b"", frozenset(): 3}, "frozenset"),
    ],
)
def test_what_cannot_be_encoded_is_named(value: Any, text: str) -> None:
    for encode in (encode_value, value_to_json):
        with pytest.raises(ValueFault, match=text):
            encode(value)  # type: ignore[operator]


@pytest.mark.parametrize(
    "text",
    [
        '{"__ndarray__": "AAAA"}',
        '{"__ndarray__": "AAAA", "dtype": "<f8", "shape": [1]}',
        '{"__ndarray__": "AAAA", "dtype": "O", "shape": [1]}',
        '{"__ndarray__": "AA==", "dtype": "|u1", "shape": [-1]}',
        '{"__ndarray__": [[1], [2, 3]]}',
        '{"__ndarray__": [1], "shape": [1]}',
        '{"__ndarray__": [1], "dtype": "O"}',
        '{"__ndarray__": [1], "more": 1}',
        '{"__bytes__": "?"}',
        '{"__bytes__": "", "x": 1}',
        '{"__datetime__": "yesterday"}',
        '{"__float__": [] }',
        '{"__dict__": [[[], 1]]}',
        "[" * 100_000,
        "{",
    ],
)
def test_malformed_json_is_refused(text: str) -> None:
    with pytest.raises(ValueFault):
        value_from_json(text)


@given(st.binary(max_size=60))
def test_damaged_payloads_are_refused(payload: bytes) -> None:
    with suppress(ValueFault):
        value_from_json(payload.decode("latin-1"))
    with suppress(ValueFault):
        unpack_value(payload)


@pytest.mark.parametrize(
    "content", [[["O"], [1], b""], ["<f8", [2], b""], ["<f8", [2**62], b""], [1], "x", ["<f8", [-8], b""]]
)
def test_damaged_arrays_are_refused(content: Any) -> None:
    payload = msgpack.packb(msgpack.ExtType(1, msgpack.packb(content)))
    with pytest.raises(ValueFault):
        unpack_value(payload)


def test_numpy_is_only_imported_for_arrays() -> None:
    payload = encode_value(np.arange(3))[1]
    script = (
        "import sys; from remanager.wire.values import *; encode_value({'a': b'b'}); "
        f"packed_to_json({payload!r}); assert 'numpy' not in sys.modules; "
        f"assert unpack_value({payload!r}).sum() == 3"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
