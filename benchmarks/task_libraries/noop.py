"""A task for libraries that name functions by their modules."""


def noop() -> int:
    return 1
