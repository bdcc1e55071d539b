"""The client, asynchronous. The blocking client is derived from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remanager_api.core import Item, Reply, plain_item
from remanager_api.handle_methods import HandleMethods
from remanager_api.lock_keys import check_lock_key
from remanager_api.notebook.methods import NotebookMethods

_RUN_OPTIONS = (None, "active", "open", "closed")


class AsyncClient(HandleMethods, NotebookMethods):
    """Talks to a run manager; ``remanager_api.zmq.aio`` and ``remanager_api.http.aio`` say over what.

    Each method sends the request of the same name (``item_...`` sends ``queue_item_...``) and returns the
    reply, a dictionary. ``lock_key`` is the key with which the manager is locked.

    The client keeps the status for a moment, and lists as long as the status says that they are the same;
    ``reload`` asks the manager for its status in any case.
    """

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

    async def plans_allowed(self, *, reload: bool = False, user_group: str | None = None) -> Reply:
        """Return the plans that a user group may run.

        Parameters
        ----------
        reload : bool
            Ask the manager for its status in any case. The list is sent only if it has changed.
        user_group : str, optional
            Default: the client's ``user_group``.
        """
        return await self._call_for_group("plans_allowed", reload, user_group)

    async def devices_allowed(self, *, reload: bool = False, user_group: str | None = None) -> Reply:
        """Return the devices that a user group may use; parameters as of :meth:`plans_allowed`."""
        return await self._call_for_group("devices_allowed", reload, user_group)

    async def plans_existing(self, *, reload: bool = False) -> Reply:
        """Return all plans of the environment; ``reload`` as of :meth:`plans_allowed`."""
        return await self._call_cached("plans_existing", "plans_existing_uid", reload=reload)

    async def devices_existing(self, *, reload: bool = False) -> Reply:
        """Return all devices of the environment; ``reload`` as of :meth:`plans_allowed`."""
        return await self._call_cached("devices_existing", "devices_existing_uid", reload=reload)

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

    async def re_runs(self, option: str | None = None, *, reload: bool = False) -> Reply:
        """Return the runs of the running plan.

        Parameters
        ----------
        option : str, optional
            All (None, ``active``), ``open`` or ``closed`` ones. ``IndexError``: anything else.
        reload : bool
            Ask the manager for its status in any case. The list is sent only if it has changed.
        """
        if option not in _RUN_OPTIONS:
            raise IndexError(f"Unsupported option {option!r}. Supported options: {_RUN_OPTIONS}")
        reply = await self._call_cached("re_runs", "run_list_uid", reload=reload)
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
        lock_key: str | None = None,
        *,
        environment: bool | None = None,
        queue: bool | None = None,
        note: str | None = None,
        user: str | None = None,
    ) -> Reply:
        """Lock the environment, the queue, or both.

        Parameters
        ----------
        lock_key : str, optional
            Default: the client's ``lock_key``.
        environment, queue : bool, optional
            What to lock.
        note : str, optional
            Shown to those who find the manager locked.
        user : str, optional
            Who locks; default: the client's ``user``.

        Raises
        ------
        RuntimeError
            There is no key.
        ValueError
            The key is no non-empty string, or the note no string.
        """
        key = self._key_to_lock(lock_key, "lock")
        if not isinstance(note, str | None):
            raise ValueError(f"Parameter 'note' must be a string or None: note={note!r}")
        return await self._call(
            "lock",
            environment=bool(environment) or None,
            queue=bool(queue) or None,
            lock_key=key,
            note=note or None,
            user=(user or self.user) if self._transport.sends_user else None,
        )

    async def lock_environment(
        self, lock_key: str | None = None, *, note: str | None = None, user: str | None = None
    ) -> Reply:
        """Lock the environment; parameters as of :meth:`lock`."""
        return await self.lock(lock_key, environment=True, note=note, user=user)

    async def lock_queue(
        self, lock_key: str | None = None, *, note: str | None = None, user: str | None = None
    ) -> Reply:
        """Lock the queue; parameters as of :meth:`lock`."""
        return await self.lock(lock_key, queue=True, note=note, user=user)

    async def lock_all(
        self, lock_key: str | None = None, *, note: str | None = None, user: str | None = None
    ) -> Reply:
        """Lock environment and queue; parameters as of :meth:`lock`."""
        return await self.lock(lock_key, environment=True, queue=True, note=note, user=user)

    async def lock_info(self, lock_key: str | None = None, *, reload: bool = False) -> Reply:
        """Return who locked the manager; with a key, tell whether it is the right one.

        Parameters
        ----------
        lock_key : str, optional
            Key to be checked.
        reload : bool
            Ask the manager for its status in any case.
        """
        check_lock_key(lock_key)
        if lock_key is not None:
            return await self.send_request(method="lock_info", params={"lock_key": lock_key})
        return await self._call_cached("lock_info", "lock_info_uid", reload=reload)

    async def unlock(self, lock_key: str | None = None) -> Reply:
        """Unlock the manager with a key; default: the client's ``lock_key``. Errors as of :meth:`lock`."""
        return await self._call("unlock", lock_key=self._key_to_lock(lock_key, "unlock"))

    async def manager_stop(self, option: str | None = None) -> Reply:
        """Stop the daemon; ``safe_on`` (default): only if it is idle, ``safe_off``: in any case."""
        self._clear_status_timestamp()
        return await self._call("manager_stop", option=option)
