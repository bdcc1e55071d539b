"""Type annotations of plan parameters as text, the form in which descriptions carry them.

A type is kept as the text that Python's ``repr`` gives, if evaluating that text gives the type again.
Protocols of bluesky become ``__READABLE__``, ``__MOVABLE__``, ``__FLYABLE__`` or ``__DEVICE__``, and
callables become ``__CALLABLE__``: values of such parameters travel as names.
"""

from __future__ import annotations

import collections.abc
import enum
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_PROTOCOLS = {
    "Readable": "__READABLE__",
    "Movable": "__MOVABLE__",
    "NamedMovable": "__MOVABLE__",
    "Flyable": "__FLYABLE__",
    "Configurable": "__DEVICE__",
    "Triggerable": "__DEVICE__",
    "Locatable": "__DEVICE__",
    "Stageable": "__DEVICE__",
    "Pausable": "__DEVICE__",
    "Stoppable": "__DEVICE__",
    "Subscribable": "__DEVICE__",
    "Checkable": "__DEVICE__",
    "Preparable": "__DEVICE__",
    "Collectable": "__DEVICE__",
    "EventCollectable": "__DEVICE__",
    "EventPageCollectable": "__DEVICE__",
    "WritesExternalAssets": "__DEVICE__",
    "WritesStreamAssets": "__DEVICE__",
    "HasName": "__DEVICE__",
    "HasParent": "__DEVICE__",
    "HasHints": "__DEVICE__",
}
_NAMED_TYPE = re.compile(
    r"(?<![\w.])(?:(?:typing|collections\.abc)\.(?P<callable>Callable)"
    rf"|bluesky\.protocols\.(?P<protocol>{'|'.join(_PROTOCOLS)}))(?!\w)"
)
_BARE_ITERABLE = re.compile(r"(?<![\w.])collections\.abc\.Iterable(?![\w.\[])")
_ANNOTATION_KEYS = ("type", "devices", "plans", "enums")


@dataclass(frozen=True, slots=True)
class Conversion:
    """How values of a parameter turn into objects when a plan is prepared.

    Attributes
    ----------
    convert_plan_names, convert_device_names : bool
        Names of plans or devices become the objects.
    eval_expressions : bool
        Dotted names become whatever they name in the namespace.
    """

    convert_plan_names: bool = False
    convert_device_names: bool = False
    eval_expressions: bool = False


_BUILT_IN_TYPES = {
    "__PLAN__": Conversion(convert_plan_names=True),
    "__DEVICE__": Conversion(convert_device_names=True),
    "__PLAN_OR_DEVICE__": Conversion(convert_plan_names=True, convert_device_names=True),
    "__READABLE__": Conversion(convert_device_names=True),
    "__MOVABLE__": Conversion(convert_device_names=True),
    "__FLYABLE__": Conversion(convert_device_names=True),
    "__CALLABLE__": Conversion(eval_expressions=True),
}


def annotation_text(annotation: object) -> str | None:
    """Return a type annotation as text.

    Parameters
    ----------
    annotation : object
        The annotation as ``inspect.signature`` gives it; forward references must be resolved.

    Returns
    -------
    str or None
        None if no text stands for the type; the parameter then counts as not annotated.
    """
    text = repr(annotation)
    if isinstance(annotation, type) and text.startswith("<"):
        if annotation.__name__ in _PROTOCOLS:
            return _PROTOCOLS[annotation.__name__]
        text = re.sub(r"<class '(.+)'>", r"\1", text)
    checked, shown, types = _replace_named_types(text)
    if not _evaluates_to(checked, types, annotation):
        return None
    return _BARE_ITERABLE.sub("collections.abc.Iterable[typing.Any]", shown)


def check_annotation(annotation: Mapping[str, Any]) -> Conversion:
    """Verify that the annotation of a parameter description can be read back.

    Parameters
    ----------
    annotation : mapping
        ``type`` (text) and, optionally, ``devices``, ``plans`` and ``enums``: names by type name.

    Returns
    -------
    Conversion
        What the built-in types in it ask for.

    Raises
    ------
    TypeError
        The text is not a type, or the lists and the text do not fit together.
    """
    text = annotation.get("type", "<not-specified>")
    try:
        if "type" not in annotation:
            raise ValueError("Type is not specified")
        if unknown := [key for key in annotation if key not in _ANNOTATION_KEYS]:
            raise ValueError(f"Annotation contains unsupported keys: {unknown}")
        lists = {
            name: items for key in _ANNOTATION_KEYS[1:] for name, items in annotation.get(key, {}).items()
        }
        names: dict[str, object] = dict.fromkeys(_BUILT_IN_TYPES, str)
        for name, items in lists.items():
            if name not in text:
                raise ValueError(
                    f"Type {name!r} is defined in the annotation, but not used in the parameter type"
                )
            names[name] = enum.Enum(name, {item: item for item in items})
        _evaluate(text, names)
    except Exception as exc:
        # The text is code of the profile: evaluating it may raise anything.
        raise TypeError(f"Failed to process annotation '{text}': {exc}'") from exc
    return _conversion(text, lists)


def _conversion(text: str, lists: Mapping[str, Any]) -> Conversion:
    used = [
        conversion
        for name, conversion in _BUILT_IN_TYPES.items()
        if name not in lists and re.search(rf"(?<!\w){name}(?!\w)", text)
    ]
    return Conversion(
        convert_plan_names=any(conversion.convert_plan_names for conversion in used),
        convert_device_names=any(conversion.convert_device_names for conversion in used),
        eval_expressions=any(conversion.eval_expressions for conversion in used),
    )


def _replace_named_types(text: str) -> tuple[str, str, dict[str, object]]:
    """Replace callables and protocols, together with their parameters.

    Returns
    -------
    checked, shown : str
        The text with a name of its own for each replaced type, and with the built-in type names.
    types : dict
        The replaced types by their names in ``checked``.
    """
    checked, shown = "", ""
    types: dict[str, object] = {}
    position = 0
    for match in _NAMED_TYPE.finditer(text):
        if match.start() < position:
            continue
        end = _closing_bracket(text, match.end())
        name = f"_type_{len(types)}_"
        try:
            types[name] = _evaluate(text[match.start() : end], {})
        except Exception:  # noqa: BLE001 - a repr is no code in general, so that anything may be raised
            types[name] = None
        built_in = "__CALLABLE__" if match["callable"] else _PROTOCOLS[match["protocol"]]
        checked += text[position : match.start()] + name
        shown += text[position : match.start()] + built_in
        position = end
    return checked + text[position:], shown + text[position:], types


def _closing_bracket(text: str, position: int) -> int:
    """Return the end of the bracketed part that starts at a position, or the position."""
    if text[position : position + 1] != "[":
        return position
    depth = 0
    for index in range(position, len(text)):
        depth += {"[": 1, "]": -1}.get(text[index], 0)
        if depth == 0:
            return index + 1
    return position


def _evaluates_to(text: str, names: Mapping[str, object], annotation: object) -> bool:
    try:
        return bool(_evaluate(text, names) == annotation)
    except Exception:  # noqa: BLE001 - a repr is no code in general, so that anything may be raised
        return False


def _evaluate(text: str, names: Mapping[str, object]) -> object:
    import bluesky
    import bluesky.protocols

    scope = {
        "typing": typing,
        "collections": collections,
        "bluesky": bluesky,
        "enum": enum,
        "NoneType": type(None),
        **names,
    }
    return eval(text, scope)
