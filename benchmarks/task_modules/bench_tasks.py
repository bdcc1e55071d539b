"""What the worker of the task queue runs in the benchmarks."""


def noop() -> int:
    """Do nothing."""
    return 1
