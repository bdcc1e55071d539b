"""Types from the texts of parameter annotations.

The annotation of a parameter in a plan description is a dictionary: ``type`` is the text of a type, and
``devices``, ``plans`` and ``enums`` give lists of names for the type names that the text uses. The text is
parsed, never evaluated: only known names are resolved.
"""

from __future__ import annotations

import ast
import builtins
import collections
import collections.abc
import enum
import operator
import typing
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

_SECTIONS = ("devices", "plans", "enums")
_KEYS = ("type", *_SECTIONS)

_MODULES: dict[str, ModuleType] = {
    "typing": typing,
    "collections": collections,
    "collections.abc": collections.abc,
    "enum": enum,
}


# Types that stand for objects of the worker's namespace; on the wire their values are names.
BUILT_IN_TYPES = frozenset(
    {
        "__PLAN__",
        "__DEVICE__",
        "__PLAN_OR_DEVICE__",
        "__READABLE__",
        "__MOVABLE__",
        "__FLYABLE__",
        "__CALLABLE__",
    }
)


def resolve_annotation(annotation: Mapping[str, Any]) -> Any:
    """Return the type that an annotation describes.

    Built-in types such as ``__DEVICE__`` become ``str``, types with a list of names become enumerations of
    the names, and names of the package ``bluesky``, which is not imported here, become ``typing.Any``.

    Raises
    ------
    TypeError
        The annotation is not well formed or uses a name that is not known.
    """
    text = annotation.get("type", "<not-specified>")
    try:
        named_types = _named_types(annotation)
        return _resolve_text(annotation["type"], named_types)
    except (TypeError, ValueError, AttributeError, SyntaxError, NameError, RecursionError) as exc:
        raise TypeError(f"Failed to process annotation '{text}': {exc}") from exc


def enumeration(name: str, values: Iterable[object]) -> type[enum.Enum]:
    """Return an enumeration of names; any text may be a value."""
    # Functional form with neutral member names: a device may be called 'mro' or 'sim.det'.
    members = [(f"value_{number}", str(value)) for number, value in enumerate(values)]
    created: type[enum.Enum] = enum.Enum(name, members)  # type: ignore[misc]
    return created


def _named_types(annotation: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [key for key in annotation if key not in _KEYS]
    if unknown:
        raise ValueError(f"Annotation contains unsupported keys: {unknown}. Supported keys: {_KEYS}")
    if not isinstance(annotation.get("type"), str):
        raise ValueError("Type is not specified")
    types: dict[str, Any] = {}
    for section in _SECTIONS:
        for name, values in annotation.get(section, {}).items():
            if not isinstance(values, list | tuple):
                raise TypeError(f"The list of items ({name!r}: {values!r}) must be a list or a tuple")
            if name not in annotation["type"]:
                raise ValueError(
                    f"Type {name!r} is defined in the annotation, but not used in the parameter type"
                )
            types[name] = enumeration(name, values)
    return types


def _resolve_text(text: str, named_types: Mapping[str, Any]) -> Any:
    return _resolve(ast.parse(text.strip(), mode="eval").body, named_types)


def _resolve(node: ast.expr, named_types: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(id=name):
            return _resolve_name(name, named_types)
        case ast.Attribute():
            return _resolve_attribute(node)
        case ast.Subscript(value=base, slice=arguments):
            return _resolve_subscript(base, arguments, named_types)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return operator.or_(_resolve(left, named_types), _resolve(right, named_types))
        case ast.Constant(value=None):
            return None
        case ast.Constant(value=str() as text):
            return _resolve_text(text, named_types)
    raise ValueError(f"{ast.unparse(node)!r} is not a type")


def _resolve_name(name: str, named_types: Mapping[str, Any]) -> Any:
    if name in named_types:
        return named_types[name]
    if name in BUILT_IN_TYPES:
        return str
    if name == "NoneType":
        return type(None)
    found = getattr(builtins, name, None)
    if not isinstance(found, type):
        raise NameError(f"name '{name}' is not defined")
    return found


def _resolve_attribute(node: ast.Attribute) -> Any:
    path = ast.unparse(node)
    module_name, _, name = path.rpartition(".")
    if path.startswith("bluesky."):
        return Any
    if module_name not in _MODULES:
        raise NameError(f"name '{path}' is not defined")
    module = _MODULES[module_name]
    if name not in module.__all__:
        raise AttributeError(f"module '{module_name}' has no attribute '{name}'")
    return getattr(module, name)


def _resolve_subscript(base_node: ast.expr, arguments: ast.expr, named_types: Mapping[str, Any]) -> Any:
    base = _resolve(base_node, named_types)
    if base is Any:
        return Any  # a generic class of bluesky
    nodes: Sequence[ast.expr] = arguments.elts if isinstance(arguments, ast.Tuple) else [arguments]
    if base is typing.Literal:
        return typing.Literal[tuple(ast.literal_eval(node) for node in nodes)]
    if base is typing.Annotated:
        return _resolve(nodes[0], named_types)
    resolved = tuple(_resolve_argument(node, named_types) for node in nodes)
    return base[resolved if isinstance(arguments, ast.Tuple) else resolved[0]]


def _resolve_argument(node: ast.expr, named_types: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value) if value is ...:
            return ...
        case ast.List(elts=elements):  # parameters of a Callable
            return [_resolve(element, named_types) for element in elements]
        case ast.Tuple(elts=[]):  # typing.Tuple[()]
            return ()
    return _resolve(node, named_types)
