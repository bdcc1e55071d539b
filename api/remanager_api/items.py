"""Items of the queue: plans, instructions and functions."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

_EMPTY: dict[str, type] = {"args": list, "kwargs": dict, "meta": dict}


def _checked_text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"Item {what} {value!r} is not a string: ({type(value)!r})")
    if not value:
        raise ValueError(f"Item {what} is an empty string")
    return value


def _checked_args(value: object) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"Item args {value!r} must be iterable: ({type(value)!r})")
    return copy.deepcopy(list(value))


def _checked_kwargs(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"Item kwargs {value!r} must be a mapping: ({type(value)!r})")
    return copy.deepcopy(dict(value))


def _checked_meta(value: object) -> dict[str, Any] | list[dict[str, Any]]:
    if isinstance(value, Mapping):
        return copy.deepcopy(dict(value))
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"Item metadata {value!r} must be a mapping or an iterable: ({type(value)!r})")
    blocks = list(value)
    for block in blocks:
        if not isinstance(block, Mapping):
            raise TypeError(f"One of the elements of item metadata list is not a mapping ({type(block)})")
    return [copy.deepcopy(dict(block)) for block in blocks]


class BItem:
    """An item of the queue.

    Parameters
    ----------
    *args
        Item type (``plan``, ``instruction`` or ``function``), name, then the positional arguments of the plan
        or function. Or a single dictionary, or a single item, which is copied.
    **kwargs
        Keyword arguments of the plan or function.

    Raises
    ------
    KeyError
        The type or the name is missing.
    TypeError, ValueError
        A value is wrong.

    Examples
    --------
    >>> BItem("plan", "count", ["det1"], num=5)
    {'item_type': 'plan', 'name': 'count', 'args': [['det1']], 'kwargs': {'num': 5}}
    """

    _types: ClassVar[Sequence[str]] = ("plan", "instruction", "function")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._item: dict[str, Any] = {}
        if len(args) == 1 and not kwargs and isinstance(args[0], (Mapping, BItem)):
            self.from_dict(args[0])
            return
        if not args:
            raise KeyError("'item_type' and 'item_name' are missing in constructor arguments")
        if len(args) == 1:
            raise KeyError("'item_name' is missing in constructor arguments")
        self.item_type, self.name = args[0], args[1]
        self.args = list(args[2:])
        self.kwargs = kwargs
        self.meta = {}

    @property
    def recognized_item_types(self) -> Sequence[str]:
        """Types that an item of this class can have."""
        return self._types

    @property
    def item_type(self) -> str:
        """Type of the item."""
        value: str = self._item["item_type"]
        return value

    @item_type.setter
    def item_type(self, value: str) -> None:
        if _checked_text(value, "type") not in self._types:
            raise ValueError(f"Unsupported item type: {value!r}. Supported types: {self._types}")
        self._item["item_type"] = value

    @property
    def name(self) -> str:
        """Name of the plan, instruction or function."""
        value: str = self._item["name"]
        return value

    @name.setter
    def name(self, value: str) -> None:
        self._item["name"] = _checked_text(value, "name")

    @property
    def args(self) -> list[Any]:
        """Positional arguments; the list itself, not a copy. What is set is copied."""
        value: list[Any] = self._item["args"]
        return value

    @args.setter
    def args(self, value: Iterable[Any]) -> None:
        self._item["args"] = _checked_args(value)

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments; the dictionary itself, not a copy. What is set is copied."""
        value: dict[str, Any] = self._item["kwargs"]
        return value

    @kwargs.setter
    def kwargs(self, value: Mapping[str, Any]) -> None:
        self._item["kwargs"] = _checked_kwargs(value)

    @property
    def meta(self) -> Any:
        """Metadata of the runs: a dictionary or a list of dictionaries. What is set is copied."""
        return self._item["meta"]

    @meta.setter
    def meta(self, value: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> None:
        self._item["meta"] = _checked_meta(value)

    @property
    def item_uid(self) -> str | None:
        """UID of the item; None until the manager has given one."""
        return self._item.get("item_uid")

    @item_uid.setter
    def item_uid(self, value: str) -> None:
        self._item["item_uid"] = _checked_text(value, "UID")

    @property
    def dict_ref(self) -> dict[str, Any]:
        """The dictionary that holds the item."""
        return self._item

    def to_dict(self) -> dict[str, Any]:
        """Return a copy in the form in which the manager takes items, without empty parts."""
        return copy.deepcopy({k: v for k, v in self._item.items() if v or k not in _EMPTY})

    def from_dict(self, item_dict: Mapping[str, Any] | BItem) -> None:
        """Become a copy of an item.

        Raises
        ------
        KeyError
            The type or the name is missing.
        TypeError, ValueError
            A value is wrong. The item is left as it was.
        """
        source: object = item_dict.to_dict() if isinstance(item_dict, BItem) else item_dict
        if not isinstance(source, Mapping):
            raise TypeError(
                f"Unsupported type {type(item_dict)!r} of an item: a BItem object or a mapping is accepted."
            )
        for key in ("item_type", "name"):
            if key not in source:
                raise KeyError(f"Required {key!r} key is not found in the item dictionary {dict(source)}")
        before, self._item = self._item, {}
        try:
            for key, value in source.items():
                if key in _SETTABLE:
                    setattr(self, key, value)
                else:
                    self._item[key] = copy.deepcopy(value)
        except (TypeError, ValueError):
            self._item = before
            raise
        for key, empty in _EMPTY.items():
            self._item.setdefault(key, empty())

    def __str__(self) -> str:
        return str(self.to_dict())

    def __repr__(self) -> str:
        return repr(self.to_dict())

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, BItem) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # an item can be changed


_SETTABLE = frozenset({"item_type", "name", "args", "kwargs", "meta", "item_uid"})


class _OneType(BItem):
    """An item whose class says its type, so that the constructor starts with the name."""

    _types: ClassVar[Sequence[str]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        own = self._types[0]
        if len(args) == 1 and not kwargs and isinstance(args[0], (Mapping, BItem)):
            fields = args[0].to_dict() if isinstance(args[0], BItem) else args[0]
            kind = "class object" if isinstance(args[0], BItem) else "dictionary"
            if "item_type" not in fields:
                raise KeyError(f"'item_type' key is not found in item parameter dictionary {dict(fields)}")
            if fields["item_type"] != own:
                raise ValueError(
                    f"Item {own!r} can not be initialized from a {kind} "
                    f"which represents {fields['item_type']!r}"
                )
            super().__init__(args[0])
        else:
            super().__init__(own, *args, **kwargs)


class BPlan(_OneType):
    """A plan: ``BPlan("count", ["det1"], num=5)``."""

    _types: ClassVar[Sequence[str]] = ["plan"]


class BInst(_OneType):
    """An instruction to the queue: ``BInst("queue_stop")``."""

    _types: ClassVar[Sequence[str]] = ["instruction"]


class BFunc(_OneType):
    """A function: ``BFunc("set_sample", "copper foil")``."""

    _types: ClassVar[Sequence[str]] = ["function"]
