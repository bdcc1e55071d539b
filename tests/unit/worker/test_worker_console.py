"""Console buffer and streams."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest

from remanager.worker.console import ConsoleBuffer, ConsoleStream

WAIT_S = 10


class Sink(list[str]):
    def stream(self) -> ConsoleStream:
        return ConsoleStream(self.append, "<stdout>", 1)


@pytest.fixture
def sink() -> Sink:
    return Sink()


def texts(buffer: ConsoleBuffer) -> list[str]:
    found = []
    while (message := buffer.pop()) is not None:
        found.append(message[1])
    return found


def test_each_write_is_one_message(sink: Sink) -> None:
    print("a", "b", file=sink.stream())
    assert sink == ["a", " ", "b", "\n"]


def test_control_characters_pass_unchanged(sink: Sink) -> None:
    sink.stream().write("\r 50%\x1b[A")
    assert sink == ["\r 50%\x1b[A"]


def test_bytes_are_decoded_across_writes(sink: Sink) -> None:
    stream = sink.stream()
    first, second = "é".encode()[:1], "é".encode()[1:]
    assert stream.buffer.write(first) == 1
    stream.buffer.write(second + b"\xff")
    assert "".join(sink) == "é\N{REPLACEMENT CHARACTER}"


def test_the_stream_behaves_as_a_text_stream(sink: Sink) -> None:
    stream = sink.stream()
    assert isinstance(stream, io.TextIOBase)
    assert (stream.encoding, stream.errors, stream.mode) == ("utf-8", "replace", "w")
    assert stream.writable()
    assert not stream.isatty()
    assert stream.fileno() == 1
    assert stream.buffer.fileno() == 1
    stream.reconfigure(line_buffering=True)
    stream.writelines(["a", "b"])
    stream.flush()
    stream.close()
    assert stream.write("c") == 1
    assert sink == ["a", "b", "c"]


def test_a_stream_may_write_to_its_descriptor(sink: Sink, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        stream = ConsoleStream(sink.append, "<stdout>", file.fileno())
        stream.use_descriptor()

        def written() -> str:
            return (tmp_path / "out").read_text("utf-8")

        assert stream.write("a\udcffé") == 3
        assert written() == ""
        stream.write("\n")
        assert written() == "a?é\n"
        stream.buffer.write(b"b")
        stream.buffer.flush()
        assert written() == "a?é\nb"
    assert sink == []


def test_other_types_than_text_are_refused(sink: Sink) -> None:
    with pytest.raises(TypeError):
        sink.stream().write(b"a")  # type: ignore[arg-type]


def test_logging_handlers_work(sink: Sink) -> None:
    handler = logging.StreamHandler(sink.stream())
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "hello", None, None))
    assert sink == ["hello\n"]


def test_the_buffer_wakes_only_when_it_was_empty() -> None:
    woken: list[None] = []
    buffer = ConsoleBuffer(lambda: woken.append(None))
    for text in ("a", "", "b"):
        buffer.put(text)
    assert len(woken) == 1
    assert texts(buffer) == ["a", "b"]
    buffer.put("c")
    assert len(woken) == 2


def test_the_oldest_messages_are_dropped_and_the_loss_is_told() -> None:
    buffer = ConsoleBuffer(lambda: None, max_lines=2)
    for text in "abcd":
        buffer.put(text)
    assert buffer.dropped == 2
    assert texts(buffer) == ["[2 console messages were dropped]\n", "c", "d"]
    assert buffer.dropped == 0


def test_the_buffer_is_bounded_in_characters() -> None:
    buffer = ConsoleBuffer(lambda: None, max_chars=10)
    for text in ("aaaa", "bbbb", "cccc", "d" * 100):
        buffer.put(text)
    assert texts(buffer)[1:] == ["d" * 10]


def test_a_message_can_be_put_back() -> None:
    buffer = ConsoleBuffer(lambda: None)
    buffer.put("a")
    buffer.put("b")
    message = buffer.pop()
    assert message is not None
    buffer.push_back(message)
    assert texts(buffer) == ["a", "b"]
    assert len(buffer) == 0


@pytest.mark.parametrize("act", [ConsoleBuffer.put, ConsoleBuffer.pop])
@pytest.mark.parametrize("moment", range(10))
def test_what_interrupts_the_buffer_may_print(act: Callable[..., object], moment: int) -> None:
    """The handler of a signal, or a finalizer, prints at any point of what it interrupts."""
    buffer = ConsoleBuffer(lambda: None, max_chars=10)
    buffer.put("aaaa")
    buffer.put("bbbb")
    left = moment

    def at(_frame: FrameType, _event: str, _arg: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            sys.setprofile(None)
            buffer.put("ii")

    def interrupted() -> None:
        sys.setprofile(at)
        try:
            act(buffer, "cccc") if act is ConsoleBuffer.put else act(buffer)
        finally:
            sys.setprofile(None)

    thread = threading.Thread(target=interrupted, daemon=True)
    thread.start()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert buffer._chars == sum(len(text) for _, text in buffer._messages)
    assert (left < 0) is ("ii" in texts(buffer))


def test_a_handler_that_raises_leaves_no_message_unnoticed() -> None:
    woken: list[None] = []
    buffer = ConsoleBuffer(lambda: woken.append(None))

    def at(_frame: FrameType, event: str, arg: object) -> None:
        if event == "c_return" and getattr(arg, "__name__", "") == "append" and len(buffer) > 0:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(at)
    with suppress(KeyboardInterrupt):
        buffer.put("a")
    sys.setprofile(None)
    assert len(buffer) == 1
    assert woken
