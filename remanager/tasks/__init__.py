"""For authors of task modules.

A task module is a module that the configuration names. Its functions run in worker processes::

    from remanager.tasks import Context, Retry, task

    @task(timeout_s=600.0, max_retries=3)
    def convert(path: str, ctx: Context) -> dict:
        for n, frame in enumerate(frames(path)):
            ctx.check_cancelled()
            ctx.progress(done_count=n, total_count=len(frames))
            ...
        return {"frames": n}

All public functions of a module are tasks, unless it declares some with :func:`task` (then those are) or has
``__all__`` (then those named there are). Coroutine functions are run on an event loop. Arguments and results
are what JSON can say, bytes, ``datetime`` and NumPy arrays.

A parameter named ``ctx`` is given the :class:`Context`; :func:`current` returns it elsewhere. A task ends
with its return value, with an exception (another attempt may follow), or with one of :class:`Retry`,
:class:`Skip`, :class:`Permanent` and :class:`Cancelled`.
"""

from __future__ import annotations

from remanager.tasks.context import Child, Context, current, use
from remanager.tasks.declaration import task
from remanager.tasks.exceptions import Cancelled, Permanent, Retry, Skip, TaskSignal

__all__ = [
    "Cancelled",
    "Child",
    "Context",
    "Permanent",
    "Retry",
    "Skip",
    "TaskSignal",
    "current",
    "task",
    "use",
]
