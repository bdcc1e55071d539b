"""Console output as messages: the text streams that replace ``sys.stdout`` and ``sys.stderr``."""

from __future__ import annotations

import codecs
import io
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BUFFER_LINES = 20_000
BUFFER_CHARS = 16 * 1024 * 1024


class ConsoleBuffer:
    """Bounded buffer of console messages; the oldest are dropped first, and the loss is told.

    Parameters
    ----------
    wake : callable
        Called without arguments when the buffer stops being empty. It must not block.
    max_lines, max_chars : int
        Limits on the number of messages and on the characters in all of them.
    """

    def __init__(
        self, wake: Callable[[], None], max_lines: int = BUFFER_LINES, max_chars: int = BUFFER_CHARS
    ) -> None:
        self._wake = wake
        self._max_lines = max_lines
        self._max_chars = max_chars
        # The handler of a signal, or a finalizer, may print wherever a call in here is interrupted.
        self._lock = threading.RLock()
        self._messages: deque[tuple[float, str]] = deque()
        self._chars = 0
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Number of messages dropped since the loss was told last."""
        return self._dropped

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, text: str) -> None:
        """Add a message; an empty text is ignored. Never blocks."""
        if not text:
            return
        text = text[-self._max_chars :]
        size = len(text)
        with self._lock:
            if not self._messages:
                self._wake()  # first: a handler that raises leaves no messages that nobody looks for
            self._messages.append((time.time(), text))
            self._chars += size
            while self._messages and (len(self._messages) > self._max_lines or self._chars > self._max_chars):
                self._take_oldest()
                self._dropped += 1

    def pop(self) -> tuple[float, str] | None:
        """Take the oldest message as ``(time, text)``; None if there is none."""
        with self._lock:
            if self._dropped:
                text = f"[{self._dropped} console messages were dropped]\n"
                self._dropped = 0
                return time.time(), text
            if not self._messages:
                return None
            return self._take_oldest()

    def push_back(self, message: tuple[float, str]) -> None:
        """Put a message taken by :meth:`pop` back to the front."""
        size = len(message[1])
        with self._lock:
            self._messages.appendleft(message)
            self._chars += size

    def _take_oldest(self) -> tuple[float, str]:
        message = self._messages.popleft()
        size = len(message[1])  # not within the subtraction: what is printed meanwhile would not be counted
        self._chars -= size
        return message


class _BytesSide(io.RawIOBase):
    """The ``buffer`` of a console stream: takes bytes, passes text on."""

    def __init__(self, stream: ConsoleStream) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def flush(self) -> None:
        self._stream.flush()

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        octets = bytes(data)
        self._stream.write(self._decoder.decode(octets))
        return len(octets)


class ConsoleStream(io.TextIOBase):
    """Text stream whose every ``write`` becomes one console message, control characters included.

    Parameters
    ----------
    put : callable
        Takes the text of each write.
    name : str
        ``<stdout>`` or ``<stderr>``.
    fd : int
        File descriptor of the stream, for code that asks for it.
    """

    mode = "w"

    def __init__(self, put: Callable[[str], object], name: str, fd: int) -> None:
        super().__init__()
        self._put = put
        self._flush: Callable[[], None] = lambda: None
        self.name = name
        self._fd = fd
        self.buffer = _BytesSide(self)

    def use_descriptor(self) -> None:
        """Write to the descriptor from now on, by lines: in a forked child nobody takes the text."""
        raw = io.FileIO(self._fd, "w", closefd=False)
        plain = io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "replace", line_buffering=True)
        self._put, self._flush = plain.write, plain.flush

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the bytes side."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """How the bytes side treats undecodable bytes."""
        return "replace"

    def write(self, text: str, /) -> int:
        """Pass the text on as one message."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._put(text)
        return len(text)

    def flush(self) -> None:
        """Write what is held back; only a forked child holds back anything."""
        self._flush()

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return False."""
        return False

    def fileno(self) -> int:
        """Return the file descriptor; what is written to it reaches the console, too."""
        return self._fd

    def reconfigure(self, **_options: Any) -> None:
        """Accept the options of :meth:`io.TextIOWrapper.reconfigure`; none of them matters here."""

    def close(self) -> None:
        """Do nothing: the console stays open as long as the process lives."""
