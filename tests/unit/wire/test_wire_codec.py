from __future__ import annotations

import json
import math
from contextlib import suppress
from types import MappingProxyType

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.wire.codec import (
    CachedReply,
    DecodeError,
    Encoding,
    Fragment,
    Keys,
    WordMap,
    decode_request,
    detect_encoding,
    encode_reply,
)
from remanager.wire.values import MAX_DEPTH, ValueFault, pack_value, value_from_json

BOTH = [Encoding.JSON, Encoding.MSGPACK]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)
requests = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=4)


def dumps(value: object, encoding: Encoding) -> bytes:
    return json.dumps(value).encode() if encoding is Encoding.JSON else msgpack.packb(value)


def loads(data: bytes, encoding: Encoding) -> object:
    return json.loads(data) if encoding is Encoding.JSON else msgpack.unpackb(data)


@pytest.mark.parametrize("default", BOTH)
@pytest.mark.parametrize("encoding", BOTH)
@given(request_=requests)
def test_requests_are_decoded_whatever_the_default_is(
    encoding: Encoding, default: Encoding, request_: dict[str, object]
) -> None:
    assert decode_request(dumps(request_, encoding), default) == (request_, encoding)


@pytest.mark.parametrize("encoding", BOTH)
@given(reply=requests)
def test_plain_replies_round_trip(encoding: Encoding, reply: dict[str, object]) -> None:
    assert loads(encode_reply(reply, encoding), encoding) == reply
    assert loads(encode_reply(CachedReply(reply), encoding), encoding) == reply
    assert loads(encode_reply(MappingProxyType(reply), encoding), encoding) == reply


def with_fragments(value: object, draw: st.DataObject) -> object:
    """Replace some parts of a value by their encoded forms."""
    how = draw.draw(st.sampled_from(["keep", "keep", "json", "msgpack", "cached"]))
    if how == "json":
        return Fragment(json=json.dumps(value).encode())
    if how == "msgpack":
        return Fragment(msgpack=msgpack.packb(value))
    if isinstance(value, dict):
        parts = {key: with_fragments(part, draw) for key, part in value.items()}
        return CachedReply(parts) if how == "cached" else parts
    if isinstance(value, list):
        return [with_fragments(part, draw) for part in value]
    return value


@pytest.mark.parametrize("encoding", BOTH)
@given(reply=requests, draw=st.data())
def test_fragments_anywhere_give_the_same_reply(
    encoding: Encoding, reply: dict[str, object], draw: st.DataObject
) -> None:
    spliced = {key: with_fragments(part, draw) for key, part in reply.items()}
    encoded = encode_reply(spliced, encoding)
    # Infinity from msgpack is tagged in JSON.
    told = value_from_json(encoded.decode()) if encoding is Encoding.JSON else loads(encoded, encoding)
    assert told == reply


@pytest.mark.parametrize("encoding", BOTH)
@given(items=st.lists(values, max_size=20))
def test_arrays_of_json_texts(encoding: Encoding, items: list[object]) -> None:
    reply = {"success": True, "items": Fragment.of_json_texts([json.dumps(item) for item in items])}
    assert loads(encode_reply(reply, encoding), encoding) == {"success": True, "items": items}


@pytest.mark.parametrize("encoding", BOTH)
@given(content=st.dictionaries(st.text(), st.sampled_from([None, 1, "a"]), max_size=20))
def test_objects_of_words(encoding: Encoding, content: dict[str, object]) -> None:
    keys, words = Keys(list(content)), {None: "nothing", 1: 'o"ne', "a": "\u00e4"}
    values = content.values()
    reply = {"a": WordMap(keys, values, words), "b": WordMap(keys, values, dict.fromkeys(words, ""))}
    expected = {"a": {k: words[v] for k, v in content.items()}, "b": dict.fromkeys(content, "")}
    encoded = encode_reply(reply, encoding)
    assert encoded == encode_reply(expected, encoding)
    assert loads(encoded, encoding) == expected


