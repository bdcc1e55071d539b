"""Limits: how many tasks of a scope run at once, how many start per time, and which share is theirs."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from remanager.engine.task_queue.scopes import ALL, Scope, ScopeKey, check_name, scope_text
from remanager.engine.task_queue.stored import read_each
from remanager.model.errors import InvalidParams

# Time in seconds since the epoch has steps of 0.2 µs: a token may be short of this part when it is due.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``permits`` starts per ``interval_s``, in the long run; ``burst`` at once after a pause."""

    permits: float
    interval_s: float = 1.0
    burst: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("permits", self.permits), ("interval_s", self.interval_s)):
            if not (math.isfinite(value) and value > 0):
                raise InvalidParams(f"'{name}' of a rate must be positive: {value}")
        if not (math.isfinite(self.capacity) and self.capacity >= 1):
            raise InvalidParams(f"'burst' of a rate must be at least 1: {self.capacity}")

    @property
    def capacity(self) -> float:
        """The most tokens that are saved up; by default the permits of one interval, at least one."""
        return max(self.permits, 1.0) if self.burst is None else self.burst

    @property
    def per_second(self) -> float:
        """Tokens per second."""
        return self.permits / self.interval_s


class TokenBucket:
    """Tokens of a rate: one is taken with each start."""

    __slots__ = ("_time", "_tokens", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._tokens = rate.capacity
        self._time = now

    def available(self, now: float) -> float:
        """Return the tokens at the time ``now`` (epoch seconds)."""
        # After the clock was set back, nothing is added until it has moved on.
        self._time = min(self._time, now)
        return min(self.rate.capacity, self._tokens + (now - self._time) * self.rate.per_second)

    def has_token(self, now: float) -> bool:
        """Tell whether a token can be taken."""
        return self.available(now) >= 1 - _ROUNDING

    def take(self, now: float) -> None:
        """Take a token; there must be one."""
        self._put(self.available(now) - 1, now)

    def give_back(self) -> None:
        """Return a token that was not needed."""
        self._tokens = min(self._tokens + 1, self.rate.capacity)

    def change(self, rate: Rate, now: float) -> None:
        """Go on with another rate: tokens are kept as far as the new capacity allows."""
        tokens = self.available(now)
        self.rate = rate
        self._put(tokens, now)

    def next_token(self, now: float) -> float:
        """Return when there is a token, epoch seconds: ``now`` if there is one, else later."""
        if self.has_token(now):
            return now
        return max(now + (1 - self.available(now)) / self.rate.per_second, math.nextafter(now, math.inf))

    def clock_set(self, step_s: float) -> None:
        """Keep the tokens though the clock was set by ``step_s`` (s)."""
        self._time += step_s

    def _put(self, tokens: float, now: float) -> None:
        self._tokens = min(max(tokens, 0.0), self.rate.capacity)
        self._time = now


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSpec:
    """What is asked of a scope.

    Attributes
    ----------
    max_running : int or None
        At most so many tasks run at once; None: any number.
    weight : float
        Share of a group or a user, relative to others; groups and users only.
    min_slots : int
        So many tasks of a group start before those of others; groups only.
    rate : Rate or None
        How many start per time.
    """

    scope: Scope
    name: str = ""
    max_running: int | None = None
    weight: float = 1.0
    min_slots: int = 0
    rate: Rate | None = None

    def __post_init__(self) -> None:
        if self.scope is Scope.SCHEDULE:
            raise InvalidParams("There are no limits by 'schedule'")
        check_name(self.key)
        if self.max_running is not None and self.max_running < 0:
            raise InvalidParams(f"'max_running' must not be negative: {self.max_running}")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise InvalidParams(f"'weight' must be positive: {self.weight}")
        if self.min_slots < 0:
            raise InvalidParams(f"'min_slots' must not be negative: {self.min_slots}")
        if self.weight != 1 and self.scope not in (Scope.GROUP, Scope.USER):
            raise InvalidParams("Only groups and users have a 'weight'")
        if self.min_slots and self.scope is not Scope.GROUP:
            raise InvalidParams("Only groups have 'min_slots'")

    @property
    def key(self) -> ScopeKey:
        """Scope and name."""
        return self.scope, self.name

    @property
    def usable_min_slots(self) -> int:
        """The minimum of slots, as far as ``max_running`` allows."""
        return self.min_slots if self.max_running is None else min(self.min_slots, self.max_running)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values (JSON)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LimitSpec:
        """Read what :meth:`to_dict` has made."""
        rate = Rate(**data["rate"]) if data.get("rate") else None
        return cls(**{**data, "scope": Scope(data["scope"]), "rate": rate})


@dataclass(frozen=True, slots=True)
class LimitFigures:
    """A limit and what it does at the moment.

    Attributes
    ----------
    running : int
        Tasks of the scope that run.
    available_tokens : float or None
        None without a rate.
    denied_count : int
        How often it held back the task that was next in turn, since it was set.
    """

    spec: LimitSpec
    running: int
    available_tokens: float | None
    denied_count: int


class Limit:
    """A limit in force. Only :class:`Limits` and the dispatcher use it."""

    __slots__ = ("bucket", "denied", "key", "spec")

    def __init__(self, spec: LimitSpec, now: float) -> None:
        self.spec = spec
        self.key = spec.key
        self.denied = 0
        self.bucket = TokenBucket(spec.rate, now) if spec.rate else None

    @property
    def holds_back(self) -> bool:
        """Whether it can hold tasks back at all; a mere weight can't."""
        return self.spec.max_running is not None or self.bucket is not None

    def change(self, spec: LimitSpec, now: float) -> None:
        """Go on with other values; counts and tokens are kept."""
        self.spec = spec
        if spec.rate is None:
            self.bucket = None
        elif self.bucket is None:
            self.bucket = TokenBucket(spec.rate, now)
        else:
            self.bucket.change(spec.rate, now)


class Limits:
    """All limits, the number of running tasks by scope, and the locks of resources.

    Attributes
    ----------
    version : int
        Grows with each change that may concern many tasks.
    changed : set of ScopeKey
        Where limits of users, and mere weights of groups, have changed; to be cleared by who has seen it.
    locks : dict of str to str
        UID of the running task by name of the resource.
    min_slots : dict of str to int
        By group, where it is more than none.
    denials : Counter of str
        How often the task that was next in turn was held back, by reason: ``limit:SCOPE``, ``rate_limit`` or
        ``resource_lock``.
    """

    def __init__(self) -> None:
        self._limits: dict[ScopeKey, Limit] = {}
        self._running: dict[ScopeKey, int] = {}
        self.locks: dict[str, str] = {}
        self.min_slots: dict[str, int] = {}
        self.denials: Counter[str] = Counter()
        self.version = 0
        self.changed: set[ScopeKey] = set()

    def set(self, spec: LimitSpec, now: float) -> None:
        """Put a limit in force, in place of the one of the same scope and name."""
        limit = self._limits.get(spec.key)
        before = limit.spec if limit is not None else None
        if limit is None:
            self._limits[spec.key] = Limit(spec, now)
        else:
            limit.change(spec, now)
        self._changed(before, spec)

    def remove(self, scope: Scope, name: str = "") -> bool:
        """Lift a limit; return False if there was none."""
        limit = self._limits.pop((scope, name), None)
        if limit is None:
            return False
        self._changed(limit.spec, None)
        return True

    def get(self, scope: Scope, name: str = "") -> LimitSpec | None:
        """Return the limit of a scope."""
        limit = self._limits.get((scope, name))
        return limit.spec if limit else None

    def list(self, now: float) -> tuple[LimitFigures, ...]:
        """Return all limits with their figures, ordered by scope and name."""
        return tuple(
            LimitFigures(
                spec=limit.spec,
                running=self.running(key),
                available_tokens=limit.bucket.available(now) if limit.bucket else None,
                denied_count=limit.denied,
            )
            for key, limit in sorted(self._limits.items())
        )

    def to_json(self) -> str:
        """Return all limits as JSON text; tokens are not part of it."""
        return json.dumps([limit.spec.to_dict() for _, limit in sorted(self._limits.items())])

    def load(self, text: str, now: float) -> Sequence[str]:
        """Replace all limits by those of :meth:`to_json`; their buckets are full.

        Returns what is wrong with each of those that cannot be read: they are left out.
        """
        specs, faults = read_each(json.loads(text), LimitSpec.from_dict)
        self._limits = {spec.key: Limit(spec, now) for spec in specs}
        self._all_changed()
        return faults

    def clock_set(self, step_s: float) -> None:
        """Let rates go on as before though the clock was set by ``step_s`` (s)."""
        for limit in self._limits.values():
            if limit.bucket is not None:
                limit.bucket.clock_set(step_s)

    # -------------------------------------------------------------------------------- for the dispatcher

    def over(self, keys: Iterable[ScopeKey]) -> tuple[Limit, ...]:
        """Return the limits that can hold back a task of these scopes."""
        if not self._limits:
            return ()
        found = (self._limits.get(key) for key in keys)
        return tuple(limit for limit in found if limit is not None and limit.holds_back)

    def running(self, key: ScopeKey = ALL) -> int:
        """Return how many tasks of a scope run."""
        return self._running.get(key, 0)

    def is_full(self, limit: Limit) -> bool:
        """Tell whether as many tasks run as the limit allows."""
        most = limit.spec.max_running
        return most is not None and self.running(limit.key) >= most

    def refusal(self, limit: Limit, now: float) -> str | None:
        """Return why a limit holds tasks back, in a word of the protocol; None if it does not."""
        if self.is_full(limit):
            return f"limit:{scope_text(limit.key)}"
        if limit.bucket is not None and not limit.bucket.has_token(now):
            return "rate_limit"
        return None

    def count_denial(self, limit: Limit) -> None:
        """Count that a limit holds back the task that is next in turn."""
        limit.denied += 1
        self.denials[f"limit:{limit.key[0]}" if self.is_full(limit) else "rate_limit"] += 1

    def weight(self, key: ScopeKey) -> float:
        """Return the weight of a group or a user; 1 unless it was set."""
        limit = self._limits.get(key)
        return limit.spec.weight if limit else 1.0

    def starving(self) -> frozenset[str]:
        """Return the groups that run fewer tasks than their minimum."""
        return frozenset(name for name in self.min_slots if self.is_starving(name))

    def is_starving(self, group: str) -> bool:
        """Tell whether a group runs fewer tasks than its minimum."""
        return self.running((Scope.GROUP, group)) < self.min_slots.get(group, 0)

    def count_start(self, keys: Iterable[ScopeKey]) -> None:
        """Count a running task in its scopes."""
        for key in keys:
            self._running[key] = self._running.get(key, 0) + 1

    def count_end(self, keys: Iterable[ScopeKey]) -> None:
        """Count a running task no longer."""
        for key in keys:
            left = self._running[key] - 1
            if left:
                self._running[key] = left
            else:
                del self._running[key]

    def _changed(self, before: LimitSpec | None, after: LimitSpec | None) -> None:
        """Take note of a change of one limit; None where there is none."""
        (spec, *_) = (each for each in (after, before) if each is not None)
        bare = LimitSpec(scope=spec.scope, name=spec.name)
        before, after = (replace(each or bare, weight=1.0) for each in (before, after))
        if spec.scope is Scope.USER or before == after:
            self.changed.add(spec.key)
        else:
            self._all_changed()

    def _all_changed(self) -> None:
        self.min_slots = {
            key[1]: limit.spec.usable_min_slots
            for key, limit in self._limits.items()
            if limit.spec.usable_min_slots
        }
        self.version += 1
