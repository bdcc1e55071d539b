"""JSON texts as the standard library writes them, without making an encoder for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from json import encoder as standard
from typing import Any


def refuse(value: object) -> object:
    """Refuse a value in the words of the standard library's encoder: clients see them in results of tasks.

    Raises
    ------
    TypeError
        Always.
    """
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def make_encoder(
    default: Callable[[Any], object] = refuse, separators: tuple[str, str] = (", ", ": ")
) -> Callable[[object], str]:
    """Return a function that does what :meth:`json.JSONEncoder.encode` does.

    The standard library makes its encoder in C anew for each text, most of the time of a small one.

    Parameters
    ----------
    default : callable
        Called with what JSON has no form for; returns something that it has one for, or raises.
    separators : tuple of str
        Between items, and between a key and its value.
    """
    ordinary = json.JSONEncoder(default=default, separators=separators, check_circular=False)
    make: Any = getattr(standard, "c_make_encoder", None)
    if make is None:  # an interpreter without the encoder in C
        return ordinary.encode
    item_separator, key_separator = separators
    chunks = make(
        None,
        default,
        standard.encode_basestring_ascii,
        None,
        key_separator,
        item_separator,
        False,
        False,
        True,
    )

    def encode(value: object) -> str:
        return "".join(chunks(value, 0))

    return encode


dumps = make_encoder()
"""Return a value as :func:`json.dumps` does.

Raises
------
TypeError, ValueError
    It holds something that JSON has no form for.
RecursionError
    It is nested too deeply, or holds itself.
"""
