"""Errors of the store.

StorageError (``storage``)
├── StoreInUse              another manager holds the state directory
├── NetworkFileSystem       the state directory is on a network file system
├── StateDirUnusable        the state directory cannot be created or written
├── SchemaTooNew            a newer release wrote the database
├── DatabaseUnusable        the file is damaged or not ours
├── WriteRejected           one submission broke a constraint; nothing of it was stored
└── StoreFailed             a commit failed; the store takes no more writes
Conflict (``conflict``)
└── StaleWrite              a guarded write found other rows than expected; nothing of it was stored
"""

from __future__ import annotations

from remanager.model.errors import Conflict, StorageError


class StoreInUse(StorageError):
    """Another manager holds the state directory."""


class NetworkFileSystem(StorageError):
    """The state directory is on a network file system."""


class StateDirUnusable(StorageError):
    """The state directory cannot be created or written."""


class SchemaTooNew(StorageError):
    """A newer release of remanager wrote the database."""


class DatabaseUnusable(StorageError):
    """The database file is damaged, or it is not a database of remanager."""


class WriteRejected(StorageError):
    """A submission broke a constraint or had wrong parameters; nothing of it was stored."""


class StoreFailed(StorageError):
    """A commit failed (disk full, I/O error); the store takes no more writes until it is reopened."""


class StaleWrite(Conflict):
    """A guarded write found other rows than expected; nothing of its submission was stored."""
