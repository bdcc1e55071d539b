"""What is wrong with the parameters of a request, in the words of the protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

MAX_FAULTS = 5
"""How many faults are named."""

Path = tuple[str | int, ...]

_WORDS = {
    "missing": "is missing",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a dictionary",
    "model_type": "must be a dictionary",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "value_error": "{error}",
}
_SPEAK_FOR_THEMSELVES = ("missing", "extra_forbidden", "value_error")
"""Faults that are clear without what was given."""


def parameter_faults(
    exc: ValidationError, model: type[BaseModel], given: Mapping[str, Any], noun: str
) -> str:
    """Return what is wrong in one line: ``NOUN 'NAME' must be ...; NOUN ...``.

    Parameters
    ----------
    model : type of BaseModel
        What the parameters were to be.
    given : mapping
        The parameters.
    noun : str
        What they are called.
    """
    by_path: dict[Path, list[ErrorDetails]] = {}
    for error in exc.errors(include_url=False):
        by_path.setdefault(_path(error["loc"], given), []).append(error)
    # Where one of several forms fits further than others it is the one that was meant.
    outer = {path[:length] for path in by_path for length in range(len(path))}
    faults = []
    for path, errors in by_path.items():
        if path not in outer:
            # Likewise one whose type is right.
            meant = [e for e in errors if not e["type"].endswith("_type")] or errors
            words = dict.fromkeys(_in_words(error, model, path) for error in meant)
            shown = meant[0]["type"] not in _SPEAK_FOR_THEMSELVES
            value = f" (got {_shown(meant[0])})" if shown else ""
            named = f"{noun} {'.'.join(map(str, path))!r}"
            faults.append(f"{named} {' or '.join(words).replace(' or must be', ' or')}{value}")
    more = [f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
    return "; ".join([*faults[:MAX_FAULTS], *more])


def _shown(error: ErrorDetails) -> str:
    """Return what was given, or how much where that is the fault: writing very many entries takes long."""
    given = error["input"]
    return str(len(given)) if error["type"] == "too_long" else f"{given!r:.80}"


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by the names that requests use."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _path(location: Sequence[str | int], given: Any) -> Path:
    """Return where in the parameters a fault is, without the names of the forms that were tried."""
    path: list[str | int] = []
    for place, part in enumerate(location):
        if isinstance(given, Mapping) and (part in given or place == len(location) - 1):
            given = given.get(part)
        elif isinstance(given, Sequence) and isinstance(part, int):
            given = given[part]
        else:
            continue
        path.append(part)
    return tuple(path)


def _in_words(error: ErrorDetails, model: type[BaseModel], path: Path) -> str:
    if error["type"] == "extra_forbidden":
        return f"is not one of {', '.join(_names(model, path[:-1]))}"
    words = _WORDS.get(error["type"])
    if words is None:
        return error["msg"].replace("Input should be", "must be")
    return words.format(**error.get("ctx", {}))


def _names(model: type[BaseModel], path: Path) -> list[str]:
    """Return the names of the parameters in the model that a path leads to."""
    for part in path:
        fields = fields_of(model)
        if isinstance(part, str) and part in fields:
            model = next(_models(fields[part].annotation), model)
    return list(fields_of(model))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
