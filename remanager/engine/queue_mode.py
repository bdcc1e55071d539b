"""The mode of the plan queue."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from remanager.model.errors import InvalidParams


@dataclass(frozen=True, slots=True)
class QueueMode:
    """How the queue treats items that have run.

    Attributes
    ----------
    loop : bool
        Items that succeeded or were stopped return to the back of the queue.
    ignore_failures : bool
        The queue goes on after a plan that failed. It still stops after one that was stopped, aborted or
        halted.
    """

    loop: bool = False
    ignore_failures: bool = False

    def as_dict(self) -> dict[str, bool]:
        """Return the mode as it stands in ``status``."""
        return {"loop": self.loop, "ignore_failures": self.ignore_failures}


DEFAULT_MODE = QueueMode()
_NAMES = [field.name for field in fields(QueueMode)]


def updated_mode(mode: QueueMode, update: object) -> QueueMode:
    """Return a mode with changes.

    Parameters
    ----------
    mode : QueueMode
        The present mode; not changed.
    update : dict or "default"
        The parameters that change (none is fine), or the word for the default mode.

    Raises
    ------
    InvalidParams
        Wrong type, unknown parameter, or a value that is not boolean.
    """
    if update == "default":
        return DEFAULT_MODE
    if not isinstance(update, dict):
        raise InvalidParams(
            f"Queue mode is passed using object of unsupported type '{type(update)}': ({update}). "
            "Supported types: ('dict', 'str'), supported string value: 'default'"
        )
    for name, value in update.items():
        if name not in _NAMES:
            raise InvalidParams(
                f"Unsupported plan queue mode parameter '{name}': supported parameters {_NAMES}"
            )
        if not isinstance(value, bool):
            raise InvalidParams(
                f"Unsupported type '{type(value)}' of the parameter '{name}': expected type '{bool}'"
            )
    return replace(mode, **update)
