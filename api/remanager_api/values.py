"""Values of tasks that JSON has no form for: tagged in arguments, made whole again in results.

The tagged forms are those of task modules: ``{"__bytes__": BASE64}`` and so on. NumPy is used where it is
loaded, and imported when an array comes.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from remanager_api.errors import RequestParameterError

_PLAIN = frozenset((bool, int, float, str, type(None)))
_TAGS = frozenset(("__ndarray__", "__bytes__", "__datetime__", "__float__", "__dict__"))


def tagged_item(item: dict[str, Any]) -> dict[str, Any]:
    """Return the item of a task with its arguments in forms that can be sent.

    Tagged forms in it stay as they are. What has no form stays, too: it is refused when it is to be sent.
    """
    try:
        return {**item, **{part: tagged(item[part]) for part in ("args", "kwargs") if part in item}}
    except RecursionError:
        raise RequestParameterError(
            f"The arguments of {item.get('name')!r} hold themselves, or are nested too deeply"
        ) from None


def tagged(value: Any) -> Any:
    """Return a value with tagged forms in place of what JSON has no form for."""
    if type(value) in _PLAIN:
        return value
    if _is_extension(value):
        return _tagged_extension(value.code, value.data)
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: tagged(part) for key, part in value.items()}
        return {"__dict__": [[tagged(key), tagged(part)] for key, part in value.items()]}
    if isinstance(value, (list, tuple)):
        return list(value) if _PLAIN.issuperset(map(type, value)) else [tagged(part) for part in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"__bytes__": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"__datetime__": value.isoformat()}
    return _of_numpy(value)


def untagged(value: Any) -> Any:
    """Return a value without tagged forms and extension types; what is not of its form stays as it is."""
    if type(value) in _PLAIN:
        return value
    try:
        if _is_extension(value):
            return _of_extension(value.code, value.data)
        if isinstance(value, dict):
            if _TAGS.isdisjoint(value):
                return {untagged(key): untagged(part) for key, part in value.items()}
            return _of_form(value)
    except (ValueError, TypeError, LookupError):
        return value
    if isinstance(value, list):
        return value if _PLAIN.issuperset(map(type, value)) else [untagged(part) for part in value]
    return value


def with_values(reply: dict[str, Any]) -> dict[str, Any]:
    """Make the return values in the reply of ``task_result`` or ``task_result_batch`` whole; return it."""
    entries: Iterable[Any] = [reply]
    if isinstance(reply.get("results"), dict):
        entries = reply["results"].values()
    for entry in entries:
        result = entry.get("result")
        if isinstance(result, dict) and "return_value" in result:
            result["return_value"] = untagged(result["return_value"])
    return reply


def unsendable(
    method: str, params: Mapping[str, Any], encode: Callable[[object], object], exc: Exception
) -> RequestParameterError:
    """Return the error that says which parameter of a request cannot be encoded.

    Parameters
    ----------
    method : str
        Method of the request.
    params : Mapping
        Its parameters.
    encode : callable
        What failed.
    exc : Exception
        How it failed.
    """
    why = str(exc)
    if isinstance(exc, RecursionError):
        why = "they hold themselves, or are nested too deeply"
    elif (found := _first_fault(dict(params), encode, "")) is not None:
        place, value = found
        why = f"{place.removeprefix('.')} is {_described(value)}"
    return RequestParameterError(f"The parameters of {method!r} cannot be sent: {why}")


def _first_fault(value: Any, encode: Callable[[object], object], place: str) -> tuple[str, Any] | None:
    parts: Iterable[tuple[str, Any]]
    if isinstance(value, dict):
        parts = ((f"{place}[{key!r}]" if place else str(key), part) for key, part in value.items())
    elif isinstance(value, (list, tuple)) and not _is_extension(value):
        parts = ((f"{place}[{n}]", part) for n, part in enumerate(value))
    else:
        try:
            encode(value)
        except (TypeError, ValueError, OverflowError):
            return place, value
        return None
    return next((found for at, part in parts if (found := _first_fault(part, encode, at))), None)


def _described(value: object) -> str:
    if isinstance(value, int):
        return "an integer that is too large"
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    objects = " with Python objects" if getattr(getattr(value, "dtype", None), "hasobject", False) else ""
    return f"of the type {name}{objects}, which has no form in a request"


# ------------------------------------------------------------------------------------------ forms


def _of_form(form: dict[Any, Any]) -> Any:
    if "__ndarray__" in form:
        return _array(form)
    ((tag, content),) = form.items()
    match tag:
        case "__bytes__":
            return base64.b64decode(content, validate=True)
        case "__datetime__":
            return datetime.fromisoformat(content)
        case "__float__":
            return float(content)
        case _:
            return {untagged(key): untagged(part) for key, part in content}


def _array(form: dict[str, Any]) -> Any:
    """Return the array of a form; the form where there is no NumPy."""
    content, descr, shape = form["__ndarray__"], form.get("dtype"), form.get("shape")
    if not form.keys() <= {"__ndarray__", "dtype", "shape"}:
        return form
    try:
        import numpy as np
    except ImportError:
        return form
    dtype = None if descr is None else np.lib.format.descr_to_dtype(_fields(descr))
    if not isinstance(content, str):
        array = np.array(content, dtype)
        return form if array.dtype.hasobject or shape is not None else array
    data = base64.b64decode(content, validate=True)
    if dtype is None or dtype.hasobject or shape is None or min(shape, default=0) < 0:
        return form
    array = np.ndarray(tuple(shape), dtype, buffer=bytearray(data) or bytearray(1))
    return array if array.nbytes == len(data) else form


def _fields(descr: Any) -> Any:
    """Return a data type as NumPy writes it: its tuples have become lists on the way."""
    if isinstance(descr, str):
        return descr
    return [
        (name if isinstance(name, str) else tuple(name), _fields(kind), *(tuple(size) for size in shape))
        for name, kind, *shape in descr
    ]


def _of_numpy(value: Any) -> Any:
    """Return the number that a NumPy scalar holds, the form of an array, or any other value as it is."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.ndarray, numpy.generic)):
        return value
    if isinstance(value, numpy.generic) and value.dtype.kind not in "mM":
        plain = value.item()
        if type(plain) in _PLAIN:
            return plain
    odd = isinstance(value, numpy.ndarray) and type(value) not in (numpy.ndarray, numpy.memmap)
    if odd or value.dtype.hasobject:
        return value
    array = numpy.asarray(value)
    return _array_form(numpy.lib.format.dtype_to_descr(array.dtype), list(array.shape), array.tobytes())


def _array_form(descr: Any, shape: list[int], data: bytes) -> dict[str, Any]:
    return {"__ndarray__": base64.b64encode(data).decode(), "dtype": descr, "shape": shape}


# ------------------------------------------------------------------------------------------ msgpack


def _is_extension(value: object) -> bool:
    msgpack = sys.modules.get("msgpack")
    return msgpack is not None and isinstance(value, msgpack.ExtType)


def _tagged_extension(code: int, data: bytes) -> Any:
    """Return the form of an extension type of msgpack, as results have them."""
    import msgpack

    match code:
        case 1:  # an array: data type, shape, bytes
            return _array_form(*msgpack.unpackb(data))
        case 2:
            return {"__datetime__": data.decode()}
        case 3:  # an integer of more than 64 bits
            return int(data, 16)
    return msgpack.ExtType(code, data)


def _of_extension(code: int, data: bytes) -> Any:
    form = _tagged_extension(code, data)
    return _of_form(form) if isinstance(form, dict) else form
