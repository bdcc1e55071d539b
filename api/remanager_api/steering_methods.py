"""Requests that steer the task queue, and its figures."""

# ruff: noqa: ASYNC109 - the names of the parameters are those of the methods

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from remanager_api.core import Item, Reply
from remanager_api.task_methods import (
    Selector,
    TaskMethods,
    new_request_id,
    plain_mapping,
    plain_uids,
    task_item,
)


def _number(uids: str | list[str] | None) -> int | None:
    return None if uids is None else 1 if isinstance(uids, str) else len(uids)


class SteeringMethods(TaskMethods):
    """The part of the client that steers the task queue, and that asks for figures."""

    # ------------------------------------------------------------------------------------- tasks

    async def task_cancel(
        self,
        task_uid: str | Iterable[str] | None = None,
        *,
        selector: Selector | None = None,
        reason: str | None = None,
        cascade: bool | None = None,
        kill_after_s: float | None = None,
        dry_run: bool | None = None,
        lock_key: str | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Cancel tasks, by UID or selection; running ones are told to stop, and killed after a while.

        ``timeout`` is how long (s) to wait for the reply; default: the longer the more tasks.
        """
        uids = None if task_uid is None else plain_uids(task_uid)
        return await self._call(
            "task_cancel",
            task_uid=uids,
            selector=plain_mapping(selector),
            reason=reason,
            cascade=cascade,
            kill_after_s=kill_after_s,
            dry_run=dry_run,
            lock_key=lock_key,
            reply_timeout=self._patience(timeout, _number(uids)),
        )

    async def task_retry(
        self,
        task_uid: str | Iterable[str] | None = None,
        *,
        selector: Selector | None = None,
        reset_attempts: bool | None = None,
        again: bool | None = None,
        lock_key: str | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Reply:
        """Submit tasks anew that have failed; ``resubmitted`` has the new UID by the old one.

        What was retried before is skipped unless ``again`` is true. ``timeout`` (default: the longer the more
        tasks) and ``request_id`` are as for :meth:`task_submit`.
        """
        uids = None if task_uid is None else plain_uids(task_uid)
        return await self._call(
            "task_retry",
            task_uid=uids,
            selector=plain_mapping(selector),
            reset_attempts=reset_attempts,
            again=again,
            lock_key=lock_key,
            reply_timeout=self._patience(timeout, _number(uids)),
            request_id=request_id or new_request_id(),
        )

    async def task_update(
        self, task_uid: str, changes: Mapping[str, Any], *, lock_key: str | None = None
    ) -> Reply:
        """Change an active task: priority, group, tags, label, run_after, ttl_s, timeout_s, max_retries."""
        return await self._call("task_update", task_uid=task_uid, changes=dict(changes), lock_key=lock_key)

    async def task_pause(
        self,
        scope: str,
        name: str | None = None,
        *,
        until: float | None = None,
        running: str | None = None,
        reason: str | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Hold the tasks of a scope (``all``, ``domain``, ``task_type``, ``group``) or a single ``task``."""
        return await self._call(
            "task_pause",
            scope=scope,
            name=name,
            until=until,
            running=running,
            reason=reason,
            lock_key=lock_key,
        )

    async def task_resume(self, scope: str, name: str | None = None, *, lock_key: str | None = None) -> Reply:
        """Undo :meth:`task_pause`."""
        return await self._call("task_resume", scope=scope, name=name, lock_key=lock_key)

    async def task_prune(
        self,
        *,
        keep: int | None = None,
        max_age_s: float | None = None,
        selector: Selector | None = None,
        dry_run: bool | None = None,
        lock_key: str | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Reply:
        """Delete tasks that have ended: all but the last ``keep``, or those that ended long ago.

        ``timeout`` is how long (s) to wait for the reply; default: a minute more than for others.
        """
        return await self._call(
            "task_prune",
            keep=keep,
            max_age_s=max_age_s,
            selector=plain_mapping(selector),
            dry_run=dry_run,
            lock_key=lock_key,
            reply_timeout=self._patience(timeout, None),
            request_id=request_id or new_request_id(),
        )

    # ------------------------------------------------------------------------------------- limits

    async def limit_set(
        self,
        scope: str,
        name: str | None = None,
        *,
        max_running: int | None = None,
        weight: float | None = None,
        min_slots: int | None = None,
        rate: Mapping[str, Any] | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Limit a scope: how many tasks run at once, how many start per time, which share is theirs."""
        return await self._call(
            "limit_set",
            scope=scope,
            name=name,
            max_running=max_running,
            weight=weight,
            min_slots=min_slots,
            rate=plain_mapping(rate),
            lock_key=lock_key,
        )

    async def limit_remove(
        self, scope: str, name: str | None = None, *, lock_key: str | None = None
    ) -> Reply:
        """Lift a limit."""
        return await self._call("limit_remove", scope=scope, name=name, lock_key=lock_key)

    async def limit_list(self, *, scope: str | None = None, name: str | None = None) -> Reply:
        """Return the limits with what they do."""
        return await self._call("limit_list", scope=scope, name=name)

    # ------------------------------------------------------------------------------------- schedules

    async def schedule_add(
        self,
        item: Item,
        recurring: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        *,
        user: str | None = None,
        user_group: str | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Submit a task again and again; the reply has a ``schedule_uid``."""
        return await self._call_as_user(
            "schedule_add",
            item=task_item(item, options),
            recurring=dict(recurring),
            options=plain_mapping(options),
            user=user,
            user_group=user_group,
            lock_key=lock_key,
        )

    async def schedule_list(self, selector: Selector | None = None) -> Reply:
        """Return the schedules, and when the next one is due."""
        return await self._call("schedule_list", selector=plain_mapping(selector))

    async def schedule_pause(self, schedule_uid: str, *, lock_key: str | None = None) -> Reply:
        """Make no new occurrences of a schedule."""
        return await self._call("schedule_pause", schedule_uid=schedule_uid, lock_key=lock_key)

    async def schedule_resume(
        self, schedule_uid: str, *, catch_up: str | None = None, lock_key: str | None = None
    ) -> Reply:
        """Make occurrences again; ``catch_up`` ``one`` makes up for what was missed with a single one."""
        return await self._call(
            "schedule_resume", schedule_uid=schedule_uid, catch_up=catch_up, lock_key=lock_key
        )

    async def schedule_cancel(
        self, schedule_uid: str, *, cancel_current: bool | None = None, lock_key: str | None = None
    ) -> Reply:
        """End a schedule for good."""
        return await self._call(
            "schedule_cancel", schedule_uid=schedule_uid, cancel_current=cancel_current, lock_key=lock_key
        )

    # ------------------------------------------------------------------------------------- workers

    async def worker_list(self, worker_uid: str | None = None) -> Reply:
        """Return the worker processes of environment and pool."""
        return await self._call("worker_list", worker_uid=worker_uid)

    async def worker_stop(
        self,
        worker_uid: str,
        *,
        drain: bool | None = None,
        timeout_s: float | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Stop a worker of the pool, after what it runs unless told otherwise."""
        return await self._call(
            "worker_stop", worker_uid=worker_uid, drain=drain, timeout_s=timeout_s, lock_key=lock_key
        )

    async def worker_restart(
        self,
        worker_uid: str,
        *,
        drain: bool | None = None,
        timeout_s: float | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Stop a worker of the pool and start another in its place."""
        return await self._call(
            "worker_restart", worker_uid=worker_uid, drain=drain, timeout_s=timeout_s, lock_key=lock_key
        )

    # ------------------------------------------------------------------------------------- alerts

    async def alert_rule_set(self, name: str, /, *, lock_key: str | None = None, **rule: Any) -> Reply:
        """Set a rule: ``metric``, ``op``, ``warn``, ``critical``, ``for_s``, ``clear_for_s``, ..."""
        return await self._call("alert_rule_set", name=name, lock_key=lock_key, **rule)

    async def alert_rule_remove(self, name: str, *, lock_key: str | None = None) -> Reply:
        """Remove a rule and its alert."""
        return await self._call("alert_rule_remove", name=name, lock_key=lock_key)

    async def alert_rule_list(self) -> Reply:
        """Return the rules."""
        return await self._call("alert_rule_list")

    async def alert_list(self, *, active: bool | None = None, name: str | None = None) -> Reply:
        """Return the alerts: those that stand, or all that are remembered."""
        return await self._call("alert_list", active=active, name=name)

    async def alert_ack(self, name: str, *, user: str | None = None, lock_key: str | None = None) -> Reply:
        """Say that somebody looks after an alert."""
        return await self._call("alert_ack", name=name, user=user or self.user, lock_key=lock_key)

    # ------------------------------------------------------------------------------------- figures

    async def stats(
        self,
        sections: list[str] | None = None,
        *,
        worker_uid: str | None = None,
        scope: str | None = None,
    ) -> Reply:
        """Return figures of the manager: health, rates, counters. ``sections`` picks some of them."""
        return await self._call("stats", sections=sections, worker_uid=worker_uid, scope=scope)

    async def queue_status(self, *, selector: Selector | None = None, group_by: str | None = None) -> Reply:
        """Return how much is queued and running, in all or of selected tasks."""
        return await self._call("queue_status", selector=plain_mapping(selector), group_by=group_by)

    async def type_stats(
        self, task_type: str | list[str], *, since: float | None = None, sample: int | None = None
    ) -> Reply:
        """Return figures of task types: numbers by state, distributions of times, rates."""
        return await self._call("type_stats", task_type=task_type, since=since, sample=sample)

    async def snapshot(self, selector: Selector | None = None, *, parts: list[str] | None = None) -> Reply:
        """Return what a dashboard shows: running tasks, numbers, progress, limits, schedules, workers."""
        return await self._call("snapshot", selector=plain_mapping(selector), parts=parts)

    async def stats_history(
        self,
        metric: str,
        *,
        task_type: str | None = None,
        begin: float | None = None,
        end: float | None = None,
        step_s: int | None = None,
    ) -> Reply:
        """Return a figure over time, from ``begin`` to ``end`` (epoch seconds): points of time and value."""
        params: dict[str, Any] = {
            "metric": metric,
            "task_type": task_type,
            "from": begin,
            "to": end,
            "step_s": step_s,
        }
        return await self._call("stats_history", **params)

    async def metrics_get(self, *, format: str | None = None) -> Reply:
        """Return the figures as ``prometheus`` text (default) or ``json``."""
        return await self._call("metrics_get", format=format)
