"""When something recurs: by interval or by cron expression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from remanager.model.errors import InvalidParams

MIN_INTERVAL_S = 0.1
MAX_CRON_CHARS = 200
MISSED_COUNTED = 1000


class RecurrenceMode(StrEnum):
    """From when on the interval to the next occurrence counts."""

    AFTER_COMPLETION = "after_completion"
    FIXED_RATE = "fixed_rate"


class CatchUp(StrEnum):
    """What becomes of occurrences that were due while the schedule could not run."""

    NONE = "none"
    ONE = "one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """When a schedule is due: by interval or by cron expression.

    Attributes
    ----------
    interval_s : float or None
        Time between occurrences, s.
    mode : RecurrenceMode
        Of an interval.
    initial_delay_s : float
        Of an interval: from the creation to the first occurrence, s.
    cron : str or None
        Five fields. A time that a change to summer time leaves out is due right after the gap, one that
        occurs twice in autumn is due once. If minute or hour begin with a star, it is due as often as the
        clock shows such a time.
    timezone : str
        Of a cron expression, as in the time zone database.
    max_executions : int or None
        The schedule ends after so many occurrences.
    """

    interval_s: float | None = None
    mode: RecurrenceMode = RecurrenceMode.AFTER_COMPLETION
    initial_delay_s: float = 0.0
    cron: str | None = None
    timezone: str = "UTC"
    max_executions: int | None = None

    def __post_init__(self) -> None:
        if (self.interval_s is None) == (self.cron is None):
            raise InvalidParams("A schedule needs either 'interval_s' or 'cron'")
        if self.interval_s is not None and not MIN_INTERVAL_S <= self.interval_s < math.inf:
            raise InvalidParams(f"'interval_s' must be at least {MIN_INTERVAL_S}: {self.interval_s}")
        if not 0 <= self.initial_delay_s < math.inf:
            raise InvalidParams(f"'initial_delay_s' must not be negative: {self.initial_delay_s}")
        if self.max_executions is not None and self.max_executions < 1:
            raise InvalidParams(f"'max_executions' must be positive: {self.max_executions}")
        if self.cron is not None:
            self.cron_after(0.0)

    def cron_after(self, time: float) -> float | None:
        """Return the first time of the cron expression after ``time`` (epoch seconds); None: never again.

        Raises
        ------
        InvalidParams
            The expression or the time zone is not valid.
        """
        expression = self.cron or ""
        if len(expression) > MAX_CRON_CHARS or len(expression.split()) != 5:
            raise InvalidParams(f"A cron expression has five fields: '{expression[:MAX_CRON_CHARS]}'")
        try:
            zone = UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)
        except (KeyError, OSError, ValueError) as error:
            raise InvalidParams(f"There is no time zone '{self.timezone}'") from error
        try:
            dates = CronSim(expression, datetime.fromtimestamp(time, zone))
        except CronSimError as error:
            raise InvalidParams(f"'{expression}' is not a cron expression: {error}") from error
        # In the hour that comes twice, the first times found lie before: they have been.
        return next((found for found in (date.timestamp() for date in dates) if found > time), None)

    def first(self, created: float) -> float | None:
        """Return when a schedule that begins at ``created`` is due first, epoch seconds."""
        return created + self.initial_delay_s if self.cron is None else self.cron_after(created)

    def after(self, created: float, now: float) -> float | None:
        """Return the first regular time after ``now``, for a cron expression or a fixed rate."""
        if self.interval_s is None:
            return self.cron_after(now)
        begin = created + self.initial_delay_s
        steps = max(math.floor((now - begin) / self.interval_s) + 1, 0)
        due = begin + steps * self.interval_s
        return due if due > now else due + self.interval_s

    def missed(self, since: float, now: float) -> int:
        """Return how many regular times there are from ``since`` (one of them) to ``now``.

        Those of a cron expression are counted up to :data:`MISSED_COUNTED`.
        """
        if self.interval_s is not None:
            return max(math.floor((now - since) / self.interval_s) + 1, 0)
        count, time = 0, since if since <= now else None
        while time is not None and time <= now and count < MISSED_COUNTED:
            count += 1
            time = self.cron_after(time)
        return count

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Recurrence:
        """Read plain values."""
        return cls(**{**data, "mode": RecurrenceMode(data.get("mode", RecurrenceMode.AFTER_COMPLETION))})
