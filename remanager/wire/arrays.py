"""NumPy arrays as plain parts. NumPy is imported only when an array arrives."""

from __future__ import annotations

import sys
from typing import Any

Descr = str | list[Any]
"""A data type as NumPy's file format writes it: ``"<f8"``, or a list of fields."""

Parts = tuple[Descr, list[int], bytes]
"""Data type, shape, and the elements in C order."""


class NotAnArray(TypeError):
    """The value is no array that can be taken apart; the text says why."""


def number_of(value: object) -> object:
    """Return the Python number (or string) that a NumPy scalar holds; any other value as it is.

    The number is exact. Scalars without an exact counterpart stay what they are.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.generic):
        return value
    plain = value.item()
    same = type(plain) in (bool, int, float, str, bytes) and value.dtype.kind not in "mM"
    return plain if same else value


def take_apart(value: object) -> Parts | None:
    """Return the parts of an array or of a NumPy scalar; None for any other value.

    Raises
    ------
    NotAnArray
        Its elements are Python objects, or it is of a kind that would lose what sets it apart (as a mask).
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.ndarray, numpy.generic)):
        return None
    if isinstance(value, numpy.ndarray) and type(value) not in (numpy.ndarray, numpy.memmap):
        raise NotAnArray(f"an array of the kind {type(value).__name__}: use numpy.asarray()")
    array = numpy.asarray(value)
    if array.dtype.hasobject:
        raise NotAnArray("a NumPy array of Python objects")
    # The type is written as text or fields; nothing else of it (metadata) matters.
    return numpy.lib.format.dtype_to_descr(array.dtype), list(array.shape), array.tobytes()


def put_together(descr: Descr, shape: list[int], data: bytes) -> Any:
    """Return the array that :func:`take_apart` took apart; it is writable.

    Raises
    ------
    ValueError, TypeError
        The parts do not fit each other.
    """
    import numpy as np

    dtype = _dtype(descr)
    if any(size < 0 for size in shape):
        raise ValueError("an array with a negative size")
    array = np.ndarray(tuple(shape), dtype, buffer=bytearray(data) or bytearray(1))
    if array.nbytes != len(data):
        raise ValueError(f"an array of {array.nbytes} bytes, with {len(data)} bytes of data")
    return array


def of_nested_lists(values: object, descr: Descr | None) -> Any:
    """Return the array of nested lists of numbers or strings.

    Raises
    ------
    ValueError, TypeError
        The lists do not make an array of this type.
    """
    import numpy as np

    array = np.array(values, None if descr is None else _dtype(descr))
    if array.dtype.hasobject:
        raise ValueError("an array of Python objects")
    return array


def _dtype(descr: Descr) -> Any:
    import numpy as np

    if isinstance(descr, str):
        dtype = np.dtype(descr)
    else:
        dtype = np.lib.format.descr_to_dtype([_field(field) for field in descr])
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    return dtype


def _field(parts: list[Any]) -> tuple[Any, ...]:
    """Return a field as NumPy writes it: its tuples have become lists on the way."""
    name, kind, *shape = parts
    return (
        name if isinstance(name, str) else tuple(name),
        kind if isinstance(kind, str) else [_field(field) for field in kind],
        *(tuple(size) for size in shape),
    )
