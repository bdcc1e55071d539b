"""What ``type_stats`` answers: what became of the tasks of a type, from those that are kept."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from remanager.model.states import STATE_CLASS, StateClass, TaskState, is_terminal
from remanager.store.task_rows import EndedSample

PERCENTS = {"p50": 50, "p95": 95, "p99": 99}

Numbers = Mapping[str, float | None]


def type_stats(
    counts: Mapping[TaskState, int], samples: Sequence[EndedSample], since: float | None
) -> dict[str, object]:
    """Return the figures of a type.

    Parameters
    ----------
    counts : mapping
        All its tasks by state.
    samples : sequence of EndedSample
        Those that ended last, newest first.
    since : float or None
        Only tasks that ended then (epoch seconds) or later count: all numbers are of the samples.
    """
    ended = Counter({state: n for state, n in counts.items() if is_terminal(state)})
    if since is not None:
        samples = [s for s in samples if s.time_stop >= since]
        ended = Counter(s.state for s in samples)
    succeeded = [s for s in samples if STATE_CLASS[s.state] is StateClass.SUCCESS]
    durations = [_duration(s) for s in succeeded]
    moved = [(_io(s), _duration(s)) for s in succeeded if s.actual_io]
    return {
        "count": ended.total(),
        "count_by_state": {state.value: n for state, n in ended.items()},
        "active": sum(n for state, n in counts.items() if not is_terminal(state)),
        "sampled": len(samples),
        "duration_ms": _distribution(d for d in durations if d is not None),
        "queue_wait_ms": _distribution(
            max(s.time_first_start - s.time_ready, 0.0)
            for s in samples
            if s.time_first_start is not None and s.time_ready is not None
        ),
        "avg_read_bytes": _mean(io.get("disk_read", 0) for io, _ in moved),
        "avg_write_bytes": _mean(io.get("disk_write", 0) for io, _ in moved),
        "read_bps": _mean(io.get("disk_read", 0) / d for io, d in moved if d),
        "write_bps": _mean(io.get("disk_write", 0) / d for io, d in moved if d),
        "failure_rate": failure_rate(ended),
        "retry_rate": _mean(float(s.attempt > 1) for s in samples) or 0.0,
    }


def failure_rate(ended: Mapping[TaskState, int]) -> float:
    """Return failures by failures and successes, 0 without any; what was cancelled or dropped is neither."""
    failed = sum(n for state, n in ended.items() if STATE_CLASS[state] is StateClass.FAILURE)
    succeeded = sum(n for state, n in ended.items() if STATE_CLASS[state] is StateClass.SUCCESS)
    return failed / (failed + succeeded) if failed + succeeded else 0.0


def _duration(sample: EndedSample) -> float | None:
    return None if sample.time_start is None else max(sample.time_stop - sample.time_start, 0.0)


def _io(sample: EndedSample) -> dict[str, int]:
    found: dict[str, int] = json.loads(sample.actual_io or "{}")
    return found


def _distribution(values_s: Iterable[float]) -> Numbers:
    """Return a distribution of times, in ms; percentiles by nearest rank."""
    values = sorted(1e3 * value for value in values_s)
    if not values:
        return dict.fromkeys(("avg", "min", "max", *PERCENTS))
    ranks = {n: values[max(math.ceil(len(values) * p / 100), 1) - 1] for n, p in PERCENTS.items()}
    return {"avg": math.fsum(values) / len(values), "min": values[0], "max": values[-1], **ranks}


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return math.fsum(known) / len(known) if known else None
