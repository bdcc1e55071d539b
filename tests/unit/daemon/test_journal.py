from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remanager.daemon.console import ConsoleHub
from remanager.daemon.journal import JournalRecord, JournalWriter, RecordCutter, as_datagram, as_lines
from remanager.daemon.journal_stream import is_journal, say

STAMP = "2026-11-22 02:50:50"
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    g()\nValueError: no\n'


def cut(*pieces: str) -> list[JournalRecord]:
    cutter = RecordCutter()
    return [record for piece in pieces for record in cutter.feed(piece)] + cutter.flush()


@pytest.mark.parametrize(
    ("pieces", "records"),
    [
        (["a\nb\n"], [(6, "a"), (6, "b")]),
        (["a", "b", "\n"], [(6, "ab")]),
        (["no end"], [(6, "no end")]),
        (["\n", "   \n"], []),
        ([f"[I {STAMP}.158 remanager.worker] Ready\n"], [(6, "remanager.worker: Ready")]),
        ([f"[W {STAMP},158 remanager.x] Hm\n"], [(4, "remanager.x: Hm")]),
        ([f"[C {STAMP},158 x] No\n", "more\n"], [(2, "x: No"), (6, "more")]),
        # A log record with its traceback is one record, and does not join a line that somebody else began.
        ([f"[E {STAMP}.158 x] Failed\n{TRACEBACK}"], [(3, f"x: Failed\n{TRACEBACK[:-1]}")]),
        (
            ["half ", f"[E {STAMP}.158 x] Failed\n  because\n[D {STAMP}.159 x] Next\n", "whole\n"],
            [(3, "x: Failed\n  because"), (7, "x: Next"), (6, "half whole")],
        ),
        # A printed traceback is one record, however it arrives.
        ([TRACEBACK, "after\n"], [(3, TRACEBACK[:-1]), (6, "after")]),
        (
            ["before\n", *(c for c in TRACEBACK), "after\n"],
            [(6, "before"), (3, TRACEBACK[:-1]), (6, "after")],
        ),
        (
            ["Traceback (most recent call last):\n  cut off"],
            [(3, "Traceback (most recent call last):\n  cut off")],
        ),
        # What a terminal would show.
        (["\r 10%", "\r 20%", "\r 30%\n"], [(6, " 30%")]),
        (["10%\r", "20%\r", "done\r\n"], [(6, "done")]),
        (["\x1b[31mred\x1b[0m\tand\x07 \x1b]0;title\x07plain\n"], [(6, "red\tand plain")]),
    ],
)
def test_records(pieces: list[str], records: list[tuple[int, str]]) -> None:
    assert [(r.priority, r.text) for r in cut(*pieces)] == records


def test_sources_do_not_mix() -> None:
    cutter = RecordCutter()
    assert cutter.feed("one ", "a") == []
    assert cutter.feed("two\n", "b") == [JournalRecord(6, "two", "b")]
    assert cutter.feed("one\n", "a") == [JournalRecord(6, "one one", "a")]


@given(st.lists(st.text(alphabet="ab \n", max_size=20), max_size=20))
def test_no_text_is_lost_however_it_is_cut(pieces: list[str]) -> None:
    whole = [line for line in "".join(pieces).split("\n") if line.strip()]
    assert [r.text for r in cut(*pieces)] == whole


@given(st.lists(st.text(max_size=30), max_size=20))
def test_anything_may_be_printed(pieces: list[str]) -> None:
    for record in cut(*pieces):
        assert as_lines(record).startswith(b"<%d>" % record.priority)
        assert as_datagram(record)


def test_memory_is_bounded() -> None:
    cutter = RecordCutter()
    lines = [r.text for _ in range(100) for r in cutter.feed("x" * 1000)]
    assert len(lines) >= 5
    progress = [r for n in range(100_000) for r in cutter.feed(f"\r{n}")]
    assert len(progress) == 0
    block = cutter.feed(TRACEBACK.splitlines()[0] + "\n")
    for _ in range(1000):
        block += cutter.feed("  " + "y" * 100 + "\n")
    assert len(block) > 3


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def identity(fd: int) -> str:
    found = os.fstat(fd)
    return f"{found.st_dev}:{found.st_ino}"


def test_the_journal_is_told_from_other_streams(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _, fd = pipe
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    assert not is_journal(fd)
    monkeypatch.setenv("JOURNAL_STREAM", identity(fd))
    assert is_journal(fd)
    assert not is_journal(2)
    assert not is_journal(999_999)
    say("plain")
    monkeypatch.setenv("JOURNAL_STREAM", identity(2))
    say("two\nlines", 4)
    assert capfd.readouterr().err == "plain\n<4>two\n<4>lines\n"


def test_without_the_native_socket_lines_have_priorities(pipe: tuple[int, int], tmp_path: Path) -> None:
    reader, fd = pipe
    writer = JournalWriter(fd, tmp_path / "none")
    hub = ConsoleHub(writer=writer)
    hub.feed(f"[E {STAMP}.158 x] Failed\n{TRACEBACK}", 0.0)
    hub.feed("of a worker\n", 0.0, "uid")
    hub.feed("no end", 0.0)
    writer.close()
    lines = os.read(reader, 65536).decode().splitlines()
    assert lines == [
        *(f"<3>{line}" for line in ["x: Failed", *TRACEBACK.splitlines()]),
        "<6>of a worker",
        "<6>no end",
    ]


def fields(datagram: bytes) -> dict[str, str]:
    """Read a datagram of the native protocol."""
    found: dict[str, str] = {}
    while datagram:
        line, _, datagram = datagram.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", datagram[:8])
            value, datagram = datagram[8 : 8 + size], datagram[9 + size :]
        found[name.decode()] = value.decode()
    return found


def test_the_native_socket_takes_whole_records(pipe: tuple[int, int], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        journal.settimeout(10)
        writer = JournalWriter(pipe[1], tmp_path / "journal")
        writer.write(f"[E {STAMP}.158 x] Failed\n{TRACEBACK}")
        failed = fields(journal.recv(1 << 18))
        assert failed == {
            "PRIORITY": "3",
            "SYSLOG_IDENTIFIER": "remanager",
            "MESSAGE": f"x: Failed\n{TRACEBACK[:-1]}",
        }
        writer.write("from a worker\n", "uid")
        assert fields(journal.recv(1 << 18))["REMANAGER_WORKER_UID"] == "uid"
        # More than a datagram can hold, in characters of four bytes.
        writer.write(f"[I {STAMP}.158 x] {chr(0x1F600) * 100_000}\n")
        writer.write("goes on\n")
        assert len(journal.recv(1 << 18)) > 100_000
        assert fields(journal.recv(1 << 18))["MESSAGE"] == "goes on"
        writer.close()
    assert not select.select([pipe[0]], [], [], 0)[0]


def test_a_journal_that_went_away_does_no_harm(pipe: tuple[int, int], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        writer = JournalWriter(pipe[1], tmp_path / "journal")
    writer.write("nobody reads this\n")
    writer.close()
    assert not select.select([pipe[0]], [], [], 0)[0]
