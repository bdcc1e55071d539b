"""A task module that moves the data of runs: copy, move, inspect, repair, drain, balance, delete.

A *run* is a file or a directory. Its copy gets a manifest: a file with the size, the time and the checksum of
each file. Name the module with ``--task-modules remanager.data_movement``, and the directories that it may
touch with the environment variable ``REMANAGER_DATA_ROOTS`` (separated by colons).
"""

from __future__ import annotations

from remanager.data_movement.many_runs import balance_directories, delete_runs, drain_directory
from remanager.data_movement.one_run import (
    balance_run,
    copy_run,
    drain_run,
    inspect_run,
    move_run,
    repair_run,
)

__all__ = [
    "balance_directories",
    "balance_run",
    "copy_run",
    "delete_runs",
    "drain_directory",
    "drain_run",
    "inspect_run",
    "move_run",
    "repair_run",
]
