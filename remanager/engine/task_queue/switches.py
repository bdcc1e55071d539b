"""Dispatch switches: scopes whose tasks are held."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from remanager.engine.task_queue.card import NO_REASONS, Card, PauseReason
from remanager.engine.task_queue.scopes import Scope, ScopeKey, check_name, scope_keys
from remanager.engine.task_queue.stored import read_each
from remanager.model.errors import InvalidParams

_REASONS = {
    Scope.ALL: PauseReason.ALL,
    Scope.DOMAIN: PauseReason.DOMAIN,
    Scope.TASK_TYPE: PauseReason.TASK_TYPE,
    Scope.GROUP: PauseReason.GROUP,
    Scope.SCHEDULE: PauseReason.SCHEDULE,
}


@dataclass(frozen=True, slots=True)
class Switch:
    """A scope that is switched off.

    Attributes
    ----------
    since : float
        When it was switched off, epoch seconds.
    until : float or None
        When it is to be switched on by itself, epoch seconds.
    reason : str
        Words of who did it.
    """

    scope: Scope
    name: str
    since: float
    until: float | None = None
    reason: str = ""

    @property
    def key(self) -> ScopeKey:
        """Scope and name."""
        return self.scope, self.name


class Switches:
    """All scopes that are switched off.

    Attributes
    ----------
    version : int
        Grows with each change.
    """

    def __init__(self) -> None:
        self._off: dict[ScopeKey, Switch] = {}
        self.version = 0

    def set(
        self, scope: Scope, name: str = "", *, now: float, until: float | None = None, reason: str = ""
    ) -> Switch:
        """Switch a scope off, or change the time and reason of one that is off.

        Raises
        ------
        InvalidParams
            There is no such switch, or ``until`` is not in the future.
        """
        if scope not in _REASONS:
            raise InvalidParams(f"Tasks can't be paused by '{scope}'")
        check_name((scope, name))
        if until is not None and not until > now:
            raise InvalidParams(f"The time to resume is not in the future: {until}")
        before = self._off.get((scope, name))
        switch = Switch(scope, name, before.since if before else now, until, reason)
        if switch != before:
            self._off[switch.key] = switch
            self.version += 1
        return switch

    def clear(self, scope: Scope, name: str = "") -> Switch | None:
        """Switch a scope on; return what held it, None if it was on."""
        switch = self._off.pop((scope, name), None)
        if switch is not None:
            self.version += 1
        return switch

    def covering(self, card: Card) -> frozenset[PauseReason]:
        """Return the reasons for which a task is held."""
        if not self._off:
            return NO_REASONS
        return frozenset(_REASONS[key[0]] for key in scope_keys(card.spec) if key in self._off)

    def any_of(self, keys: Iterable[ScopeKey]) -> bool:
        """Tell whether one of the scopes is off."""
        return bool(self._off) and any(key in self._off for key in keys)

    def is_off(self, scope: Scope, name: str = "") -> bool:
        """Tell whether the switch of this very scope is off."""
        return (scope, name) in self._off

    def due(self, now: float) -> tuple[Switch, ...]:
        """Return the switches whose time has come to be cleared."""
        return tuple(s for s in self._off.values() if s.until is not None and s.until <= now)

    def next_until(self) -> float | None:
        """Return when the next switch is due, epoch seconds."""
        if not self._off:
            return None
        return min((s.until for s in self._off.values() if s.until is not None), default=None)

    def list(self) -> tuple[Switch, ...]:
        """Return all switches that are off, ordered by scope and name."""
        return tuple(sorted(self._off.values(), key=lambda s: s.key))

    def to_json(self) -> str:
        """Return all switches as JSON text."""
        return json.dumps([[s.scope, s.name, s.since, s.until, s.reason] for s in self.list()])

    def load(self, text: str) -> Sequence[str]:
        """Replace all switches by those of :meth:`to_json`.

        Returns what is wrong with each of those that cannot be read: they are left out.
        """
        switches, faults = read_each(json.loads(text), _switch)
        self._off = {switch.key: switch for switch in switches}
        self.version += 1
        return faults


def _switch(row: Sequence[Any]) -> Switch:
    scope, name, since, until, why = row
    return Switch(Scope(scope), name, since, until, why)
