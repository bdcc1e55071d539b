"""Comparison of two answers to the same request, field by field.

What has to differ is masked: times, versions, addresses in memory, directories. UIDs must correspond: where
one daemon shows a UID again, or a new one, the other must do so, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_MASKS = (
    (re.compile(r"RE Manager v\S+"), "RE Manager v<version>"),
    (re.compile(r"\b0x[0-9a-f]{6,}"), "<address>"),
    (re.compile(r"\b\d\d/\d\d/\d{4} \d\d:\d\d:\d\d\b"), "<time>"),
)
_TYPE_ONLY = frozenset(
    {
        *("time", "time_start", "time_stop", "time_str", "status_uid"),
        *("key", "shell_port", "iopub_port", "stdin_port", "hb_port", "control_port"),
    }
)
"""Keys of which only the type counts."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A place at which two answers differ.

    Attributes
    ----------
    path : str
        Keys and indices that lead to it, with dots.
    theirs, ours : object
        What is there; :data:`ABSENT` for a key that is not.
    """

    path: str
    theirs: Any
    ours: Any


class _Absent:
    def __repr__(self) -> str:
        return "(not there)"


ABSENT = _Absent()


class Comparison:
    """Compares the answers to a script, one after the other.

    Parameters
    ----------
    directories : pair of str
        Directories of the two daemons, which are the same for the comparison.

    Attributes
    ----------
    additions : set of str
        Paths of keys that only our answers have.
    """

    def __init__(self, directories: tuple[str, str] = ("", "")) -> None:
        self.additions: set[str] = set()
        self._directories = directories
        self._ours_of: dict[str, str] = {}
        self._theirs_of: dict[str, str] = {}

    def compare(self, theirs: object, ours: object) -> list[Mismatch]:
        """Return where the answers differ."""
        return list(self._value("", theirs, ours))

    def _value(self, path: str, theirs: Any, ours: Any) -> Iterator[Mismatch]:
        if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
            yield from self._mapping(path, theirs, ours)
        elif isinstance(theirs, str) and isinstance(ours, str):
            yield from self._text(path, theirs, ours)
        elif _is_list(theirs) and _is_list(ours):
            if len(theirs) != len(ours):
                yield Mismatch(path, theirs, ours)
                return
            for index, (left, right) in enumerate(zip(theirs, ours, strict=True)):
                yield from self._value(_join(path, index), left, right)
        elif type(theirs) is not type(ours) or theirs != ours:
            yield Mismatch(path, theirs, ours)

    def _mapping(self, path: str, theirs: Mapping[Any, Any], ours: Mapping[Any, Any]) -> Iterator[Mismatch]:
        # Keys that are UIDs (the answer of task_status to a list) stand for each other in their order.
        ours = {self._theirs_of.get(key, key): value for key, value in ours.items()}
        for key, value in theirs.items():
            inner = _join(path, key)
            if key not in ours:
                yield Mismatch(inner, value, ABSENT)
            elif key in _TYPE_ONLY:
                if _kind(value) != _kind(ours[key]):
                    yield Mismatch(inner, value, ours[key])
            elif key == "traceback":
                yield from self._traceback(inner, value, ours[key])
            else:
                yield from self._value(inner, value, ours[key])
        self.additions.update(_generic(_join(path, key)) for key in ours if key not in theirs)

    def _traceback(self, path: str, theirs: Any, ours: Any) -> Iterator[Mismatch]:
        """The last line counts: the frames are those of either daemon's own code."""
        if not isinstance(theirs, str) or not isinstance(ours, str):
            yield from self._value(path, theirs, ours)
            return
        last = [text.strip().rpartition("\n")[2] for text in (theirs, ours)]
        yield from self._text(path, last[0], last[1])

    def _text(self, path: str, theirs: str, ours: str) -> Iterator[Mismatch]:
        uids = list(zip(UID.findall(theirs), UID.findall(ours), strict=False))
        same = all(self._correspond(left, right) for left, right in uids)
        masked = (self._mask(theirs, 0), self._mask(ours, 1))
        if masked[0] != masked[1] or not same:
            yield Mismatch(path, theirs, ours)

    def _correspond(self, theirs: str, ours: str) -> bool:
        """Whether two UIDs stand for each other; from now on they do."""
        known = self._ours_of.get(theirs), self._theirs_of.get(ours)
        self._ours_of[theirs], self._theirs_of[ours] = ours, theirs
        return known in {(None, None), (ours, theirs)}

    def _mask(self, text: str, side: int) -> str:
        if directory := self._directories[side]:
            text = text.replace(directory, "<directory>")
        for pattern, word in _MASKS:
            text = pattern.sub(word, text)
        return UID.sub("<uid>", text)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _kind(value: object) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _generic(path: str) -> str:
    """A path without the indices of lists."""
    return re.sub(r"\.\d+(?=\.|$)", "[]", path)
