"""Console output in the journal of systemd: records with priorities in place of pieces of text with times."""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from remanager.daemon.console import OutputWriter
from remanager.daemon.journal_stream import ERROR, WARNING

NATIVE_SOCKET: Final = Path("/run/systemd/journal/socket")
"""Socket of the journal that takes records of several lines."""

INFO: Final = 6
_PRIORITIES: Final = {"D": 7, "I": INFO, "W": WARNING, "E": ERROR, "C": 2}
_LOGGED: Final = re.compile(r"\[([DIWEC]) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,]\d{3} ([\w.-]+)\] ")
_NEXT_LOGGED: Final = re.compile(r"\n(?=\[[DIWEC] \d{4}-\d\d-\d\d )")
_TRACEBACK: Final = "Traceback (most recent call last):"
_ESCAPES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
# The journal cuts longer lines, too.
_MAX_CHARS: Final = 16 << 10
# A datagram must fit into the send buffer of a socket, about 200 kB by default.
_MAX_DATAGRAM_BYTES: Final = 128 << 10


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """An entry of the journal.

    Attributes
    ----------
    priority : int
        As in ``syslog(3)``: 3 error, 4 warning, 6 information.
    text : str
        One line or several, without the last end of line.
    source : str or None
        The worker of the pool that wrote it; None for manager and environment worker.
    """

    priority: int
    text: str
    source: str | None = None


@dataclass(slots=True)
class _Pending:
    """What a source has written and what is not a record yet."""

    line: str = ""
    block: list[str] = field(default_factory=list)


class RecordCutter:
    """Makes records of the pieces of text in which console output arrives.

    A piece that is a log record, with its traceback, stays one record; so does a traceback that is printed.
    Everything else becomes a record for each line. What a line overwrites of itself, as progress bars do, and
    colours are left out.
    """

    def __init__(self) -> None:
        self._pending: dict[str | None, _Pending] = {}

    def feed(self, text: str, source: str | None = None) -> list[JournalRecord]:
        """Take a piece of a source's output and return the records that are complete now."""
        pending = self._pending.setdefault(source, _Pending())
        records: list[JournalRecord] = []
        if text.endswith("\n") and _LOGGED.match(text):  # also amid a line of somebody else
            for part in _NEXT_LOGGED.split(text[:-1]):
                records += _logged(part, source)
        else:
            *lines, rest = (pending.line + text).split("\n")
            for line in lines:
                self._take_line(_visible(line), pending, source, records)
            # What is overwritten is not kept; the last return may belong to an end of line.
            pending.line = rest[max(rest.rstrip("\r").rfind("\r"), 0) :]
            if len(pending.line) > _MAX_CHARS:
                self._take_line(_visible(pending.line), pending, source, records)
                pending.line = ""
        if not pending.line and not pending.block:
            del self._pending[source]
        return records

    def flush(self) -> list[JournalRecord]:
        """Return what is left as records."""
        records: list[JournalRecord] = []
        for source, pending in self._pending.items():
            self._take_line(_visible(pending.line), pending, source, records)
            self._end_block(pending, source, records)
        self._pending.clear()
        return records

    def _take_line(
        self, line: str, pending: _Pending, source: str | None, records: list[JournalRecord]
    ) -> None:
        if pending.block and (line.startswith((" ", "\t")) or not line):
            pending.block.append(line)
            if sum(map(len, pending.block)) > _MAX_CHARS:
                self._end_block(pending, source, records)
        elif pending.block:
            # The exception itself ends its traceback.
            pending.block.append(line)
            self._end_block(pending, source, records)
        elif line.startswith(_TRACEBACK):
            pending.block.append(line)
        else:
            records += _logged(line, source)

    @staticmethod
    def _end_block(pending: _Pending, source: str | None, records: list[JournalRecord]) -> None:
        text = "\n".join(pending.block).rstrip()
        pending.block.clear()
        if text:
            records.append(JournalRecord(ERROR, text, source))


def _visible(line: str) -> str:
    """Return what a terminal would show of a line, without colours."""
    shown = line.rstrip("\r").rpartition("\r")[2]
    return _CONTROLS.sub("", _ESCAPES.sub("", shown))


def _logged(text: str, source: str | None) -> list[JournalRecord]:
    """Return a text as a record; time and level of a log record become its priority."""
    found = _LOGGED.match(text)
    if found is None:
        return [JournalRecord(INFO, text, source)] if text.strip() else []
    text = f"{found[2]}: {text[found.end() :]}"
    text = "\n".join(_visible(line) for line in text.split("\n"))
    return [JournalRecord(_PRIORITIES[found[1]], text[: 4 * _MAX_CHARS], source)]


def as_lines(record: JournalRecord) -> bytes:
    """Return a record for the journal's stream, where each line is an entry with the same priority."""
    lines = record.text.split("\n")
    return "".join(f"<{record.priority}>{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def as_datagram(record: JournalRecord) -> bytes:
    """Return a record in the native protocol of the journal, where it stays one entry."""
    message = record.text.encode("utf-8", "backslashreplace")[:_MAX_DATAGRAM_BYTES]
    head = f"PRIORITY={record.priority}\nSYSLOG_IDENTIFIER=remanager\n"
    if record.source is not None:
        head += f"REMANAGER_WORKER_UID={record.source}\n"
    return head.encode() + b"MESSAGE\n" + struct.pack("<Q", len(message)) + message + b"\n"


class DatagramWriter(OutputWriter):
    """Sends each piece as a datagram of its own. One that can not be sent does not end it."""

    def _deliver(self, pieces: list[bytes]) -> bool:
        return all(self._write(piece, len(piece)) or not self._give_up.is_set() for piece in pieces)

    def _loss_note(self, lost: int) -> bytes:
        return as_datagram(JournalRecord(WARNING, super()._loss_note(lost).decode().strip()))


class JournalWriter:
    """Writes console output to the journal.

    Parameters
    ----------
    fd : int
        The journal's stream.
    native : Path
        Socket for whole records; where it can not be reached, the stream is used.
    """

    def __init__(self, fd: int, native: Path = NATIVE_SOCKET) -> None:
        self._cutter = RecordCutter()
        self._output: OutputWriter
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            try:
                connection.connect(str(native))
            except OSError:
                self._encode = as_lines
                self._output = OutputWriter(fd)
            else:
                self._encode = as_datagram
                self._output = DatagramWriter(connection.fileno())

    def write(self, text: str, source: str | None = None) -> None:
        """Take console output of a source; never blocks."""
        for record in self._cutter.feed(text, source):
            self._output.put(self._encode(record))

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is left, but for no longer than ``timeout_s`` (s)."""
        for record in self._cutter.flush():
            self._output.put(self._encode(record))
        self._output.close(timeout_s)
