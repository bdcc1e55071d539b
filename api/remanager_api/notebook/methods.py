"""The part of the client that is made for notebooks."""

# ruff: noqa: ASYNC109 - as the other methods that wait

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from remanager_api.core import AsyncCore

if TYPE_CHECKING:
    from remanager_api.notebook.proxies import Devices, Functions, Plans


class NotebookMethods(AsyncCore):
    """Plans, devices and functions as objects, and a live display."""

    async def plans(self, *, reload: bool = False, user_group: str | None = None) -> Plans:
        """Return the allowed plans as objects with completion and help, as they are now.

        Calling one makes an item; wrong arguments are a ``TypeError`` at once.

        Parameters
        ----------
        reload : bool
            Ask the manager for its status in any case. The list is sent only if it has changed.
        user_group : str, optional
            The group whose plans are meant; default: that of the client.

        Examples
        --------
        >>> plans = await RM.plans()  # doctest: +SKIP
        >>> await RM.item_add(plans.count([devices.diode], num=5))  # doctest: +SKIP
        """
        from remanager_api.notebook.proxies import Plans

        return Plans.of(await self._call_for_group("plans_allowed", reload, user_group))

    async def devices(self, *, reload: bool = False, user_group: str | None = None) -> Devices:
        """Return the allowed devices as objects: ``devices.stage.x``. Plans take them like their names.

        Parameters
        ----------
        reload : bool
            As for :meth:`plans`.
        user_group : str, optional
            The group whose devices are meant; default: that of the client.
        """
        from remanager_api.notebook.proxies import Devices

        return Devices.of(await self._call_for_group("devices_allowed", reload, user_group))

    async def functions(self) -> Functions:
        """Return the functions of the task modules as objects with completion and help.

        Calling one makes an item for ``task_submit``; wrong arguments are a ``TypeError`` at once.
        """
        from remanager_api.notebook.proxies import Functions

        return Functions.of(await self.send_request(method="task_function_list"))

    async def watch(self, *targets: object, period_s: float = 0.3, timeout: float | None = None) -> None:
        """Show live what runs, how far it is, what waits, what has ended and what was written.

        In a notebook the output of the cell is replaced again and again; elsewhere lines are written. It ends
        when what is watched has ended, or when a plan is paused.

        Parameters
        ----------
        *targets : object
            Tasks and plans to watch until their end: UIDs, replies to submissions, handles. None: everything,
            until nothing runs and nothing is ready to run.
        period_s : float
            Time (s) between two looks.
        timeout : float, optional
            Longest time (s) to watch; default: for ever.

        Raises
        ------
        WaitTimeoutError
            It went on for longer than ``timeout``.
        """
        from remanager_api.notebook.screens import open_screen
        from remanager_api.notebook.watching import Watch, uids_of

        watch = Watch(self, uids_of(targets))
        screen = open_screen()
        limit = asyncio.timeout(timeout)
        try:
            async with limit, aclosing(watch.pictures(period_s)) as pictures:
                async for picture in pictures:
                    screen.show(picture)
        except TimeoutError:
            if not limit.expired():
                raise
            raise self.WaitTimeoutError(f"not over within {timeout:g} s") from None
        finally:
            screen.close()
