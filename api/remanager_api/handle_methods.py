"""Submitting with handles, what became of it, and the events of the manager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from remanager_api.core import Item, Reply, plain_item
from remanager_api.errors import RequestFailedError
from remanager_api.handles import TaskHandle
from remanager_api.task_methods import Selector
from remanager_api.wait_methods import WaitMethods

if TYPE_CHECKING:
    from remanager_api.desk import Desk
    from remanager_api.events import Event
    from remanager_api.outcomes import Outcome


class HasUID(Protocol):
    """A handle, asynchronous or blocking."""

    @property
    def task_uid(self) -> str:
        """UID of the task."""


class HandleMethods(WaitMethods):
    """The part of the client that gives handles of what is submitted."""

    @cached_property
    def _desk(self) -> Desk:
        # What handles need is imported when there is one: few clients have any.
        from remanager_api.desk import Desk

        return Desk(self, self._asker, self._polling_period)

    # ------------------------------------------------------------------------------------- submitting

    async def submit(
        self,
        item: Item | str,
        /,
        *args: Any,
        user: str | None = None,
        user_group: str | None = None,
        lock_key: str | None = None,
        request_id: str | None = None,
        **options: Any,
    ) -> TaskHandle:
        """Submit a plan to the queue, or a function to the task queue, and return its handle.

        Parameters
        ----------
        item : BItem, Mapping or str
            A plan or instruction goes to the plan queue. A function, or the name of one, goes to the task
            queue: the task modules define it.
        *args
            Positional arguments of the function, where ``item`` is its name.
        user, user_group : str, optional
            Default: those of the client.
        lock_key : str, optional
            The key with which the manager is locked.
        request_id : str, optional
            A text of your choice: the manager carries out requests with the same one only once (for five
            minutes), so that a submission that was not answered can be repeated. That of a task has one of
            its own otherwise, see :meth:`task_submit`.
        **options
            Of a plan: ``pos``, ``before_uid``, ``after_uid``. Of a task (see ``task_submit``): ``priority``,
            ``group``, ``key``, ``depends_on`` (handles or UIDs), ``tags``, ``run_after``, ``timeout_s``,
            ``max_retries``, ...

        Raises
        ------
        RequestFailedError
            The manager refused it.
        RequestTimeoutError
            It did not answer: whether it has accepted is not known. Repeat with the ``request_id``.

        Examples
        --------
        >>> task = await RM.submit("add", 1, 2, priority=10)  # doctest: +SKIP
        >>> await task  # doctest: +SKIP
        3
        >>> plan = await RM.submit(BPlan("count", ["diode"], num=5))  # doctest: +SKIP
        >>> (await plan).run_uids  # doctest: +SKIP
        """
        sent = _item_of(item, args)
        who: dict[str, Any] = {"user": user, "user_group": user_group}
        more: dict[str, Any] = {"lock_key": lock_key, "request_id": request_id}
        if sent.get("item_type") == "function":
            if (depends_on := options.get("depends_on")) is not None:
                options["depends_on"] = uids_of(depends_on)
            reply = await self.task_submit(sent, options or None, **who, **more)
            uid = reply.get("existing_task_uid") or reply.get("task_uid")
        else:
            reply = await self._call_as_user("queue_item_add", item=sent, **options, **who, **more)
            uid = (reply.get("item") or {}).get("item_uid")
        return self._handle_of(reply, uid, sent.get("name", ""))

    async def submit_function(
        self,
        item: Item | str,
        /,
        *args: Any,
        run_in_background: bool | None = None,
        user: str | None = None,
        user_group: str | None = None,
        lock_key: str | None = None,
        request_id: str | None = None,
    ) -> TaskHandle:
        """Execute a function in the environment, at once, and return its handle.

        Parameters
        ----------
        item : BFunc, Mapping or str
            The function, or its name.
        *args
            Its positional arguments, where ``item`` is its name.
        run_in_background : bool, optional
            Run it in a thread beside plans and other functions.
        user, user_group, lock_key, request_id
            As for :meth:`submit`.
        """
        sent = _item_of(item, args)
        reply = await self._call_as_user(
            "function_execute",
            item=sent,
            run_in_background=run_in_background,
            user=user,
            user_group=user_group,
            lock_key=lock_key,
            request_id=request_id,
        )
        return self._handle_of(reply, reply.get("task_uid"), sent.get("name", ""))

    async def submit_script(
        self,
        script: str,
        *,
        update_lists: bool | None = None,
        update_re: bool | None = None,
        run_in_background: bool | None = None,
        lock_key: str | None = None,
        request_id: str | None = None,
    ) -> TaskHandle:
        """Execute a script in the environment, at once, and return its handle.

        Parameters
        ----------
        script : str
            Python code.
        update_lists, update_re, run_in_background : bool, optional
            As for ``script_upload``.
        lock_key, request_id : str, optional
            As for :meth:`submit`.
        """
        reply = await self._call(
            "script_upload",
            script=script,
            update_lists=update_lists,
            update_re=update_re,
            run_in_background=run_in_background,
            lock_key=lock_key,
            request_id=request_id,
        )
        return self._handle_of(reply, reply.get("task_uid"), "script")

    def _handle_of(self, reply: Reply, uid: str | None, name: str) -> TaskHandle:
        if not uid or not reply.get("success"):
            raise RequestFailedError({"method": "submit", "params": {"name": name}}, reply)
        return self._desk.handle(uid, name)

    # ------------------------------------------------------------------------------------- looking

    def task(self, task_uid: str) -> TaskHandle:
        """Return the handle of anything that was submitted, by anyone: plan, task, function or script.

        Parameters
        ----------
        task_uid : str
            Its UID: ``task_uid`` or ``item_uid``.
        """
        return TaskHandle(self._desk, task_uid, self._desk.submitted.get(task_uid, ""))

    async def outcomes(self, *tasks: HasUID | str) -> list[Outcome]:
        """Return what has become of what was submitted.

        Parameters
        ----------
        *tasks : TaskHandle or str
            Handles or UIDs; default: everything that this client has submitted (the last 10 000).
        """
        uids = uids_of(tasks) if tasks else list(self._desk.submitted)
        return [
            outcome.with_name(self._desk.submitted.get(outcome.task_uid, ""))
            for outcome in await self._desk.outcomes(uids)
        ]

    async def gather(self, *tasks: HasUID | str, return_exceptions: bool = False) -> list[Any]:
        """Wait for the ends of all, and return their results in order.

        Parameters
        ----------
        *tasks : TaskHandle or str
            Handles or UIDs.
        return_exceptions : bool
            Put the exceptions of those that did not succeed among the results. Otherwise the first one is
            raised; the others go on.
        """
        waiting = [self.task(uid).result() for uid in uids_of(tasks)]
        return await asyncio.gather(*waiting, return_exceptions=return_exceptions)

    async def as_completed(self, *tasks: HasUID | str) -> AsyncGenerator[TaskHandle]:
        """Yield the handles of tasks as these end.

        Parameters
        ----------
        *tasks : TaskHandle or str
            Handles or UIDs.

        Yields
        ------
        TaskHandle
            Its ``result()`` is there at once.
        """
        waiting = [asyncio.create_task(_ended(self.task(uid))) for uid in uids_of(tasks)]
        try:
            for ended in asyncio.as_completed(waiting):
                yield await ended
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    # ------------------------------------------------------------------------------------- events

    async def events(
        self,
        since: int | None = None,
        *,
        kinds: Iterable[str] | None = None,
        task_uid: str | None = None,
        selector: Selector | None = None,
    ) -> AsyncGenerator[Event]:
        """Yield what happens, for ever: every change of queue, plans, tasks, environment and settings.

        Nothing is left out, also if the manager is restarted meanwhile. Where the manager no longer keeps
        what was asked for, an event of the type ``gap`` says so.

        Parameters
        ----------
        since : int, optional
            Number of the first event: ``event.seq + 1`` of the last one that was seen. 0: everything that is
            kept. Default: from the beginning of the iteration on.
        kinds : iterable of str, optional
            Only events of these types, such as ``plan_finished``.
        task_uid : str, optional
            Only events of this task or plan.
        selector : Mapping, optional
            Only events of tasks like these, see ``event_list``.

        Yields
        ------
        Event

        Raises
        ------
        RequestTimeoutError, HTTPRequestError
            The manager did not answer for a minute.
        RequestFailedError
            It keeps no journal, or cannot select so.
        """
        from remanager_api.events import follow

        asker = self._desk.asker
        async with aclosing(follow(asker, since, kinds=kinds, task_uid=task_uid, selector=selector)) as found:
            async for event in found:
                yield event


def uids_of(tasks: Iterable[HasUID | str] | HasUID | str) -> list[str]:
    """Return the UIDs of handles; UIDs are returned as they are."""
    several = tasks if isinstance(tasks, Iterable) and not isinstance(tasks, str) else [tasks]
    return [task if isinstance(task, str) else task.task_uid for task in several]


def _item_of(item: Item | str, args: tuple[Any, ...]) -> dict[str, Any]:
    """Return an item in the form in which it is sent; a text is the name of a function."""
    if isinstance(item, str):
        return {"item_type": "function", "name": item, "args": list(args)}
    if args:
        raise TypeError("Positional arguments are only taken with the name of a function")
    return plain_item(item)


async def _ended(handle: TaskHandle) -> TaskHandle:
    await handle.wait()
    return handle
