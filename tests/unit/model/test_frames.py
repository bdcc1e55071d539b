"""Frames: however a stream is cut into pieces, the same frames come out of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.model import frames
from remanager.model.frames import FrameReader, FrameTooLarge, frame


def read(reader: FrameReader, data: bytes) -> list[bytes]:
    reader.feed(data)
    found = []
    while (content := reader.next()) is not None:
        found.append(bytes(content))
    return found


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(stream) + 1) for place in places)
    return [stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)]


@given(st.lists(st.binary(max_size=300)), st.lists(st.integers(min_value=0), max_size=30))
def test_any_division_of_the_stream_gives_the_same_frames(contents: list[bytes], places: list[int]) -> None:
    reader = FrameReader()
    found: list[bytes] = []
    for piece in cut(b"".join(map(frame, contents)), places):
        found += read(reader, piece)
    assert found == contents


@given(st.lists(st.binary(max_size=300)))
def test_byte_by_byte(contents: list[bytes]) -> None:
    reader = FrameReader()
    stream = b"".join(map(frame, contents))
    found = [content for n in range(len(stream)) for content in read(reader, stream[n : n + 1])]
    assert found == contents


@given(st.lists(st.binary(max_size=50)), st.data())
def test_a_stream_that_breaks_off_gives_no_frame_that_is_not_whole(
    contents: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(frame, contents))
    length = data.draw(st.integers(0, len(stream)))
    found = read(FrameReader(), stream[:length])
    assert found == contents[: len(found)]
    assert sum(map(len, map(frame, contents[: len(found) + 1]))) > length or found == contents


@given(st.binary(max_size=200))
def test_garbage_is_frames_or_refused(data: bytes) -> None:
    reader = FrameReader(max_bytes=100)
    try:
        found = read(reader, data)
    except FrameTooLarge:
        return
    assert all(len(content) <= 100 for content in found)


def test_a_frame_that_is_too_large_is_refused_as_soon_as_its_length_is_there() -> None:
    reader = FrameReader(max_bytes=5)
    assert read(reader, frame(b"12345") + frame(b"123456")[:3]) == [b"12345"]
    reader.feed(frame(b"123456")[3:4])
    for _ in range(2):
        with pytest.raises(FrameTooLarge, match="6 bytes"):
            reader.next()


def test_the_bound_can_change_between_frames() -> None:
    reader = FrameReader(max_bytes=1)
    reader.feed(frame(b"a") + frame(b"long"))
    assert reader.next() == b"a"
    reader.max_bytes = 4
    assert reader.next() == b"long"
    assert reader.next() is None


def test_what_no_reader_would_take_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", 3)
    assert frame(b"abc")
    with pytest.raises(FrameTooLarge):
        frame(b"abcd")
