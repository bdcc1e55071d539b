"""How an exception of user code is told to people."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

NAME_LIMIT = 200
MESSAGE_LIMIT = 10_000
TRACEBACK_LIMIT = 200_000

_OWN_CODE = str(Path(__file__).resolve().parents[1])


def exception_name(exc: BaseException) -> str:
    """Return the name of the class of an exception, with the module of one that is not built in."""
    kind = type(exc)
    builtin = kind.__module__ in ("builtins", "__main__")
    name = kind.__qualname__ if builtin else f"{kind.__module__}.{kind.__qualname__}"
    return shorten(name, NAME_LIMIT)


def exception_text(exc: BaseException) -> str:
    """Return the text of an exception, without the exceptions that led to it."""
    try:
        # The text of SystemExit is its status alone.
        text = repr(exc) if isinstance(exc, SystemExit) else str(exc)
    except Exception:  # noqa: BLE001 - user-defined exceptions may fail to give their text
        text = ""
    return shorten(text or type(exc).__name__, MESSAGE_LIMIT)


def traceback_text(exc: BaseException) -> str:
    """Return the traceback of the whole chain of exceptions.

    An exception may carry its own text in the attribute ``tb`` (start-up code and scripts). Otherwise the
    frames of this package that lead to user code are left out.
    """
    own_text = getattr(exc, "tb", None)
    if isinstance(own_text, str) and own_text:
        return shorten(own_text, TRACEBACK_LIMIT)
    kept = _skip_own_frames(exc.__traceback__)
    lines = traceback.TracebackException(type(exc), exc, kept).format()
    return shorten("".join(lines), TRACEBACK_LIMIT)


def _skip_own_frames(tb: TracebackType | None) -> TracebackType | None:
    first = tb
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(_OWN_CODE):
        tb = tb.tb_next
    return tb if tb is not None else first


def shorten(text: str, limit: int) -> str:
    """Cut the middle out of a text that is longer than ``limit`` characters; replace lone surrogates."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
