"""Plans, devices and functions as objects: with completion, help, and a check of arguments at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from remanager_api.items import BFunc, BItem, BPlan
from remanager_api.notebook.blocks import Badge, Note, Part, Table, View
from remanager_api.notebook.queue_views import abilities, device_table, plan_table
from remanager_api.notebook.render_html import to_html
from remanager_api.notebook.shown import Shown
from remanager_api.notebook.signatures import help_of, parameter_table, signature_of
from remanager_api.notebook.task_views import function_table
from remanager_api.notebook.values import mapping, mappings, short

T = TypeVar("T")
ItemT = TypeVar("ItemT", bound=BItem)


def plain(value: object) -> Any:
    """Return an argument as it is sent: devices, plans and functions become their names."""
    if isinstance(value, Device):
        return str(value)
    if isinstance(value, Call):
        return value.__name__
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return value


# ------------------------------------------------------------------------------------- calls


class Call(Shown, Generic[ItemT]):
    """A plan or a function: called with its arguments, it makes an item to add or submit.

    ``inspect.signature``, ``help`` and ``?`` tell what the manager says of it.

    Parameters
    ----------
    name : str
        Its name.
    description : Mapping
        What the manager says of it.
    make : type
        :class:`BPlan` or :class:`BFunc`.
    """

    def __init__(self, name: str, description: Mapping[str, Any], make: Callable[..., ItemT]) -> None:
        self._make = make
        self.__name__ = self.__qualname__ = name
        self.__doc__ = help_of(description)
        self.__signature__ = signature_of(description)
        self._description = description

    def __call__(self, *args: Any, **kwargs: Any) -> ItemT:
        """Make an item; a ``TypeError`` says which argument is missing or unknown."""
        try:
            self.__signature__.bind(*args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"{self.__name__}{self.__signature__}: {exc}") from None
        return self._make(self.__name__, *plain(args), **plain(kwargs))

    def _view(self) -> View:
        words = (self.__doc__ or "").partition("\n")[0]
        parts: list[Part] = [Note(words)] if words else []
        if self.__signature__.parameters:
            parts.append(parameter_table(self._description))
        return View(f"{self.__name__}{self.__signature__}", parts=parts)


# ------------------------------------------------------------------------------------- devices


class Device(str):
    """A device or a component of one. It is the text by which plans name it, such as ``stage.x``.

    Its components are its attributes and its entries: ``devices.stage.x``, ``devices.stage["x"]``.

    Parameters
    ----------
    name : str
        Full name.
    description : Mapping
        What the manager says of it: ``classname``, ``is_readable``, ..., ``components``.
    """

    _description: Mapping[str, Any]
    _components: Mapping[str, Device]

    def __new__(cls, name: str, description: Mapping[str, Any]) -> Device:
        self = super().__new__(cls, name)
        self._description = description
        self._components = {
            part: Device(f"{name}.{part}", mapping(entry))
            for part, entry in mapping(description.get("components")).items()
        }
        # Completion looks into nothing that is made by __getattr__. A component comes before a method of
        # texts of the same name, such as "title".
        vars(self).update(_public(self._components))
        return self

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        if key not in self._components:
            raise KeyError(f"device {str(self)!r} has no component {key!r}")
        return self._components[key]

    def __dir__(self) -> list[str]:
        return [*self._components, *(name for name in super().__dir__() if name.startswith("_"))]

    def __deepcopy__(self, memo: dict[int, Any]) -> str:
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # Who reads a pickle needs nothing of this package.
        return str, (str(self),)

    def _words(self) -> str:
        words = f"{short(self._description.get('classname'))}, {abilities(self._description)}"
        return words.strip(", ")

    def __repr__(self) -> str:
        return f"<{self!s}: {self._words()}>"

    def _repr_html_(self) -> str:
        components = mapping(self._description.get("components"))
        parts = [device_table(components)] if components else []
        return to_html(View(str(self), [Badge(self._words())], parts))


# ------------------------------------------------------------------------------------- lists


class Names(Shown, Generic[T]):
    """Things by name: as attributes, with completion, and as entries.

    Parameters
    ----------
    entries : Mapping
        The things by name.
    table : Table
        What they look like together.
    """

    def __init__(self, entries: Mapping[str, T], table: Table) -> None:
        self._entries = entries
        self._table = table
        vars(self).update(_public(entries))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> T: ...

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __dir__(self) -> list[str]:
        return [name for name in vars(self) if not name.startswith("_") and name.isidentifier()]

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._entries)

    def _view(self) -> View:
        parts = [self._table] if self._entries else []
        return View(type(self).__name__, [Badge(str(len(self._entries)))], parts)


class Plans(Names[Call[BPlan]]):
    """The plans that a user group may run, by name: ``plans.count([devices.diode], num=5)``."""

    @classmethod
    def of(cls, reply: Mapping[str, Any]) -> Self:
        """Return the plans of a reply to ``plans_allowed``."""
        listed = mapping(reply.get("plans_allowed"))
        plans = {name: Call(name, mapping(entry), BPlan) for name, entry in listed.items()}
        return cls(plans, plan_table(listed))


class Devices(Names[Device]):
    """The devices that a user group may use, by name: ``devices.stage.x``."""

    @classmethod
    def of(cls, reply: Mapping[str, Any]) -> Self:
        """Return the devices of a reply to ``devices_allowed``."""
        listed = mapping(reply.get("devices_allowed"))
        devices = {name: Device(name, mapping(entry)) for name, entry in listed.items()}
        return cls(devices, device_table(listed))


class Functions(Names[Call[BFunc]]):
    """The functions of the task modules, by name: ``functions.move_run("/fast/1", "/archive/1")``."""

    @classmethod
    def of(cls, reply: Mapping[str, Any]) -> Self:
        """Return the functions of a reply to ``task_function_list``."""
        listed = mappings(reply.get("functions"))
        functions = {name: Call(name, entry, BFunc) for entry in listed if (name := entry.get("name"))}
        return cls(functions, function_table(listed))


def _public(entries: Mapping[str, T]) -> dict[str, T]:
    """Return the entries that can be attributes."""
    return {name: entry for name, entry in entries.items() if not name.startswith("_")}