@given(frame=st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(frame: bytes) -> None:
    for default in BOTH:
        with suppress(DecodeError):
            decode_request(frame, default)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b"", None),
        (b"   ", None),
        (b"\x00", None),
        (b"GET / HTTP/1.1\r\n", None),
        (b'"status"', None),
        (b"\xff\xfe{", None),
        (b"{", Encoding.JSON),
        (b"[1]", Encoding.JSON),
        (b" \r\n\t{}", Encoding.JSON),
        (b"\x81\xa1a\x01", Encoding.MSGPACK),
        (b"\xde\x00\x01\xa1a\x01", Encoding.MSGPACK),
        (b"\xdf\x00\x00\x00\x01\xa1a\x01", Encoding.MSGPACK),
    ],
)
def test_detection(frame: bytes, expected: Encoding | None) -> None:
    for default in BOTH:
        assert detect_encoding(frame, default) is (expected or default)


@pytest.mark.parametrize(
    ("frame", "default", "text"),
    [
        (b"", Encoding.JSON, "JSON decode error: Expecting value: line 1 column 1 (char 0)"),
        (b'{"method":', Encoding.JSON, "JSON decode error: Expecting value: line 1 column 11 (char 10)"),
        (b'{"method":', Encoding.MSGPACK, "JSON decode error: Expecting value: line 1 column 11 (char 10)"),
        (b'{"a": "\xff"}', Encoding.JSON, "JSON decode error: 'utf-8' codec can't decode byte 0xff"),
        (b"", Encoding.MSGPACK, "MSGPACK decode error: Unpack failed: incomplete input"),
        (
            msgpack.packb({"k": "value"})[:-1],
            Encoding.JSON,
            "MSGPACK decode error: Unpack failed: incomplete",
        ),
        (b"\x81\xa1a\xc1", Encoding.MSGPACK, "MSGPACK decode error: "),
        (b"\x80\x80", Encoding.MSGPACK, "MSGPACK decode error: unpack(b) received extra data."),
        (b"[" * 100_000, Encoding.JSON, "JSON decode error: maximum recursion depth exceeded"),
        (b"\x81" * 10_000, Encoding.JSON, "MSGPACK decode error: "),
        (b'{"a": ' + b"1" * 5000 + b"}", Encoding.JSON, "JSON decode error: Exceeds the limit"),
    ],
)
def test_texts_of_decode_errors(frame: bytes, default: Encoding, text: str) -> None:
    with pytest.raises(DecodeError) as info:
        decode_request(frame, default)
    assert info.value.code == "invalid_request"
    assert str(info.value).startswith(f"Failed to decode the request: {text}")
    assert info.value.encoding.name == text.split(maxsplit=1)[0]


@pytest.mark.parametrize("encoding", BOTH)
@pytest.mark.parametrize("kind", [dict, list])
def test_requests_are_refused_beyond_a_fixed_depth(encoding: Encoding, kind: type) -> None:
    def request(depth: int) -> object:
        value: object = kind()
        for _ in range(depth - 2):
            value = {"a": value} if kind is dict else [1, value, "x"]
        return {"method": "x", "wide": [[]] * 1000, "params": value}

    deepest = request(MAX_DEPTH)
    assert decode_request(dumps(deepest, encoding), encoding) == (deepest, encoding)
    for depth in (MAX_DEPTH + 1, 500):
        with pytest.raises(DecodeError, match="it is nested deeper than 200 levels"):
            decode_request(dumps(request(depth), encoding), encoding)
    brackets = {"a": "[{" * 1000}
    assert decode_request(dumps(brackets, encoding), encoding) == (brackets, encoding)


def test_nan_and_infinity_pass_both_ways() -> None:
    request, _ = decode_request(b'{"a": [NaN, Infinity, -Infinity]}', Encoding.JSON)
    for encoding in BOTH:
        reply = loads(encode_reply({"r": request}, encoding), encoding)
        nan, *infinities = reply["r"]["a"]  # type: ignore[index, call-overload]
        assert math.isnan(nan)
        assert infinities == [math.inf, -math.inf]
    fragment = Fragment(json=b"[NaN]")
    assert math.isnan(loads(encode_reply({"r": fragment}, Encoding.MSGPACK), Encoding.MSGPACK)["r"][0])  # type: ignore[index, call-overload]


