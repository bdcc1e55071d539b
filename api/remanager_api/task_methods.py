"""Requests about the task queue: submitting tasks, asking about them, waiting for them."""

# ruff: noqa: ASYNC109 - the names of the parameters are those of the methods

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from remanager_api.core import Item, Reply, plain_item
from remanager_api.errors import RequestParameterError
from remanager_api.queue_methods import QueueMethods
from remanager_api.values import tagged_item, with_values

Selector = Mapping[str, Any]
"""Which tasks: see the reference of the methods."""


def plain_uids(task_uid: str | Iterable[str]) -> str | list[str]:
    """Return UIDs in the form in which they are sent."""
    if isinstance(task_uid, str):
        return task_uid
    if isinstance(task_uid, Iterable):
        return list(task_uid)
    raise RequestParameterError(
        f"Invalid type of parameter 'task_uid' ({type(task_uid)}). String or iterable (list) is expected."
    )


def plain_mapping(mapping: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a selector or options in the form in which they are sent."""
    return None if mapping is None else dict(mapping)


def task_item(item: Item, *options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the item of a task in the form in which it is sent.

    What a function of the environment is given is not tagged: it would be given the tagged forms.
    """
    where = next((given["where"] for given in options if given and "where" in given), "pool")
    plain = plain_item(item)
    return plain if where == "environment" else tagged_item(plain)


def new_request_id() -> str:
    """Return the name of a request: repeated with the same one, it is not carried out twice."""
    return os.urandom(16).hex()


def _plain_list(values: Iterable[str] | None) -> list[str] | None:
    return None if values is None else list(values)


class TaskMethods(QueueMethods):
    """The part of the client that submits tasks of the task queue and asks about tasks of all kinds."""

    async def _call_waiting(self, method: str, wait_s: float | None, /, **params: Any) -> Reply:
        """Send a request that the manager may answer only after some time."""
        given = {k: v for k, v in params.items() if v is not None}
        timeout = None if wait_s is None else wait_s + self._transport.timeout
        return await self.send_request(method=method, params=given, timeout=timeout)

    async def task_submit(
        self,
        item: Item,
        options: Mapping[str, Any] | None = None,
        *,
        user: str | None = None,
        user_group: str | None = None,
        lock_key: str | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Reply:
        """Submit a function of the task modules to the task queue; the reply has a ``task_uid``.

        NumPy arrays, ``bytes``, ``datetime`` and dictionaries with any keys may be among its arguments.
        ``timeout`` is how long (s) to wait for the reply. Each call has a ``request_id`` of its own unless it
        is given one; that of a ``RequestTimeoutError`` says which. Repeated with the same one, it is not
        carried out twice.
        """
        return await self._call_as_user(
            "task_submit",
            item=task_item(item, options),
            options=plain_mapping(options),
            user=user,
            user_group=user_group,
            lock_key=lock_key,
            reply_timeout=self._patience(timeout, 1),
            request_id=request_id or new_request_id(),
        )

    async def task_submit_batch(
        self,
        items: Iterable[Item | tuple[Item, Mapping[str, Any]]],
        defaults: Mapping[str, Any] | None = None,
        *,
        atomic: bool | None = None,
        job_uid: str | None = None,
        user: str | None = None,
        user_group: str | None = None,
        lock_key: str | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Reply:
        """Submit many tasks as one job: items, or pairs of an item and its options.

        ``timeout`` (default: the longer the more tasks) and ``request_id`` are as for :meth:`task_submit`.
        """
        entries = [
            {"item": task_item(entry[0], entry[1], defaults), "options": dict(entry[1])}
            if isinstance(entry, tuple)
            else {"item": task_item(entry, defaults)}
            for entry in items
        ]
        return await self._call_as_user(
            "task_submit_batch",
            items=entries,
            defaults=plain_mapping(defaults),
            atomic=atomic,
            job_uid=job_uid,
            user=user,
            user_group=user_group,
            lock_key=lock_key,
            reply_timeout=self._patience(timeout, len(entries)),
            request_id=request_id or new_request_id(),
        )

    async def task_function_list(self) -> Reply:
        """Return the functions that tasks can run."""
        return await self._call("task_function_list")

    async def task_status(self, task_uid: str | Iterable[str]) -> Reply:
        """Return the status of one task (a str) or several (a dictionary by UID)."""
        return await self._call("task_status", task_uid=plain_uids(task_uid))

    async def task_result(self, task_uid: str, *, timeout: float | None = None) -> Reply:
        """Return the result of a task; with a ``timeout``, wait so long (s) for its end.

        Its ``return_value`` is without tagged forms.
        """
        if not isinstance(task_uid, str):
            raise RequestParameterError(
                f"Invalid type of parameter 'task_uid' ({type(task_uid)}). String is expected."
            )
        reply = await self._call_waiting("task_result", timeout, task_uid=task_uid, timeout=timeout)
        return with_values(reply)

    async def task_result_batch(
        self, task_uid: Iterable[str], *, fields: Iterable[str] | None = None
    ) -> Reply:
        """Return the results of several tasks by UID, each as :meth:`task_result` does."""
        uids = list(task_uid)
        return with_values(await self._call("task_result_batch", task_uid=uids, fields=_plain_list(fields)))

    async def task_info(
        self,
        task_uid: str | None = None,
        *,
        task_type: str | None = None,
        key: str | None = None,
        include: Iterable[str] | None = None,
    ) -> Reply:
        """Return everything that is known of a task, named by its UID or by type and key."""
        reply = await self._call(
            "task_info",
            task_uid=task_uid,
            task_type=task_type,
            key=key,
            include=_plain_list(include),
        )
        return with_values(reply)

    async def task_list(
        self,
        selector: Selector | None = None,
        *,
        order: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        offset: int | None = None,
        fields: Iterable[str] | None = None,
    ) -> Reply:
        """Return a page of the records of selected tasks."""
        return await self._call(
            "task_list",
            selector=plain_mapping(selector),
            order=order,
            limit=limit,
            cursor=cursor,
            offset=offset,
            fields=_plain_list(fields),
        )

    async def task_count(self, selector: Selector | None = None, *, group_by: str | None = None) -> Reply:
        """Return the number of selected tasks, by a value if asked for."""
        return await self._call("task_count", selector=plain_mapping(selector), group_by=group_by)

    async def task_wait(
        self,
        task_uid: str | Iterable[str] | None = None,
        *,
        job_uid: str | None = None,
        selector: Selector | None = None,
        until: str | None = None,
        timeout: float = 10.0,
    ) -> Reply:
        """Wait until ``any`` or ``all`` (default) tasks have ended, or until there are none (``idle``).

        The manager answers after ``timeout`` (s, at most 60) in any case: then ``timed_out`` is true.
        """
        return await self._call_waiting(
            "task_wait",
            timeout,
            task_uid=None if task_uid is None else plain_uids(task_uid),
            job_uid=job_uid,
            selector=plain_mapping(selector),
            until=until,
            timeout=timeout,
        )

    async def task_progress(self, selector: Selector | None = None) -> Reply:
        """Return how far tasks are: all that run, or the selected ones."""
        return await self._call("task_progress", selector=plain_mapping(selector))

    async def tag_list(
        self, *, prefix: str | None = None, key: str | None = None, selector: Selector | None = None
    ) -> Reply:
        """Return the keys of tags, or the values of one key, with their numbers of tasks."""
        return await self._call("tag_list", prefix=prefix, key=key, selector=plain_mapping(selector))

    async def job_status(
        self, job_uid: str | Iterable[str] | None = None, *, selector: Selector | None = None
    ) -> Reply:
        """Return how far a job is, several jobs are, or the selected tasks are together."""
        return await self._call(
            "job_status",
            job_uid=None if job_uid is None else plain_uids(job_uid),
            selector=plain_mapping(selector),
        )

    async def event_list(
        self,
        since: int | None = None,
        *,
        types: Iterable[str] | None = None,
        task_uid: str | None = None,
        selector: Selector | None = None,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Reply:
        """Return events after ``since``; with a ``timeout``, wait so long (s, at most 30) for the first."""
        return await self._call_waiting(
            "event_list",
            timeout,
            since=since,
            types=_plain_list(types),
            task_uid=task_uid,
            selector=plain_mapping(selector),
            limit=limit,
            timeout=timeout,
        )
