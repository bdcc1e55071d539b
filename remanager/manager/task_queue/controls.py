"""What steers the task queue, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from remanager.manager.task_queue.alerting import SETTING as ALERTS
from remanager.manager.task_queue.alerting import AlertService
from remanager.manager.task_queue.cancelling import Canceller
from remanager.manager.task_queue.holding import Holds
from remanager.manager.task_queue.keeping import Keeper
from remanager.manager.task_queue.limiting import LimitDesk
from remanager.manager.task_queue.retrying import Edits, Retries
from remanager.manager.task_queue.schedules import ScheduleService
from remanager.manager.task_queue.workers import Workers

if TYPE_CHECKING:
    from remanager.manager.manager import Manager


class Controls:
    """The services behind the methods that steer tasks.

    Parameters
    ----------
    manager : Manager
        Whose parts they work on.
    """

    def __init__(self, manager: Manager) -> None:
        queue, state, ledger, clock = manager.task_queue, manager.state, manager.ledger, manager.clock
        store, questions = manager.store, manager.questions
        self.canceller = Canceller(
            queue, manager.queue, manager.tasks, questions, state=state, ledger=ledger, clock=clock
        )
        self.holds = Holds(queue, manager.tasks, ledger, clock)
        self.retries = Retries(queue, questions, manager.catalogue, store=store, ledger=ledger, clock=clock)
        self.edits = Edits(queue, store, ledger, clock)
        self.limits = LimitDesk(queue, state, ledger, clock)
        self.keeper = Keeper(manager.options, store, state, ledger, clock)
        self.schedules = ScheduleService(
            queue, manager.catalogue, store=store, state=state, ledger=ledger, clock=clock
        )
        self.workers = Workers(
            manager.statistics_view.workers,
            queue.pool,
            manager.environment,
            state=state,
            clock=clock,
            background=manager.background,
        )
        self.alerts = AlertService(
            manager.statistics_view.stats,
            manager.statistics_view.type_stats,
            manager.statistics.figures.task_types,
            manager.statistics_view.unknown_type,
            store=store,
            state=state,
            ledger=ledger,
            clock=clock,
            stored=manager.stored_settings.get(ALERTS),
        )
        self._background = manager.background

    def start(self) -> None:
        """Begin with what goes on by itself."""
        self._background.spawn(self.keeper.run(), "retention")
        self._background.spawn(self.schedules.run(), "schedules")
        self._background.spawn(self.alerts.run(), "alerts")
