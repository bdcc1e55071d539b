"""The lock: one key that keeps others away from the environment, the queue or both."""

from __future__ import annotations

import hmac
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from remanager.manager.ledger import Ledger
from remanager.manager.ports import Clock
from remanager.manager.state import new_uid
from remanager.model.errors import InvalidParams, Locked

SETTING = "lock"


@dataclass(frozen=True, slots=True)
class LockInfo:
    """What the lock says of itself; ``uid`` changes with every lock and unlock."""

    environment: bool = False
    queue: bool = False
    key: str | None = None
    note: str | None = None
    user: str | None = None
    time: float | None = None
    uid: str = ""

    @property
    def is_set(self) -> bool:
        """Whether anything is locked."""
        return self.environment or self.queue

    @property
    def time_str(self) -> str:
        """When it was locked, in local time; empty if it is not."""
        return datetime.fromtimestamp(self.time).strftime("%m/%d/%Y %H:%M:%S") if self.time else ""

    def describe(self) -> str:
        """Say who locked what since when, and how to get on."""
        scopes = [name for name, on in (("environment", self.environment), ("queue", self.queue)) if on]
        note = f"\nNote: {self.note}" if self.note else ""
        return (
            f"Locked: {' and '.join(scopes) or 'nothing'}, by {self.user} since {self.time_str}. "
            f"Send the key as 'lock_key', or unlock with it or with the emergency key.{note}"
        )


class LockService:
    """Locks, unlocks, and checks keys. The lock survives restarts.

    Parameters
    ----------
    ledger : Ledger
        Where the lock is written.
    clock : callable
        Wall clock, s.
    emergency_key : str or None
        Opens any lock.
    stored : dict or None
        The lock as the store has it.
    """

    def __init__(
        self, ledger: Ledger, clock: Clock, emergency_key: str | None, stored: dict[str, Any] | None
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._emergency_key = emergency_key
        self.info = LockInfo(**stored) if stored else LockInfo(uid=new_uid())

    def check(self, key: object, scope: str) -> None:
        """Refuse a request that a lock keeps out.

        Parameters
        ----------
        key : object
            ``lock_key`` of the request.
        scope : str
            ``environment``, ``queue``, or ``any``.

        Raises
        ------
        InvalidParams
            The key is no string.
        Locked
            The scope is locked with another key.
        """
        if key is not None and not isinstance(key, str):
            raise InvalidParams(f"Lock key must be a non-empty string or None: lock_key = {key!r}")
        info = self.info
        locked = info.is_set if scope == "any" else getattr(info, scope)
        if locked and not self._matches(key):
            raise Locked(f"Invalid lock key: \n{info.describe()}")

    async def lock(
        self, *, key: str, user: str, note: str | None, environment: bool, queue: bool
    ) -> LockInfo:
        """Lock, or change a lock that has the same key.

        Raises
        ------
        Locked
            It is locked with another key.
        InvalidParams
            Neither the environment nor the queue is selected.
        """
        if self.info.is_set and not self._matches(key):
            raise Locked(f"RE Manager was locked with a different key: \n{self.info.describe()}")
        if not environment and not queue:
            raise InvalidParams(
                "Invalid option: environment and/or queue must be selected: "
                f"environment={environment} queue={queue}"
            )
        await self._set(LockInfo(environment, queue, key, note, user, self._clock(), new_uid()), "locked")
        return self.info

    async def unlock(self, key: str) -> LockInfo:
        """Unlock with the key or the emergency key; an open lock stays open whatever the key.

        Raises
        ------
        Locked
            The key fits neither.
        """
        if self.info.is_set:
            if not self._matches(key, emergency=True):
                raise Locked(f"Invalid lock key: \n{self.info.describe()}")
            await self._set(LockInfo(uid=new_uid()), "unlocked")
        return self.info

    def report(self) -> dict[str, object]:
        """Return the ``lock_info`` dictionary of the protocol."""
        info = self.info
        return {
            "environment": info.environment,
            "queue": info.queue,
            "user": info.user,
            "time": info.time,
            "time_str": info.time_str,
            "note": info.note,
            "emergency_lock_key_is_set": bool(self._emergency_key),
        }

    async def _set(self, info: LockInfo, event: str) -> None:
        batch = self._ledger.batch()
        batch.setting(SETTING, asdict(info))
        batch.event(event, user=info.user, environment=info.environment, queue=info.queue)
        self.info = info
        self._ledger.touch()
        await self._ledger.commit(batch)

    def _matches(self, key: object, *, emergency: bool = False) -> bool:
        if not isinstance(key, str):
            return False
        keys = (self.info.key, self._emergency_key if emergency else None)
        return any(k is not None and hmac.compare_digest(_bytes(k), _bytes(key)) for k in keys)


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")  # JSON lets any text through
