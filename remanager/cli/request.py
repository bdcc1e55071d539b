"""What is said of a command that sends one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from remanager.cli import words
from remanager.cli.words import Read


class Wait(StrEnum):
    """What ``--wait`` waits for."""

    NOTHING = ""
    ENVIRONMENT = "until the environment is open or closed"
    TASK = "for the result of the task"
    QUEUE = "until the queue has stopped"
    ITEM = "until the item has ended"


@dataclass(frozen=True, slots=True)
class Request:
    """A command that sends one request.

    Attributes
    ----------
    path : str
        Words that name the command.
    method : str
        Method on the wire.
    help : str
        What it does, one line.
    usage : str
        Further words, as the help shows them.
    read : callable
        Makes parameters of the further words.
    details : str
        Further lines of the help.
    also : tuple of str
        Other words that name the command: those of ``qserver`` where they differ.
    other : Mapping
        Other methods, by the one further word that selects them; they take no parameters.
    locked : bool
        ``--lock-key`` is sent along.
    who : tuple of str
        Which of ``user`` and ``user_group`` are sent along.
    asks_worker : bool
        The answer can take as long as the environment worker may take for its own.
    is_long : bool
        It can be about very many tasks, which takes its time.
    wait : Wait
        What ``--wait`` waits for.
    """

    path: str
    method: str
    help: str
    usage: str = ""
    read: Read = words.nothing
    details: str = ""
    also: tuple[str, ...] = ()
    other: Mapping[str, str] = field(default_factory=dict)
    locked: bool = False
    who: tuple[str, ...] = ()
    asks_worker: bool = False
    is_long: bool = False
    wait: Wait = Wait.NOTHING
