"""Items of the plan queue: what is kept of a submitted item, its text, its place, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from remanager.model.errors import InvalidItem
from remanager.model.json_text import dumps

ITEM_KEYS = frozenset(
    (
        *("item_uid", "item_type", "name", "args", "kwargs", "meta", "user", "user_group", "properties"),
        *("label", "tags"),
    )
)
"""Keys of a submitted item that are kept; every other key (``result``, for one) is dropped."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What is known of an item beside what it says itself.

    Attributes
    ----------
    principal : str or None
        Name of the principal who submitted it; None where that is not known.
    attempt : int
        1, and one more for each time that the item returned to the queue unfinished.
    """

    principal: str | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class PreparedItem:
    """An item that is ready to be put in the queue.

    Attributes
    ----------
    uid : str
        Its ``item_uid``.
    item : dict
        The item; equal to what ``text`` decodes to. It must not be changed.
    text : str
        The item as JSON text, for the store and for replies.
    submission : Submission
        Where it comes from.
    """

    uid: str
    item: dict[str, Any]
    text: str
    submission: Submission = Submission()


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """An item with its place in the queue.

    Attributes
    ----------
    uid : str
        Its ``item_uid``.
    rank : int
        The order of the ranks is the order of the queue.
    item : dict
        The item; it must not be changed.
    text : str
        The item as JSON text.
    submission : Submission
        Where it comes from.
    """

    uid: str
    rank: int
    item: dict[str, Any]
    text: str
    submission: Submission = Submission()


@dataclass(frozen=True, slots=True)
class QueueDelta:
    """What an operation changed, as the store must write it.

    Written in the order *cleared, removed, moved, replaced, inserted*, no two items ever share a rank,
    provided that all items of ``moved`` leave their old ranks before they take the new ones.

    Attributes
    ----------
    entries : tuple of QueueEntry
        The items that the operation was asked for, in the order of the reply; also those that did not change.
    inserted : tuple of QueueEntry
        New items.
    removed : tuple of str
        UIDs of items that left the queue.
    moved : tuple of (str, int)
        UIDs and new ranks; they may take over each other's ranks.
    replaced : tuple of (str, QueueEntry)
        UIDs of replaced items and what took their places; the UID may be the same.
    cleared : bool
        Every item left the queue.
    """

    entries: tuple[QueueEntry, ...] = ()
    inserted: tuple[QueueEntry, ...] = ()
    removed: tuple[str, ...] = ()
    moved: tuple[tuple[str, int], ...] = ()
    replaced: tuple[tuple[str, QueueEntry], ...] = ()
    cleared: bool = False

    @property
    def changed(self) -> bool:
        """Whether the queue changed at all; if not, its UID must not change."""
        return bool(self.cleared or self.inserted or self.removed or self.moved or self.replaced)

    @property
    def entry(self) -> QueueEntry:
        """The item of an operation on a single item."""
        return self.entries[0]


class BatchRejected(InvalidItem):
    """Some items of a batch are refused, so none was added.

    Parameters
    ----------
    errors : sequence of str
        One text per item; empty for an item that is fine.
    """

    def __init__(self, errors: Sequence[str]) -> None:
        failed = sum(1 for error in errors if error)
        super().__init__(
            f"Failed to add all items: validation of {failed} out of {len(errors)} submitted items failed"
        )
        self.errors = tuple(errors)

    @property
    def results(self) -> list[dict[str, Any]]:
        """The ``results`` of the reply: ``{"success": bool, "msg": str}`` per item."""
        return [{"success": not error, "msg": error} for error in self.errors]


def filter_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item without the keys that a queued item does not have."""
    return {key: value for key, value in item.items() if key in ITEM_KEYS}


def prepare_item(
    item: object, submission: Submission = Submission(), *, filter_parameters: bool = True
) -> PreparedItem:
    """Make an item ready for the queue. May run in any thread.

    Parameters
    ----------
    item : dict
        The item, with its ``item_uid``. It is made of what JSON decodes to, as requests in either encoding
        are: so the item in memory is the one that a restart reads from the store. Its parts are not copied.
    submission : Submission
        Where it comes from.
    filter_parameters : bool
        Drop the keys that are not in :data:`ITEM_KEYS`. False for an item that the manager itself puts back.

    Raises
    ------
    InvalidItem
        It is no dictionary, has no UID, or cannot be written as JSON.
    """
    if not isinstance(item, dict):
        raise InvalidItem(f"Parameter 'item' should be a dictionary: '{item}', (type '{type(item)}')")
    kept = filter_item(item) if filter_parameters else item
    uid = kept.get("item_uid")
    if uid is None:
        raise InvalidItem("Item does not have UID.")
    if not isinstance(uid, str):
        raise InvalidItem(f"Item UID must be a string: item_uid={uid!r}")
    try:
        text = dumps(kept)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidItem(f"The item cannot be written as JSON: {error}") from error
    return PreparedItem(uid, kept, text, submission)
