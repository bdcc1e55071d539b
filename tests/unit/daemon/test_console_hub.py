from __future__ import annotations

import asyncio
import logging
import os
import re
import select
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.daemon.console import ConsoleHub, HubLogHandler, OutputWriter

WAIT_S = 10.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(fd, size - len(data))
    return data


@given(texts=st.lists(st.text(max_size=50), max_size=50), since=st.integers(0, 60), limit=st.integers(0, 60))
def test_pages_are_runs_of_the_kept_messages(texts: list[str], since: int, limit: int) -> None:
    hub = ConsoleHub(max_bytes=2000)
    for n, text in enumerate(texts):
        hub.feed(text, float(n))
    written = [t for t in texts if t]
    everything = hub.since(0, 1000)
    assert [m.text for m in everything.messages] == written[len(written) - len(everything.messages) :]
    assert everything.next_seq == len(written) + 1
    assert not everything.gap
    page = hub.since(since, limit)
    expected = [m for m in everything.messages if m.seq >= since][:limit]
    assert page.messages == expected
    assert page.gap == (0 < since < everything.oldest_seq)
    if expected:
        assert page.next_seq == expected[-1].seq + 1


def test_paging_through_everything() -> None:
    hub = ConsoleHub(first_seq=100)
    assert hub.since(0).next_seq == 100
    for n in range(25):
        hub.feed(str(n), 0.0)
    seen, seq = [], 0
    while messages := (page := hub.since(seq, 10)).messages:
        seen += [m.text for m in messages]
        seq = page.next_seq
    assert seen == [str(n) for n in range(25)]
    assert hub.since(10**9).messages == []


def test_memory_is_bounded_and_large_texts_are_cut() -> None:
    hub = ConsoleHub(max_bytes=200_000)
    text = "".join(chr(ord("a") + n % 26) for n in range(150_000))
    hub.feed(text, 1.0)
    page = hub.since(0)
    assert "".join(m.text for m in page.messages) == text
    assert len(page.messages) == 3
    hub.feed(text, 2.0)
    assert sum(len(m.text) for m in hub.since(0).messages) <= 200_000
    assert hub.since(1).gap


def test_output_is_written_in_order(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = OutputWriter(fd)
    hub = ConsoleHub(writer=writer)
    hub.feed("a\r", 0.0)
    hub.feed("b \N{GREEK SMALL LETTER ALPHA} \ud800\n", 0.0)
    expected = "a\rb \N{GREEK SMALL LETTER ALPHA} \\ud800\n".encode()
    assert read_exactly(reader, len(expected)) == expected
    writer.close()


def test_a_blocked_terminal_blocks_nobody_and_the_loss_is_noted(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = OutputWriter(fd, max_bytes=300_000)
    for _ in range(1000):
        writer.write("x" * 1000)
    lost = writer.dropped_bytes
    assert lost >= 600_000
    # The loss is told beside the texts that follow.
    data, told = b"", 0
    readable = select.poll()
    readable.register(reader, select.POLLIN)
    while told < writer.dropped_bytes:
        writer.write("more")
        if readable.poll(50):  # nothing comes if this text was dropped, too
            data += os.read(reader, 1 << 20)
        told = sum(int(n) for n in re.findall(rb"\[(\d+) bytes of console output are not shown here\]", data))
    assert told == writer.dropped_bytes
    assert data.count(b"x") == 1_000_000 - lost
    writer.close()


def test_closing_does_not_wait_for_a_blocked_terminal(pipe: tuple[int, int]) -> None:
    _, fd = pipe
    writer = OutputWriter(fd)
    writer.write("x" * 1_000_000)
    writer.close(timeout_s=0.01)
    assert all(thread.name != "console-output" for thread in threading.enumerate())


def test_closing_writes_what_is_queued(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = OutputWriter(fd)
    writer.write("last words")
    writer.close(WAIT_S)
    assert read_exactly(reader, 10) == b"last words"
    writer.write("too late")
    assert writer.dropped_bytes == 8


def test_a_reader_that_left_does_no_harm() -> None:
    reader, fd = os.pipe()
    writer = OutputWriter(fd)
    os.close(reader)
    writer.write("nobody reads this")
    writer.close(WAIT_S)
    os.close(fd)


async def test_log_records_of_all_threads_reach_the_hub() -> None:
    hub = ConsoleHub()
    handler = HubLogHandler(hub, asyncio.get_running_loop())
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("remanager.test_console_hub")
    logger.addHandler(handler)
    try:
        logger.warning("here %d", 1)
        await asyncio.to_thread(logger.error, "there")
        flushed = asyncio.Event()
        asyncio.get_running_loop().call_soon(flushed.set)
        await flushed.wait()
        assert [m.text for m in hub.since(0).messages] == ["WARNING here 1\n", "ERROR there\n"]
    finally:
        logger.removeHandler(handler)
