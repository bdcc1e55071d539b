"""The dispatch switches on disk and in the journal: whatever changes them, the next transaction says so."""

from __future__ import annotations

from remanager.engine.task_queue.switches import Switch, Switches
from remanager.manager.ledger import Batch

SWITCHES = "task_switches"
"""Setting: the switches that are off, as :meth:`Switches.to_json` writes them."""

TIMED_HOLDS = "task_holds"
"""Setting: until when single tasks are held, epoch seconds by UID."""


class SwitchRecord:
    """Writes what has changed.

    Parameters
    ----------
    switches : Switches
        The switches in force.
    """

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._written: dict[str, Switch] = {}
        self._version = switches.version

    def adopt(self) -> None:
        """Take the present switches as those on disk."""
        self._written = {_name(s): s for s in self._switches.list()}
        self._version = self._switches.version

    def write(self, batch: Batch) -> bool:
        """Add what has changed to a transaction; return whether anything has."""
        if self._switches.version == self._version:
            return False
        before = self._written
        self.adopt()
        batch.setting(SWITCHES, self._switches.to_json())
        for name, switch in self._written.items():
            if before.get(name) != switch:
                batch.event(
                    "dispatch_paused",
                    scope=switch.scope,
                    name=switch.name,
                    until=switch.until,
                    reason=switch.reason,
                )
        for name, switch in before.items():
            if name not in self._written:
                batch.event("dispatch_resumed", scope=switch.scope, name=switch.name)
        return True


def _name(switch: Switch) -> str:
    return f"{switch.scope}/{switch.name}"
