"""Frames on a stream of bytes: each is its length in four bytes, and its content."""

from __future__ import annotations

_HEADER_BYTES = 4

MAX_FRAME_BYTES = 1 << 31
"""Larger than the largest message there is: tasks that are handed over together, each with its item and
checkpoint."""

RECEIVE_BYTES = 1 << 16
"""What is read in one go; for larger buffers the allocator asks the system for memory each time."""


class FrameTooLarge(ValueError):
    """A frame is larger than it may be."""


def frame(content: bytes) -> bytes:
    """Return content with its length before it.

    Raises
    ------
    FrameTooLarge
        It is larger than any frame may be.
    """
    if len(content) > MAX_FRAME_BYTES:
        raise FrameTooLarge(f"{len(content)} bytes; at most {MAX_FRAME_BYTES} are sent")
    return len(content).to_bytes(_HEADER_BYTES, "big") + content


class FrameReader:
    """Divides a stream of bytes into frames.

    Parameters
    ----------
    max_bytes : int
        Largest content of a frame, bytes; it may be changed between two frames.
    """

    __slots__ = ("_buffer", "max_bytes")

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self.max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._buffer += data

    def next(self) -> bytearray | None:
        """Return the content of the next frame; None if it is not complete.

        Raises
        ------
        FrameTooLarge
            The next frame is too large; there is no way on behind it.
        """
        buffer = self._buffer
        if len(buffer) < _HEADER_BYTES:
            return None
        size = int.from_bytes(buffer[:_HEADER_BYTES], "big")
        if size > self.max_bytes:
            raise FrameTooLarge(f"a frame of {size} bytes; at most {self.max_bytes} are taken")
        end = _HEADER_BYTES + size
        if len(buffer) < end:
            return None
        if len(buffer) == end:  # as mostly: it need not be copied
            self._buffer = bytearray()
            del buffer[:_HEADER_BYTES]
            return buffer
        content = buffer[_HEADER_BYTES:end]
        del buffer[:end]
        return content
