"""Locking the environment or the queue with a key."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from remanager.manager.items import MISSING
from remanager.manager.manager import Manager
from remanager.model.errors import InvalidParams
from remanager.verbs.registry import Params, fixed, verb
from remanager.wire.codec import Reply


class LockRequest(Params):
    """Parameters of ``lock``."""

    environment: Any = Field(False, description="lock the environment")
    queue: Any = Field(False, description="lock the queue")
    user: Any = Field(MISSING, description="who locks")
    note: Any = Field(None, description="why")
    lock_key: Any = Field(MISSING, description="the key that opens the lock")


class KeyParams(Params):
    """Parameters of ``lock_info`` and ``unlock``."""

    lock_key: Any = Field(MISSING, description="key of the lock")


_NO_INFO = fixed(lock_info={}, lock_info_uid=None)


def _with_info(_request: object, manager: Manager) -> dict[str, object]:
    return {"lock_info": manager.lock.report(), "lock_info_uid": manager.lock.info.uid}


@verb("lock", LockRequest, fillers=_NO_INFO, mutating=True)
async def lock(manager: Manager, params: LockRequest) -> Reply:
    """Lock the environment, the queue, or both, until the key opens them again."""
    user, key, note = params.user, params.lock_key, params.note
    if user is MISSING:
        raise InvalidParams("User name is not specified: 'user' is a required parameter")
    if not isinstance(user, str) or not user:
        raise InvalidParams(f"User name must be a non-empty string: user = {user!r}")
    if key is MISSING:
        raise InvalidParams("Lock key is not specified: 'lock_key' is a required parameter")
    _check_key(key)
    if note is not None and not isinstance(note, str):
        raise InvalidParams(f"Note must be a string or None: note = {note!r}")
    await manager.lock.lock(
        key=key, user=user, note=note, environment=bool(params.environment), queue=bool(params.queue)
    )
    return _with_info(None, manager)


@verb("lock_info", KeyParams, fillers=_with_info)
def lock_info(manager: Manager, params: KeyParams) -> Reply:
    """Return what is locked by whom; with a key, check that it is the right one."""
    if params.lock_key is not MISSING and params.lock_key is not None:
        manager.lock.check(params.lock_key, "any")
    return _with_info(None, manager)


@verb("unlock", KeyParams, fillers=_with_info, mutating=True)
async def unlock(manager: Manager, params: KeyParams) -> Reply:
    """Open the lock with its key or the emergency key."""
    if params.lock_key is MISSING:
        raise InvalidParams("Request contains no lock key: 'lock_key' parameter is required")
    _check_key(params.lock_key)
    await manager.lock.unlock(params.lock_key)
    return _with_info(None, manager)


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not key:
        raise InvalidParams(f"Lock key must be a non-empty string: lock_key = {key!r}")
