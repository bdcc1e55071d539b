"""The registry of methods: one declaration per method, from which everything else is made.

A method is declared with :func:`verb` on its handler. The declaration names the parameter model, the lock
that guards the method, the words that stand before an error, and the keys that a refused reply carries beside
``success``, ``msg`` and ``code`` (clients of the RE Manager protocol expect them to be there).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from remanager.manager.manager import Manager
from remanager.model.errors import RemanagerError
from remanager.model.principal import Permission
from remanager.wire.codec import Reply


class LockScope(StrEnum):
    """What a method touches, as far as ``lock`` is concerned."""

    QUEUE = "queue"
    ENVIRONMENT = "environment"


class Params(BaseModel):
    """Base of all parameter models: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class NoParams(Params):
    """For methods that take no parameters."""


class LockParams(Params):
    """For methods that a lock guards."""

    lock_key: Any = Field(None, description="key of the lock, where the manager is locked")


WITHOUT_PARAMS: dict[type[Params], Params] = {m: m.model_construct() for m in (NoParams, LockParams)}
"""What a request without parameters gives.

The first validation loads what takes as long as starting a worker; ``environment_open`` need not wait for it.
"""


class Refusal(Exception):
    """Carries an error together with keys of the reply that only the handler knows.

    Parameters
    ----------
    error : RemanagerError
        Why the request is refused.
    **fields : object
        Keys of the reply, in place of the fillers.
    """

    def __init__(self, error: RemanagerError, **fields: object) -> None:
        super().__init__(str(error))
        self.error = error
        self.fields = fields


Handler = Callable[[Manager, Any], Reply | Awaitable[Reply]]
Fillers = Callable[[Mapping[str, Any], Manager], Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Verb:
    """Declaration of a method.

    Attributes
    ----------
    name : str
        Name on the wire.
    family : str
        Module that declares it; groups the reference.
    params : type of Params
        Model of the parameters.
    handler : callable
        ``handler(manager, params)``: returns the reply or an awaitable of it; ``success`` and ``msg`` may be
        left out.
    lock : LockScope or None
        Lock that must be open, or whose key must be given.
    prefix : str
        Stands before the text of an error.
    fillers : callable
        Further keys of a refused reply, from the request's parameters.
    lenient : bool
        Ignore parameters altogether (``ping`` and ``status`` only).
    plain : bool
        The prefix stands before errors of the parameters only, not where the present state refuses.
    names : tuple of str
        Names of the parameters, the lock's key last.
    mutating : bool
        It changes something: it takes a ``request_id``, and a repetition with the same one is answered like
        the first.
    permission : Permission
        What the role of those who ask must include.
    journal : bool
        The journal gets an event ``request`` when it succeeded, as what it does leaves no event by itself.
    """

    name: str
    family: str
    params: type[Params]
    handler: Handler
    lock: LockScope | None
    prefix: str
    fillers: Fillers
    lenient: bool
    plain: bool
    names: tuple[str, ...]
    mutating: bool
    permission: Permission
    journal: bool

    @property
    def doc(self) -> str:
        """What the method does: the handler's docstring."""
        return (self.handler.__doc__ or "").strip()


REGISTRY: dict[str, Verb] = {}


def _no_fillers(_request: Mapping[str, Any], _manager: Manager) -> Mapping[str, object]:
    return {}


def fixed(**values: object) -> Fillers:
    """Fillers that do not depend on the request."""
    return lambda _request, _manager: values


def _permission(lock: LockScope | None, *, mutating: bool) -> Permission:
    if lock is LockScope.ENVIRONMENT:
        return Permission.ENVIRONMENT
    return Permission.QUEUE if mutating or lock is not None else Permission.READ


def verb(
    name: str,
    params: type[Params] = NoParams,
    *,
    lock: LockScope | None = None,
    prefix: str = "Error: ",
    fillers: Fillers = _no_fillers,
    lenient: bool = False,
    plain: bool = False,
    mutating: bool = False,
    permission: Permission | None = None,
    journal: bool = False,
) -> Callable[[Handler], Handler]:
    """Declare a method; to be used as a decorator of its handler.

    One with a lock is always mutating. The permission follows from that, unless it is given.
    """

    def declare(handler: Handler) -> Handler:
        family = handler.__module__.rpartition(".")[2]
        if name in REGISTRY:
            raise ValueError(f"method {name!r} is declared twice")
        if lock is not None and "lock_key" not in params.model_fields:
            raise ValueError(f"method {name!r} is locked, but takes no lock_key")
        words = [f.alias or n for n, f in params.model_fields.items()]  # some are words of the language
        names = sorted(words, key=lambda n: n == "lock_key")
        REGISTRY[name] = Verb(
            name=name,
            family=family,
            params=params,
            handler=handler,
            lock=lock,
            prefix=prefix,
            fillers=fillers,
            lenient=lenient,
            plain=plain,
            names=tuple(names),
            mutating=mutating or lock is not None,
            permission=permission or _permission(lock, mutating=mutating),
            journal=journal,
        )
        return handler

    return declare
