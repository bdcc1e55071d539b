"""The parts of the task queue put together."""

from __future__ import annotations

import random

from remanager.engine.task_queue.dispatcher import Dispatcher
from remanager.engine.task_queue.scheduler import TaskScheduler
from remanager.manager.background import Background
from remanager.manager.catalogue import Catalogue
from remanager.manager.ledger import Ledger
from remanager.manager.options import ManagerOptions
from remanager.manager.ports import Clock, ProcessPort, ReadMemory, WorkerPort
from remanager.manager.state import State
from remanager.manager.statistics import Statistics
from remanager.manager.task_queue.children import ChildDesk
from remanager.manager.task_queue.figures import QueueFigures
from remanager.manager.task_queue.pool import Pool
from remanager.manager.task_queue.reports import PoolReports
from remanager.manager.task_queue.service import TaskQueue
from remanager.store.store import Store


def make_pool(
    options: ManagerOptions,
    *,
    port: WorkerPort,
    processes: ProcessPort,
    ledger: Ledger,
    clock: Clock,
    background: Background,
    read_memory: ReadMemory,
    manager_uid: str,
) -> Pool:
    """Return the pool of workers; parameters as of :class:`remanager.manager.task_queue.pool.Pool`."""
    return Pool(
        options.task_queue,
        python=options.worker_python,
        runtime_dir=options.runtime_dir,
        config=options.task_queue.worker_config(port.link_address, port.console_address),
        port=port,
        processes=processes,
        ledger=ledger,
        clock=clock,
        background=background,
        read_memory=read_memory,
        manager_uid=manager_uid,
    )


def make_task_queue(
    options: ManagerOptions,
    pool: Pool,
    *,
    state: State,
    ledger: Ledger,
    store: Store,
    clock: Clock,
    background: Background,
    catalogue: Catalogue,
    statistics: Statistics,
) -> TaskQueue:
    """Return the task queue; parameters as of :class:`remanager.manager.task_queue.service.TaskQueue`."""
    settings = options.task_queue
    dispatcher = Dispatcher(aging=settings.aging)
    queue = TaskQueue(
        scheduler=TaskScheduler(
            dispatcher, max_active=settings.max_active, rng=random.Random(), preempt_at=settings.preempt_at
        ),
        pool=pool,
        figures=QueueFigures(statistics.figures, dispatcher.limits),
        state=state,
        ledger=ledger,
        store=store,
        clock=clock,
        background=background,
        options=settings,
        retention_s=options.retention_s,
    )
    pool.owner = PoolReports(queue, ChildDesk(queue, catalogue, clock), clock, background)
    return queue
