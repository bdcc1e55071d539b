"""From the words of a command line to the parameters of a request; the words are those of ``qserver``."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

Params = dict[str, Any]
Read = Callable[[Sequence[str]], Params]

EXIT_PARAMETERS = 1
DETAIL = "--detail--"
"""Key of what is not a parameter of the request, but the name of the one thing to be shown."""

_INSTRUCTIONS = {"queue-stop": "queue_stop", "queue_stop": "queue_stop"}
_ITEM_FORMS = "a call such as 'count([det1], num=5)', a dictionary in JSON or Python, or @FILE with one"
_CONSTANTS = {"true": True, "false": False, "null": None}
_MODE_VALUES = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}


class ParameterError(click.UsageError):
    """The words of a command make no sense."""

    exit_code = EXIT_PARAMETERS


def nothing(words: Sequence[str]) -> Params:
    """Read the words of a command that takes none."""
    if words:
        raise ParameterError(f"the command takes no further words, not {' '.join(words)!r}")
    return {}


def one_of(name: str, *choices: str, required: bool = False) -> Read:
    """Make the reader of one word out of several."""

    def read(words: Sequence[str]) -> Params:
        if not words and not required:
            return {}
        if len(words) != 1 or words[0] not in choices:
            raise ParameterError(f"expected one of: {', '.join(choices)}")
        return {name: words[0]}

    return read


def flags(**names: tuple[str, bool]) -> Read:
    """Make the reader of words that each set a parameter: ``word=(parameter, value)``, ``_`` for ``-``."""
    known = {word.replace("_", "-"): setting for word, setting in names.items()}

    def read(words: Sequence[str]) -> Params:
        for word in words:
            if word not in known:
                raise ParameterError(f"unknown word {word!r}; expected: {', '.join(known)}")
        return dict(known[word] for word in words)

    return read


def text(name: str, *, required: bool = True) -> Read:
    """Make the reader of one word that is taken as it is."""

    def read(words: Sequence[str]) -> Params:
        if len(words) > 1 or (required and not words):
            raise ParameterError(f"expected one word, not {len(words)}")
        return {name: words[0]} if words else {}

    return read


def detail(words: Sequence[str]) -> Params:
    """Read nothing or a name; it selects what is shown of the reply."""
    return text(DETAIL, required=False)(words)


def several(name: str) -> Read:
    """Make the reader of one word (passed as text) or more (passed as a list)."""

    def read(words: Sequence[str]) -> Params:
        if not words:
            raise ParameterError("a UID is missing")
        return {name: words[0] if len(words) == 1 else list(words)}

    return read


# ------------------------------------------------------------------------------------------- places


def _number(word: str) -> int | None:
    try:
        return int(word)
    except ValueError:
        return None


def _place(word: str) -> int | str | None:
    return word if word in {"front", "back"} else _number(word)


def which(words: Sequence[str]) -> Params:
    """Read which item is meant: ``front``, ``back``, an index or a UID; nothing means the last one."""
    if not words:
        return {}
    if len(words) > 1:
        raise ParameterError(f"expected one position or UID, not {' '.join(words)!r}")
    place = _place(words[0])
    return {"uid": words[0]} if place is None else {"pos": place}


def _where(words: Sequence[str], position: str) -> tuple[Params, Sequence[str]]:
    """Read where an item goes from the beginning of the words; return the rest."""
    if words and words[0] in {"before", "after"}:
        if len(words) < 2:
            raise ParameterError(f"the UID after {words[0]!r} is missing")
        return {f"{words[0]}_uid": words[1]}, words[2:]
    place = _place(words[0]) if words else None
    return ({}, words) if place is None else ({position: place}, words[1:])


def move(words: Sequence[str]) -> Params:
    """Read which item is moved where."""
    if not words:
        raise ParameterError("the position or UID of the item is missing")
    destination, rest = _where(words[1:], "pos_dest")
    if not destination:
        raise ParameterError("the destination is missing: front, back, an index, before UID or after UID")
    nothing(rest)
    return which(words[:1]) | destination


def move_batch(words: Sequence[str]) -> Params:
    """Read which items are moved where: UIDs, then the destination."""
    split = 2 if len(words) > 2 and words[-2] in {"before", "after"} else 1
    uids, destination = list(words[:-split]), words[-split:]
    params, rest = _where(destination, "pos_dest")
    if not uids or rest or params.get("pos_dest", "front") not in {"front", "back"}:
        raise ParameterError("expected UIDs, then: front, back, before UID or after UID")
    return {"uids": uids} | params


def uids(words: Sequence[str]) -> Params:
    """Read the UIDs of a batch."""
    if not words:
        raise ParameterError("the UIDs are missing")
    return {"uids": list(words)}


# ------------------------------------------------------------------------------------------- items


def _value(node: ast.expr) -> Any:
    """Return the value that an expression stands for; names are those of devices, as text."""
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_value(e) for e in elements]
        case ast.Dict(keys=keys, values=values):
            return {_value(k): _value(v) for k, v in zip(keys, values, strict=True) if k is not None}
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Name(id=name):
            return _CONSTANTS.get(name, name)
        case ast.Attribute():
            return _dotted(node)
    raise ValueError(f"{ast.unparse(node)!r} is neither a value nor a name")


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Name):
        return node.id
    raise ValueError(f"{ast.unparse(node)!r} is not a name")


def _from_call(text: str) -> Params:
    """Read an item that is written as a call."""
    body = ast.parse(text, mode="eval").body
    if not isinstance(body, ast.Call):
        return {"name": _dotted(body), "args": [], "kwargs": {}}
    if any(k.arg is None for k in body.keywords):
        raise ValueError("'**' cannot be used")
    return {
        "name": _dotted(body.func),
        "args": [_value(a) for a in body.args],
        "kwargs": {str(k.arg): _value(k.value) for k in body.keywords},
    }


def _read_file(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ParameterError(f"the file {name!r} cannot be read: {exc}") from exc


def _data(text: str) -> Any:
    """Read JSON, or a Python literal as ``qserver`` takes it."""
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text.strip())


def item_of(text: str, item_type: str) -> Params:
    """Read an item.

    Parameters
    ----------
    text : str
        A call, a dictionary in JSON or Python, or ``@`` and the name of a file with one of them.
    item_type : str
        ``plan`` or ``function``.

    Raises
    ------
    ParameterError
        The text is none of them.
    """
    source = _read_file(text[1:]) if text.startswith("@") else text
    try:
        item = _data(source)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        try:
            item = _from_call(source.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError) as exc:
            raise ParameterError(f"{source:.200} is not {_ITEM_FORMS}: {exc}") from exc
    if not isinstance(item, dict):
        raise ParameterError(f"{source:.200} is not {_ITEM_FORMS}")
    return {**item, "item_type": item_type}


def _typed_item(words: Sequence[str]) -> Params:
    """Read ``plan ITEM``, ``instruction NAME`` or ``ITEM``, for a plan."""
    kind, rest = (words[0], words[1:]) if words[:1] in (["plan"], ["instruction"]) else ("plan", words)
    if len(rest) != 1:
        raise ParameterError(f"expected one item, not {len(rest)} words")
    if kind == "plan" and rest[0] not in _INSTRUCTIONS:
        return item_of(rest[0], "plan")
    if rest[0] not in _INSTRUCTIONS:
        raise ParameterError(f"unknown instruction {rest[0]!r}; there is: queue-stop")
    return {"name": _INSTRUCTIONS[rest[0]], "item_type": "instruction"}


def add(words: Sequence[str]) -> Params:
    """Read ``[plan|instruction] [PLACE] ITEM``."""
    words = list(words)
    kind = words[:1] if words[:1] in (["plan"], ["instruction"]) else []
    place, rest = _where(words[len(kind) :], "pos")
    return {**place, "item": _typed_item([*kind, *rest])}


def update(*, replace: bool) -> Read:
    """Make the reader of ``[plan|instruction] UID ITEM``."""

    def read(words: Sequence[str]) -> Params:
        words = list(words)
        kind = words[:1] if words[:1] in (["plan"], ["instruction"]) else []
        rest = words[len(kind) :]
        if len(rest) != 2:
            raise ParameterError("expected the UID of the item in the queue and the new item")
        return {"item": {**_typed_item([*kind, rest[1]]), "item_uid": rest[0]}, "replace": replace}

    return read


def execute(words: Sequence[str]) -> Params:
    """Read ``[plan|instruction] ITEM``."""
    return {"item": _typed_item(list(words))}


def add_batch(words: Sequence[str]) -> Params:
    """Read ``FILE [PLACE]``; the file holds a list of items in JSON or Python, or one item a line."""
    if not words:
        raise ParameterError("the name of the file is missing")
    place, rest = _where(words[1:], "pos")
    nothing(rest)
    return {**place, "items": read_items(words[0], lambda line: _typed_item([line]), "plan")}


def read_items(name: str, read_line: Callable[[str], Params], item_type: str) -> list[Params]:
    """Read a file with a list of items in JSON or Python, or one item a line.

    Parameters
    ----------
    name : str
        Name of the file; ``-`` is the standard input.
    read_line : callable
        Makes an item of a line.
    item_type : str
        Type of the items that do not say it.
    """
    source = _read_file(name)
    try:
        items = _data(source)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        lines = (line.strip() for line in source.splitlines())
        items = [read_line(line) for line in lines if line and not line.startswith("#")]
    if isinstance(items, dict):
        items = items.get("items")
    if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        raise ParameterError(f"the file {name!r} does not hold a list of items")
    return [{"item_type": item_type, **i} for i in items]


def function(words: Sequence[str]) -> Params:
    """Read ``FUNCTION [background]``."""
    if not words:
        raise ParameterError("the function is missing")
    background = flags(background=("run_in_background", True))(words[1:])
    return {"item": item_of(words[0], "function"), "run_in_background": False, **background}


# ------------------------------------------------------------------------------------------- others


def mode(words: Sequence[str]) -> Params:
    """Read ``NAME VALUE ...``, ``NAME=VALUE ...`` or ``default``."""
    if list(words) == ["default"]:
        return {"mode": "default"}
    parts = [part for word in words for part in word.split("=", 1)]
    if not parts or len(parts) % 2:
        raise ParameterError("expected names and values: loop True, ignore_failures False, or: default")
    names, values = parts[::2], parts[1::2]
    return {"mode": {n: _MODE_VALUES.get(v.lower(), v) for n, v in zip(names, values, strict=True)}}


def switch(words: Sequence[str]) -> Params:
    """Read ``enable`` or ``disable``."""
    states = {"enable": True, "on": True, "disable": False, "off": False}
    if len(words) != 1 or words[0] not in states:
        raise ParameterError("expected: enable or disable")
    return {"enable": states[words[0]]}


def history_clear(words: Sequence[str]) -> Params:
    """Read nothing, how many entries stay, or the UID of the newest entry to forget."""
    if not words:
        return {}
    value = text("item_uid")(words)["item_uid"]
    size = _number(value)
    return {"item_uid": value} if size is None else {"size": size}


def events(words: Sequence[str]) -> Params:
    """Read ``[SINCE] [TYPE ...]``."""
    since = _number(words[0]) if words else None
    types = list(words if since is None else words[1:])
    return ({} if since is None else {"since": since}) | ({"types": types} if types else {})


def safe(words: Sequence[str]) -> Params:
    """Read nothing, ``safe on`` or ``safe off``."""
    if not words:
        return {}
    if len(words) != 2 or words[0] != "safe" or words[1] not in {"on", "off"}:
        raise ParameterError("expected: safe on or safe off")
    return {"option": f"safe_{words[1]}"}


def kill(words: Sequence[str]) -> Params:
    """Read ``test``, which shows that the command was not typed by accident."""
    if list(words) != ["test"]:
        raise ParameterError("expected: test")
    return {}


def script(words: Sequence[str]) -> Params:
    """Read ``FILE [background] [update-re] [keep-lists]``."""
    if not words:
        raise ParameterError("the name of the file is missing")
    options = flags(
        background=("run_in_background", True),
        update_re=("update_re", True),
        keep_lists=("update_lists", False),
    )(words[1:])
    defaults = {"run_in_background": False, "update_re": False, "update_lists": True}
    return {"script": _read_file(words[0]), **defaults, **options}


def permissions(words: Sequence[str]) -> Params:
    """Read the name of a YAML file with permissions."""
    import yaml

    source = _read_file(text("file")(words)["file"])
    try:
        return {"user_group_permissions": yaml.safe_load(source)}
    except yaml.YAMLError as exc:
        raise ParameterError(f"the file {words[0]!r} is not YAML: {exc}") from exc


def lock(words: Sequence[str]) -> Params:
    """Read ``environment|queue|all [NOTE]``."""
    targets = {"environment": ("environment",), "queue": ("queue",), "all": ("environment", "queue")}
    if not words or words[0] not in targets or len(words) > 2:
        raise ParameterError("expected: environment, queue or all, and perhaps a note")
    if len(words) == 2 and words[1] in targets:
        raise ParameterError("expected a note; to lock both, use: all")
    note = {"note": words[1]} if len(words) == 2 else {}
    return dict.fromkeys(targets[words[0]], True) | note
