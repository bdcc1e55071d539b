"""Delays between the attempts of a task."""

from __future__ import annotations

import random

from remanager.model.task_spec import RetryPolicy, RetryStrategy


def retry_delay(policy: RetryPolicy, failed: int, rng: random.Random) -> float:
    """Return the delay before the next attempt, s.

    Parameters
    ----------
    failed : int
        How many attempts have failed, at least 1.
    rng : random.Random
        For ``exponential_jitter``: any delay from 0 to the exponential one ("full jitter").
    """
    match policy.strategy:
        case RetryStrategy.CONSTANT:
            delay = policy.initial_s
        case RetryStrategy.LINEAR:
            delay = policy.initial_s * failed
        case RetryStrategy.EXPONENTIAL | RetryStrategy.EXPONENTIAL_JITTER:
            delay = _exponential(policy, failed)
    delay = max(min(delay, policy.max_s), 0.0)
    return rng.uniform(0.0, delay) if policy.strategy is RetryStrategy.EXPONENTIAL_JITTER else delay


def _exponential(policy: RetryPolicy, failed: int) -> float:
    try:
        return policy.initial_s * policy.factor ** (failed - 1)
    except OverflowError:
        return policy.max_s
