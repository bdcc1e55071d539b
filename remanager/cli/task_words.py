"""From the words of a command line to the parameters of requests about tasks.

Beside plain words these commands take ``NAME=VALUE``: a value is JSON where it can be read so, else text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from remanager.cli.words import ParameterError, Params, Read, item_of, read_items


def _split(words: Sequence[str]) -> tuple[list[str], Params]:
    """Tell plain words from ``NAME=VALUE``."""
    plain: list[str] = []
    named: Params = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.replace("_", "").replace(".", "").isalnum():
            plain.append(word)
        elif name in named:
            raise ParameterError(f"{name} is given twice")
        else:
            named[name] = _value(text)
    return plain, named


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def named(*order: str, first: int = 0) -> Read:
    """Make the reader of plain words in an order, followed by ``NAME=VALUE``.

    Parameters
    ----------
    *order : str
        Parameters that plain words give.
    first : int
        How many of them must be given.
    """

    def read(words: Sequence[str]) -> Params:
        plain, rest = _split(words)
        if len(plain) > len(order):
            raise ParameterError(f"unexpected word {plain[len(order)]!r}; further ones are NAME=VALUE")
        found = dict(zip(order, plain, strict=False))
        both = found.keys() & rest.keys()
        if both:
            raise ParameterError(f"{sorted(both)[0]} is given twice")
        found |= rest
        missing = [name for name in order[:first] if name not in found]
        if missing:
            raise ParameterError(f"{missing[0]} is missing")
        return found

    return read


def chosen(*own: str, uids: bool = True, needed: bool = False) -> Read:
    """Make the reader of UIDs, or of conditions ``NAME=VALUE`` of a selector.

    Parameters
    ----------
    *own : str
        Names that are parameters of the method and no conditions.
    uids : bool
        Plain words are UIDs of tasks.
    needed : bool
        Tasks must be named in one way or the other.
    """

    def read(words: Sequence[str]) -> Params:
        plain, rest = _split(words)
        params = {name: rest.pop(name) for name in own if name in rest}
        if plain and not uids:
            raise ParameterError(f"unexpected word {plain[0]!r}; conditions are NAME=VALUE")
        if plain and rest:
            raise ParameterError("give UIDs or conditions, not both")
        if plain:
            params["task_uid"] = plain[0] if len(plain) == 1 else plain
        elif rest:
            params["selector"] = rest
        elif needed:
            raise ParameterError("name tasks by UID, or by conditions such as state=failed")
        return params

    return read


def counted(words: Sequence[str]) -> Params:
    """Read ``[GROUP] [CONDITION ...]``."""
    plain, rest = _split(words)
    if len(plain) > 1:
        raise ParameterError(f"unexpected word {plain[1]!r}; conditions are NAME=VALUE")
    return ({"group_by": plain[0]} if plain else {}) | ({"selector": rest} if rest else {})


def info(words: Sequence[str]) -> Params:
    """Read ``UID [PART ...]``, or ``task_type=NAME key=KEY [PART ...]``."""
    plain, rest = _split(words)
    if not rest:
        if not plain:
            raise ParameterError("the UID is missing")
        rest["task_uid"] = plain.pop(0)
    return {**rest, "include": plain}


def _one_and_options(words: Sequence[str], what: str, others: str = "options") -> tuple[str, Params]:
    """Read a word that must be given, followed by ``NAME=VALUE``."""
    if not words:
        raise ParameterError(f"the {what} is missing")
    plain, options = _split(words[1:])
    if plain:
        raise ParameterError(f"unexpected word {plain[0]!r}; {others} are NAME=VALUE")
    return words[0], options


def submit(words: Sequence[str]) -> Params:
    """Read ``FUNCTION [OPTION=VALUE ...]``."""
    function, options = _one_and_options(words, "function")
    return {"item": item_of(function, "function"), "options": options}


def submit_batch(words: Sequence[str]) -> Params:
    """Read ``FILE [OPTION=VALUE ...]``; the file holds functions."""
    file, options = _one_and_options(words, "file")
    items = read_items(file, lambda line: item_of(line, "function"), "function")
    return {"items": [{"item": item} for item in items], "defaults": options}


def changes(words: Sequence[str]) -> Params:
    """Read ``UID NAME=VALUE ...``."""
    plain, rest = _split(words)
    if len(plain) != 1 or not rest:
        raise ParameterError("expected a UID and what changes, such as priority=10")
    return {"task_uid": plain[0], "changes": rest}


def schedule(words: Sequence[str]) -> Params:
    """Read ``FUNCTION RECURRENCE=VALUE ... [OPTION=VALUE ...]``."""
    function, rest = _one_and_options(words, "function", "further ones")
    recurring = {name: rest.pop(name) for name in RECURRENCE if name in rest}
    return {"item": item_of(function, "function"), "recurring": recurring, "options": rest}


RECURRENCE = ("interval_s", "initial_delay_s", "max_executions", "mode", "cron", "timezone", "catch_up")
"""What says how often a schedule runs; everything else is an option of its tasks."""