def test_lone_surrogates_reach_the_client() -> None:
    request, _ = decode_request(rb'{"a": "\ud800"}', Encoding.JSON)
    assert loads(encode_reply({"r": request}, Encoding.JSON), Encoding.JSON) == {"r": {"a": "\ud800"}}
    assert loads(encode_reply({"r": request}, Encoding.MSGPACK), Encoding.MSGPACK) == {"r": {"a": "\\ud800"}}


@pytest.mark.parametrize("encoding", BOTH)
@pytest.mark.parametrize("wrong", [{1, 2}, object(), 1 + 2j])
def test_values_beyond_the_encoding_raise_type_error(encoding: Encoding, wrong: object) -> None:
    for reply in ({"a": wrong}, {"a": wrong, "f": Fragment(json=b"1")}, {"a": [Fragment(json=b"1"), wrong]}):
        with pytest.raises(TypeError):
            encode_reply(reply, encoding)


def test_broken_or_inexpressible_fragments_raise() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Fragment()
    with pytest.raises(ValueError, match="Expecting value"):
        encode_reply({"f": Fragment(json=b"nonsense")}, Encoding.MSGPACK)
    with pytest.raises(ValueFault, match="not a value in msgpack"):
        encode_reply({"f": Fragment(msgpack=b"\xc1")}, Encoding.JSON)
    with pytest.raises(TypeError, match="keys of replies"):
        encode_reply({"a": {1: Fragment(json=b"1")}}, Encoding.JSON)


@pytest.mark.parametrize("sent", [{"f": Fragment(json=f"[1, {2**70}]".encode())}, {"f": [1, 2**70]}])
def test_numbers_of_more_than_64_bits_become_floats_in_msgpack(sent: dict[str, object]) -> None:
    """What one client wrote in JSON must not keep another one from reading it."""
    assert loads(encode_reply(sent, Encoding.MSGPACK), Encoding.MSGPACK) == {"f": [1, float(2**70)]}
    assert loads(encode_reply(sent, Encoding.JSON), Encoding.JSON) == {"f": [1, 2**70]}


def test_numbers_beyond_floats_become_text_in_msgpack() -> None:
    assert loads(encode_reply({"a": 16**1000}, Encoding.MSGPACK), Encoding.MSGPACK) == {"a": hex(16**1000)}


@pytest.mark.parametrize("encoding", BOTH)
def test_cached_replies_are_encoded_once(encoding: Encoding) -> None:
    reply = CachedReply({"msg": "", "items": Fragment(json=b"[1]")})
    first = encode_reply(reply, encoding)
    assert encode_reply(reply, encoding) is first
    assert loads(first, encoding) == {"msg": "", "items": [1]}


def test_what_json_has_no_form_for_is_tagged() -> None:
    fragment = Fragment(msgpack=pack_value({"raw": b"\x00", "array": np.array([1.5], "<f4")}))
    reply = json.loads(encode_reply({"f": fragment}, Encoding.JSON))
    assert reply["f"] == {
        "raw": {"__bytes__": "AA=="},
        "array": {"__ndarray__": "AADAPw==", "dtype": "<f4", "shape": [1]},
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"v": float("nan"), 1: 2}, {"__dict__": [["v", {"__float__": "nan"}], [1, 2]]}),
        ([1.5, float("-inf"), None], [1.5, {"__float__": "-inf"}, None]),
        ({"a": {1: "b"}}, {"a": {"__dict__": [[1, "b"]]}}),
        ({"__bytes__": "no tag"}, {"__dict__": [["__bytes__", "no tag"]]}),
    ],
)
def test_what_json_would_change_is_tagged(value: object, expected: object) -> None:
    frame = encode_reply({"f": Fragment(msgpack=pack_value(value))}, Encoding.JSON)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert json.loads(frame, parse_constant=refuse) == {"f": expected}


packed_values = st.recursive(
    scalars | st.binary(max_size=4) | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=4)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=2) | st.integers() | st.binary(max_size=2), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(value=packed_values)
def test_packed_requests_that_json_can_express_are_made_of_what_json_decodes_to(value: object) -> None:
    with suppress(DecodeError, TypeError, ValueError, OverflowError):
        frame = msgpack.packb({"params": value})
        request, _ = decode_request(frame, Encoding.MSGPACK)
        text = json.dumps(request)
        assert json.loads(text) == request
