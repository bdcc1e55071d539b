"""The client, asynchronous. The blocking client is derived from it."""

# ruff: noqa: ASYNC109 - the names of the parameters are those of REManagerAPI

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from remanager_api.core import DEFAULT_WAIT_TIMEOUT, Item, Reply, plain_item
from remanager_api.errors import RequestParameterError
from remanager_api.steering_methods import SteeringMethods
from remanager_api.task_methods import plain_uids


class AsyncClient(SteeringMethods):
    """Talks to a run manager. Make it inside a running event loop and close it in the same.

    Each method sends the request of the same name (``item_...`` sends ``queue_item_...``) and returns the
    reply, a dictionary. ``lock_key`` is the key with which the manager is locked.

    Parameters
    ----------
    zmq_control_addr, zmq_info_addr : str, optional
        Addresses of the manager; default: the variables ``QSERVER_ZMQ_CONTROL_ADDRESS`` and
        ``QSERVER_ZMQ_INFO_ADDRESS``, else ``tcp://localhost:60615`` and ``tcp://localhost:60625``.
    zmq_encoding : str, optional
        ``json`` (default) or ``msgpack``.
    timeout_recv : float
        Time (s) within which a reply must come.
    timeout_send : float
        Time (s) within which a request must be taken by the socket.
    zmq_public_key : str, optional
        The manager's public key; default: the variable ``QSERVER_ZMQ_PUBLIC_KEY``, else no encryption.
    zmq_client_private_key : str, optional
        The client's own key (``remanager keys add``), by which the manager knows who it is; default: the
        variable ``REMANAGER_CLIENT_PRIVATE_KEY``, else the key that all stock clients share.
    request_fail_exceptions : bool
        Raise :class:`RequestFailedError` when the manager refuses a request, instead of returning the reply.
    status_polling_period : float
        Longest time (s) between two looks at the manager while waiting.

    Attributes
    ----------
    user, user_group : str
        Sent with items unless a method is given others.
    """

    async def ping(self) -> Reply:
        """Return the status; the cheapest way to see that the manager answers."""
        return await self._call("ping")

    async def status(self) -> Reply:
        """Return the status of the manager."""
        return await self._call("status")

    async def config_get(self) -> Reply:
        """Return how the manager is set up."""
        return await self._call("config_get")

    # ------------------------------------------------------------------------------------- environment

    async def environment_open(self, *, lock_key: str | None = None) -> Reply:
        """Begin to open the environment."""
        return await self._call("environment_open", lock_key=lock_key)

    async def environment_close(self, *, lock_key: str | None = None) -> Reply:
        """Begin to close the environment; refused while something runs."""
        return await self._call("environment_close", lock_key=lock_key)

    async def environment_destroy(self, *, lock_key: str | None = None) -> Reply:
        """Kill the environment's process."""
        return await self._call("environment_destroy", lock_key=lock_key)

    async def environment_update(
        self, *, run_in_background: bool | None = None, lock_key: str | None = None
    ) -> Reply:
        """Begin to bring the lists of plans and devices up to date; the reply has a ``task_uid``."""
        return await self._call("environment_update", run_in_background=run_in_background, lock_key=lock_key)

    # ------------------------------------------------------------------------------------- lists, permissions

    async def plans_allowed(self, *, user_group: str | None = None) -> Reply:
        """Return the plans that a user group may run."""
        return await self._call("plans_allowed", user_group=user_group or self.user_group)

    async def devices_allowed(self, *, user_group: str | None = None) -> Reply:
        """Return the devices that a user group may use."""
        return await self._call("devices_allowed", user_group=user_group or self.user_group)

    async def plans_existing(self) -> Reply:
        """Return all plans of the environment."""
        return await self._call("plans_existing")

    async def devices_existing(self) -> Reply:
        """Return all devices of the environment."""
        return await self._call("devices_existing")

    async def permissions_reload(
        self,
        *,
        restore_plans_devices: bool | None = None,
        restore_permissions: bool | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Make the lists of allowed plans and devices anew, from the files if asked for."""
        return await self._call(
            "permissions_reload",
            restore_plans_devices=restore_plans_devices,
            restore_permissions=restore_permissions,
            lock_key=lock_key,
        )

    async def permissions_get(self) -> Reply:
        """Return the permissions of the user groups."""
        return await self._call("permissions_get")

    async def permissions_set(
        self, user_group_permissions: Mapping[str, Any], *, lock_key: str | None = None
    ) -> Reply:
        """Set the permissions of the user groups."""
        return await self._call(
            "permissions_set", user_group_permissions=dict(user_group_permissions), lock_key=lock_key
        )

    # ------------------------------------------------------------------------------------- functions, scripts

    async def script_upload(
        self,
        script: str,
        *,
        update_lists: bool | None = None,
        update_re: bool | None = None,
        run_in_background: bool | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Begin to run a script in the environment; the reply has a ``task_uid``."""
        return await self._call(
            "script_upload",
            script=script,
            update_lists=update_lists,
            update_re=update_re,
            run_in_background=run_in_background,
            lock_key=lock_key,
        )

    async def function_execute(
        self,
        item: Item,
        *,
        run_in_background: bool | None = None,
        user: str | None = None,
        user_group: str | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Begin to call a function of the environment; the reply has a ``task_uid``."""
        return await self._call_as_user(
            "function_execute",
            item=plain_item(item),
            run_in_background=run_in_background,
            user=user,
            user_group=user_group,
            lock_key=lock_key,
        )

    # ------------------------------------------------------------------------------------- RunEngine

    async def re_runs(self, option: str | None = None) -> Reply:
        """Return the runs of the running plan: all (None, ``active``), ``open`` or ``closed`` ones."""
        if option not in {None, "active", "open", "closed"}:
            raise IndexError(f"Unsupported option {option!r}. Supported options: active, open, closed")
        reply = await self._call("re_runs")
        if option in {"open", "closed"} and "run_list" in reply:
            reply["run_list"] = [run for run in reply["run_list"] if run["is_open"] is (option == "open")]
        return reply

    async def re_metadata(self) -> Reply:
        """Return the metadata of the RunEngine."""
        return await self._call("re_metadata")

    async def re_pause(self, option: str | None = None, *, lock_key: str | None = None) -> Reply:
        """Pause the plan at its next checkpoint (``deferred``, default) or at once (``immediate``)."""
        return await self._call("re_pause", option=option, lock_key=lock_key)

    async def re_resume(self, *, lock_key: str | None = None) -> Reply:
        """Go on with the paused plan."""
        return await self._call("re_resume", lock_key=lock_key)

    async def re_stop(self, *, lock_key: str | None = None) -> Reply:
        """End the paused plan; it counts as done."""
        return await self._call("re_stop", lock_key=lock_key)

    async def re_abort(self, *, lock_key: str | None = None) -> Reply:
        """End the paused plan; it counts as aborted and returns to the queue."""
        return await self._call("re_abort", lock_key=lock_key)

    async def re_halt(self, *, lock_key: str | None = None) -> Reply:
        """End the paused plan without any cleaning up."""
        return await self._call("re_halt", lock_key=lock_key)

    async def kernel_interrupt(
        self,
        *,
        interrupt_task: bool | None = None,
        interrupt_plan: bool | None = None,
        lock_key: str | None = None,
    ) -> Reply:
        """Interrupt what the IPython kernel runs, as Ctrl-C does."""
        return await self._call(
            "kernel_interrupt",
            interrupt_task=interrupt_task,
            interrupt_plan=interrupt_plan,
            lock_key=lock_key,
        )

    # ------------------------------------------------------------------------------------- lock, manager

    async def lock(
        self,
        lock_key: str,
        *,
        environment: bool | None = None,
        queue: bool | None = None,
        note: str | None = None,
        user: str | None = None,
    ) -> Reply:
        """Lock the environment, the queue, or both with a key."""
        return await self._call(
            "lock",
            environment=environment or None,
            queue=queue or None,
            lock_key=lock_key,
            note=note,
            user=user or self.user,
        )

    async def lock_info(self, lock_key: str | None = None) -> Reply:
        """Return who locked the manager; with a key, tell whether it is the right one."""
        return await self._call("lock_info", lock_key=lock_key)

    async def unlock(self, lock_key: str) -> Reply:
        """Unlock the manager."""
        return await self._call("unlock", lock_key=lock_key)

    async def manager_stop(self, option: str | None = None) -> Reply:
        """Stop the daemon; ``safe_on`` (default): only if it is idle, ``safe_off``: in any case."""
        return await self._call("manager_stop", option=option)

    # ------------------------------------------------------------------------------------- waiting

    async def wait_for_condition(
        self, condition: Callable[[Reply], bool], *, timeout: float = DEFAULT_WAIT_TIMEOUT
    ) -> None:
        """Wait until the status fulfils a condition. A manager that is away meanwhile is waited for.

        Parameters
        ----------
        condition : callable
            Takes the status, returns a bool.
        timeout : float
            Longest time (s) to wait.

        Raises
        ------
        WaitTimeoutError
            The condition was not fulfilled in time.
        """

        async def look() -> bool | None:
            return condition(await self.status()) or None

        await self._poll(look, timeout)

    async def wait_for_idle(self, *, timeout: float = DEFAULT_WAIT_TIMEOUT) -> None:
        """Wait until the manager is idle."""
        await self.wait_for_condition(lambda s: s["manager_state"] == "idle", timeout=timeout)

    async def wait_for_idle_or_paused(self, *, timeout: float = DEFAULT_WAIT_TIMEOUT) -> None:
        """Wait until the manager is idle or a plan is paused."""
        await self.wait_for_condition(lambda s: s["manager_state"] in {"idle", "paused"}, timeout=timeout)

    async def wait_for_completed_task(
        self,
        task_uid: str | Iterable[str],
        *,
        timeout: float = DEFAULT_WAIT_TIMEOUT,
        treat_not_found_as_completed: bool = True,
    ) -> dict[str, str]:
        """Wait until at least one of the tasks has ended.

        Parameters
        ----------
        task_uid : str or iterable of str
            The tasks.
        timeout : float
            Longest time (s) to wait.
        treat_not_found_as_completed : bool
            Count tasks that the manager does not know (any more) as ended.

        Returns
        -------
        dict
            ``completed`` or ``not_found`` by UID, for the tasks that have ended.

        Raises
        ------
        WaitTimeoutError
            None ended in time.
        """
        uids = plain_uids(task_uid)
        if not uids:
            kind = "string" if isinstance(uids, str) else "list"
            raise RequestParameterError(
                f"Invalid value of parameter 'task_uid': task UID must be a non-empty {kind}"
            )
        ended = {"completed", "not_found"} if treat_not_found_as_completed else {"completed"}

        async def look() -> dict[str, str] | None:
            status = (await self.task_status(uids))["status"]
            by_uid = {uids: status} if isinstance(uids, str) else status
            return {uid: word for uid, word in by_uid.items() if word in ended} or None

        return await self._poll(look, timeout)
