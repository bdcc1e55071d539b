"""The SQLite store: schema, named statements, one writer thread with group commit, reads."""

from __future__ import annotations

from remanager.store import task_writes, writes
from remanager.store.archive import Archive
from remanager.store.errors import (
    DatabaseUnusable,
    NetworkFileSystem,
    SchemaTooNew,
    StaleWrite,
    StateDirUnusable,
    StoreFailed,
    StoreInUse,
    WriteRejected,
)
from remanager.store.reads import Reads
from remanager.store.records import (
    EventRow,
    JournalEvent,
    Keep,
    NewTask,
    QueueEntryRow,
    Retention,
    TaskRow,
    WorkerRow,
    Write,
)
from remanager.store.store import Store

__all__ = [
    "Archive",
    "DatabaseUnusable",
    "EventRow",
    "JournalEvent",
    "Keep",
    "NetworkFileSystem",
    "NewTask",
    "QueueEntryRow",
    "Reads",
    "Retention",
    "SchemaTooNew",
    "StaleWrite",
    "StateDirUnusable",
    "Store",
    "StoreFailed",
    "StoreInUse",
    "TaskRow",
    "WorkerRow",
    "Write",
    "WriteRejected",
    "task_writes",
    "writes",
]
