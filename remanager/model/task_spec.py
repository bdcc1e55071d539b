"""What is asked of a task of the task queue: fixed at its submission, kept with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any

DEFAULT_PRIORITY = 128

YEAR_S = 366 * 86400.0
"""Longest delay, time-out or patience that may be asked for, s."""


class DuplicatePolicy(StrEnum):
    """What becomes of a task whose key an active task of the same type already has."""

    SKIP = "skip"
    MERGE = "merge"
    SUPERSEDE = "supersede"
    REJECT = "reject"


class DependencyPolicy(StrEnum):
    """What becomes of a task one of whose prerequisites does not succeed."""

    CANCEL = "cancel"
    IGNORE = "ignore"


class TtlOrigin(StrEnum):
    """From when on the time to live of a task counts."""

    SUBMISSION = "submission"
    FIRST_ATTEMPT = "first_attempt"


class RetryStrategy(StrEnum):
    """How the delay before an attempt grows."""

    CONSTANT = "constant"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    EXPONENTIAL_JITTER = "exponential_jitter"


class Where(StrEnum):
    """Which kind of worker runs a task."""

    POOL = "pool"
    ENVIRONMENT = "environment"

    # Looked up for each task: the hash of the text is as good as that of the name, and faster.
    __hash__ = str.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Delays between attempts, s.

    Attributes
    ----------
    max_retries : int
        Attempts after the first one; 0: none.
    initial_s, max_s : float
        First and longest delay.
    factor : float
        Growth of an exponential delay.
    """

    max_retries: int = 0
    strategy: RetryStrategy = RetryStrategy.EXPONENTIAL
    initial_s: float = 1.0
    max_s: float = 300.0
    factor: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """Options of a task that only matter to its own life; stored as JSON text beside it.

    Attributes
    ----------
    timeout_s : float or None
        How long one execution may take.
    kill_after_s : float
        How long a cancelled execution may take to end before its worker is killed.
    ttl_s : float or None
        How long the task may wait for a start (:class:`TtlOrigin` says from when on).
    fail_fast : bool
        A parent fails with its first failed child; the other children are cancelled.
    expected_io : dict
        Expected bytes: ``disk_read``, ``disk_write``, ``net_rx``, ``net_tx``.
    resource_lock : str or None
        Of all tasks with this name at most one runs.
    """

    on_duplicate: DuplicatePolicy = DuplicatePolicy.SKIP
    on_dependency_failure: DependencyPolicy = DependencyPolicy.CANCEL
    fail_fast: bool = True
    ttl_s: float | None = None
    ttl_from: TtlOrigin = TtlOrigin.SUBMISSION
    timeout_s: float | None = None
    kill_after_s: float = 10.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    expected_io: dict[str, int] = field(default_factory=dict)
    resource_lock: str | None = None
    where: Where = Where.POOL

    def to_json(self) -> str:
        """Return what differs from the defaults as JSON text."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {k: v for k, v in plain.items() if v != getattr(DEFAULT_OPTIONS, k)}
        if "retry" in changed:
            changed["retry"] = asdict(self.retry)
        return json.dumps(changed)

    @staticmethod
    @lru_cache(1024)  # many tasks have the same
    def from_json(text: str | None) -> TaskOptions:
        """Read options written by :meth:`to_json`."""
        if not text or text == "{}":
            return DEFAULT_OPTIONS
        data: dict[str, Any] = json.loads(text)
        words = {
            "on_duplicate": DuplicatePolicy,
            "on_dependency_failure": DependencyPolicy,
            "ttl_from": TtlOrigin,
            "where": Where,
        }
        data |= {k: make(data[k]) for k, make in words.items() if k in data}
        if "retry" in data:
            retry = data["retry"]
            data["retry"] = RetryPolicy(**{**retry, "strategy": RetryStrategy(retry["strategy"])})
        return TaskOptions(**data)


DEFAULT_OPTIONS = TaskOptions()


# Not frozen, as are other dataclasses: each field of those takes a call, and there are thousands a second.
@dataclass(slots=True, kw_only=True)
class TaskSpec:
    """A task of the task queue as it was submitted; a change of it makes another one.

    Attributes
    ----------
    task_uid : str
        New UID (of the occurrence, for a schedule).
    name : str
        Name of the function; also the type of the task.
    body : str
        The item as JSON text: ``item_type``, ``item_uid``, ``name``, ``args``, ``kwargs``, ``meta``,
        ``user``, ``user_group``.
    domain, group, label, key : str
        Empty if not given.
    priority : int
        0 (first) to 255.
    tags : tuple of (str, str)
        Sorted by key.
    depends_on : tuple of str
        UIDs of the prerequisites.
    run_after : float or None
        Not before this time, epoch seconds.
    time_created : float
        Epoch seconds.
    principal : str or None
        Who asked for it; None where that is not known.
    """

    task_uid: str
    name: str
    user: str
    user_group: str
    body: str
    time_created: float
    item_type: str = "function"
    domain: str = ""
    group: str = ""
    label: str = ""
    key: str = ""
    priority: int = DEFAULT_PRIORITY
    tags: tuple[tuple[str, str], ...] = ()
    job_uid: str | None = None
    parent_uid: str | None = None
    schedule_uid: str | None = None
    origin_uid: str | None = None
    depends_on: tuple[str, ...] = ()
    run_after: float | None = None
    principal: str | None = None
    options: TaskOptions = DEFAULT_OPTIONS
