"""Checks of the parameters of queue operations that need no look at the queue."""

from __future__ import annotations

from remanager.model.errors import InvalidParams


def is_position(pos: object) -> bool:
    """Tell whether a value is ``"front"``, ``"back"`` or an integer."""
    return pos in ("front", "back") if isinstance(pos, str) else type(pos) is int


def check_single(pos: object, uid: object) -> None:
    """Refuse an item that is given both by position and by UID."""
    if pos is not None and uid is not None:
        raise InvalidParams("Ambiguous parameters: plan position and UID is specified")


def check_place(pos: object, before_uid: object, after_uid: object) -> None:
    """Refuse a place that is given in more than one way."""
    if pos is not None and (before_uid is not None or after_uid is not None):
        raise InvalidParams("Ambiguous parameters: plan position and UID is specified")
    if before_uid is not None and after_uid is not None:
        raise InvalidParams(
            "Ambiguous parameters: request to insert the plan before and after the reference plan"
        )


def check_move(pos: object, uid: object, pos_dest: object, before_uid: object, after_uid: object) -> None:
    """Refuse a move whose source or destination is missing or given in more than one way."""
    if pos is None and uid is None:
        raise InvalidParams("Source position or UID is not specified.")
    if pos_dest is None and before_uid is None and after_uid is None:
        raise InvalidParams("Destination position or UID is not specified.")
    if pos is not None and uid is not None:
        raise InvalidParams("Ambiguous parameters: Both position and uid is specified for the source plan.")
    if pos_dest is not None and (before_uid is not None or after_uid is not None):
        raise InvalidParams(
            "Ambiguous parameters: Both position and uid is specified for the destination plan."
        )
    if before_uid is not None and after_uid is not None:
        raise InvalidParams(
            "Ambiguous parameters: source should be moved 'before' and 'after' the destination."
        )


def check_batch_place(pos_dest: object, before_uid: object, after_uid: object) -> None:
    """Refuse the destination of a batch if it is missing or given in more than one way."""
    given = sum(value is not None for value in (pos_dest, before_uid, after_uid))
    if given < 1:
        raise InvalidParams(
            "Destination for the batch is not specified: "
            "use parameters 'pos_dest', 'before_uid' or 'after_uid'"
        )
    if given > 1:
        raise InvalidParams(
            "The function was called with more than one mutually exclusive parameter "
            "('pos_dest', 'before_uid', 'after_uid')"
        )


def uid_list(uids: object) -> list[str]:
    """Return ``uids`` if it is a list of strings, else refuse it."""
    if uids is None:
        raise InvalidParams("Request does not contain the list of UIDs")
    if not isinstance(uids, list):
        raise InvalidParams(f"Parameter 'uids' must be a list: type(uids) = {type(uids)}")
    if not all(isinstance(uid, str) for uid in uids):
        raise InvalidParams("Parameter 'uids' must be a list of strings")
    return uids
