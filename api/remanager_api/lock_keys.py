"""The lock key of the client, and the default key in a file."""

from __future__ import annotations

import os


def check_lock_key(lock_key: object) -> None:
    """Raise ``ValueError`` unless a lock key is a non-empty string or None."""
    if lock_key is not None and (not isinstance(lock_key, str) or not lock_key):
        raise ValueError(f"Parameter 'lock_key' must be non-empty string or None: lock_key={lock_key!r}")


_DEFAULT_PATH = os.path.join("~", ".config", "qserver", "default_lock_key.txt")


class LockKeys:
    """The part of the client that keeps lock keys; it sends nothing."""

    def __init__(self) -> None:
        self._lock_key: str | None = None
        self._enable_locked_api = False
        self._default_lock_key_path = os.path.expanduser(_DEFAULT_PATH)

    @property
    def lock_key(self) -> str | None:
        """Key with which :meth:`lock` and :meth:`unlock` work when they are given none.

        It is also sent with the other requests while ``enable_locked_api`` is true. None drops the key, and
        sets ``enable_locked_api`` to false. ``ValueError``: neither a non-empty string nor None.
        """
        return self._lock_key

    @lock_key.setter
    def lock_key(self, value: str | None) -> None:
        check_lock_key(value)
        if value is None:
            self._enable_locked_api = False
        self._lock_key = value

    @property
    def enable_locked_api(self) -> bool:
        """Whether ``lock_key`` is sent with requests.

        ``TypeError``: not a bool. ``RuntimeError``: there is no ``lock_key``.
        """
        return self._enable_locked_api

    @enable_locked_api.setter
    def enable_locked_api(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError("The property may be set only to boolean values")
        if not self._lock_key:
            raise RuntimeError("Failed to enable locked API: current lock key is not set")
        self._enable_locked_api = value

    @property
    def default_lock_key_path(self) -> str:
        """File with the default lock key: ``~/.config/qserver/default_lock_key.txt`` unless it is set."""
        return self._default_lock_key_path

    @default_lock_key_path.setter
    def default_lock_key_path(self, value: str) -> None:
        self._default_lock_key_path = value

    def get_default_lock_key(self, new_key: bool = False) -> str:
        """Return the default lock key, from its file. Nothing uses it by itself.

        Parameters
        ----------
        new_key : bool
            Make a new key. One is also made if there is no file.

        Examples
        --------
        >>> RM.lock_key = RM.get_default_lock_key()  # doctest: +SKIP
        """
        if new_key or not os.path.exists(self._default_lock_key_path):
            import secrets

            self.set_default_lock_key(secrets.token_urlsafe(16))
        with open(self._default_lock_key_path, encoding="utf-8") as file:
            return file.readline().strip()

    def set_default_lock_key(self, lock_key: str) -> None:
        """Write the default lock key to its file.

        Raises
        ------
        OSError
            The key is not a non-empty string, or cannot be written.
        """
        if not lock_key or not isinstance(lock_key, str):
            raise OSError(
                "Failed to save the default lock key: "
                f"'lock_key' must be a non-empty string: lock_key={lock_key!r}"
            )
        try:
            os.makedirs(os.path.dirname(self._default_lock_key_path) or ".", exist_ok=True)
            with open(self._default_lock_key_path, "w", encoding="utf-8") as file:
                file.write(lock_key)
        except OSError as exc:
            raise OSError(f"Failed to save the default lock key: {exc}") from exc

    def _key_to_send(self, lock_key: str | None) -> str | None:
        """Return the key to send with a request that was given a key or None."""
        check_lock_key(lock_key)
        return lock_key or (self._lock_key if self._enable_locked_api else None)

    def _key_to_lock(self, lock_key: str | None, method: str) -> str:
        """Return the key with which to lock or unlock."""
        check_lock_key(lock_key)
        key = lock_key or self._lock_key
        if not key:
            raise RuntimeError(f"Failed to format the '{method}' request: Lock key is not set")
        return key
