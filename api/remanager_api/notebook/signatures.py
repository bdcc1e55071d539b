"""Signatures and help texts made of descriptions of plans and functions."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from inspect import Parameter, Signature
from typing import Any

from remanager_api.notebook.blocks import MAX_ROWS, Code, Table
from remanager_api.notebook.values import cut, mapping, mappings, sequence, short

_KINDS = {
    "POSITIONAL_ONLY": Parameter.POSITIONAL_ONLY,
    "POSITIONAL_OR_KEYWORD": Parameter.POSITIONAL_OR_KEYWORD,
    "VAR_POSITIONAL": Parameter.VAR_POSITIONAL,
    "KEYWORD_ONLY": Parameter.KEYWORD_ONLY,
    "VAR_KEYWORD": Parameter.VAR_KEYWORD,
}
_WORDS = {
    "collections.abc.": "",
    "typing.": "",
    "__READABLE__": "Readable",
    "__MOVABLE__": "Movable",
    "__FLYABLE__": "Flyable",
    "__DEVICE__": "Device",
    "__PLAN__": "Plan",
    "__PLAN_OR_DEVICE__": "Plan | Device",
}
_UNKNOWN_DEFAULT = "..."
_CHOICES = ("devices", "plans", "enums")


class _Words:
    """Stands in a signature for something that is known as text only."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def signature_of(description: Mapping[str, Any]) -> Signature:
    """Return the signature of a plan or of a function of a task module.

    Parameters
    ----------
    description : Mapping
        Entry of ``plans_allowed`` or of ``functions`` in ``task_function_list``.

    Raises
    ------
    ValueError
        The description is none of a callable.
    """
    found = [_parameter(entry) for entry in mappings(description.get("parameters"))]
    # An annotation decorator can give the first parameter a default value and the second one none.
    return Signature(found, __validate_parameters__=False)


def _parameter(entry: Mapping[str, Any]) -> Parameter:
    kind = entry.get("kind")
    name = mapping(kind).get("name") if isinstance(kind, Mapping) else kind
    if name not in _KINDS:
        raise ValueError(f"parameter {entry.get('name')!r} is of an unknown kind: {short(kind)}")
    variable = name.startswith("VAR_")
    default: Any = Parameter.empty
    if "default" in entry:
        default = _literal(entry["default"])
    elif entry.get("required") is False and not variable:
        default = _Words(_UNKNOWN_DEFAULT)
    words = type_of(entry)
    return Parameter(
        str(entry.get("name")),
        _KINDS[name],
        default=Parameter.empty if variable else default,
        annotation=_Words(words) if words else Parameter.empty,
    )


def _literal(default: object) -> object:
    if not isinstance(default, str):
        return default
    try:
        return ast.literal_eval(default)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return _Words(default)


def type_of(entry: Mapping[str, Any]) -> str:
    """Return the type of a parameter in words: ``Sequence[Readable]``."""
    text = short(mapping(entry.get("annotation")).get("type"))
    for word, plain in _WORDS.items():
        text = text.replace(word, plain)
    return text


def help_of(description: Mapping[str, Any]) -> str:
    """Return a docstring: what is done, and each parameter with its type, default value and limits."""
    text = description.get("description") or description.get("doc") or ""
    lines = [inspect.cleandoc(str(text))]
    entries = mappings(description.get("parameters"))
    if entries and "doc" not in description:
        lines += ["", "Parameters", "----------"]
        for entry in entries:
            lines += _parameter_help(entry)
    return "\n".join(lines).strip()


def parameter_table(description: Mapping[str, Any]) -> Table:
    """Return the parameters of a plan or a function as a table."""
    rows = [
        (
            Code(short(entry.get("name"))),
            Code(type_of(entry)),
            Code(short(entry.get("default"))),
            _choices(entry) or short(entry.get("description")).partition("\n\n")[0],
        )
        for entry in mappings(description.get("parameters"))[:MAX_ROWS]
    ]
    return Table(("parameter", "type", "default", "what it is"), rows)


def _choices(entry: Mapping[str, Any]) -> str:
    """Return the names that a parameter can have, if they are listed."""
    annotation = mapping(entry.get("annotation"))
    members = [
        m for key in _CHOICES for group in mapping(annotation.get(key)).values() for m in sequence(group)
    ]
    return cut(f"one of {', '.join(map(str, members))}") if members else ""


def _parameter_help(entry: Mapping[str, Any]) -> list[str]:
    facts = [type_of(entry)]
    if "default" in entry:
        facts.append(f"default {entry['default']}")
    facts += [f"{key} {entry[key]}" for key in ("min", "max", "step") if key in entry]
    said = ", ".join(fact for fact in facts if fact)
    lines = [f"{entry.get('name')} : {said}" if said else str(entry.get("name"))]
    annotation = mapping(entry.get("annotation"))
    lines += inspect.cleandoc(str(entry.get("description") or "")).splitlines()
    for key in _CHOICES:
        for group, members in mapping(annotation.get(key)).items():
            lines.append(f"{group}: {', '.join(map(str, members))}")
    return [lines[0], *(f"    {line}".rstrip() for line in lines[1:])]
