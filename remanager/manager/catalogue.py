"""Which plans and devices exist, and who may use which: lists, permissions, validators."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from remanager.manager.ledger import Batch, Ledger
from remanager.manager.options import ManagerOptions
from remanager.manager.state import new_uid
from remanager.model.errors import InvalidParams, NotPermitted, RemanagerError
from remanager.plans.allowed import AllowedLists, allowed_lists
from remanager.plans.lists_file import ExistingLists, read_lists, update_lists
from remanager.plans.permissions import (
    default_permissions,
    function_allowed,
    load_permissions,
    validate_permissions,
)
from remanager.plans.validation import PlanValidator
from remanager.store.writes import setting_set_text
from remanager.wire.codec import CachedReply

logger = logging.getLogger(__name__)

PERMISSIONS = "user_group_permissions"
LISTS = "existing_lists"

_MOST_KEPT = 1000
_LONGEST_KEPT = 200
"""Number of functions, and longest name of one, whose permission is not looked up anew each time."""

_NOBODY: dict[str, Any] = {"user_groups": {"root": {}}}
"""Permissions as long as those in the file cannot be read and none were kept."""


class Catalogue:
    """Lists of plans and devices, and the permissions that make the allowed ones of the existing ones.

    Parameters
    ----------
    ledger : Ledger
        Where permissions are kept.
    options : ManagerOptions
        Names the files and says when they are used.
    stored_permissions : dict or None
        Permissions as the store has them.

    Attributes
    ----------
    problem : str
        Why nobody may do anything; empty if there are permissions.
    """

    def __init__(
        self, ledger: Ledger, options: ManagerOptions, stored_permissions: dict[str, Any] | None
    ) -> None:
        self._ledger = ledger
        self._options = options
        self.permissions: dict[str, Any] = stored_permissions or {}
        self.problem = ""
        self.lists = ExistingLists()
        self.plans_existing_uid = new_uid()
        self.devices_existing_uid = new_uid()
        self.plans_allowed_uid = new_uid()
        self.devices_allowed_uid = new_uid()
        self._allowed: AllowedLists = {}
        self._validators: dict[str, PlanValidator] = {}
        self._replies: dict[tuple[str, str], CachedReply] = {}
        # What was found with these permissions, which are replaced as a whole.
        self._functions_of: Mapping[str, Any] | None = None
        self._functions: dict[tuple[str, str], bool] = {}
        self._making = asyncio.Lock()
        self._unwritten: ExistingLists | None = None
        self._writing = asyncio.Lock()

    # -------------------------------------------------------------------------------- asking

    @property
    def groups(self) -> Iterable[str]:
        """Names of the user groups."""
        return self._allowed.keys()

    def validator(self, group: str) -> PlanValidator:
        """Return the validator of a group's plans.

        Raises
        ------
        InvalidParams
            The group is not known (any more).
        """
        if group not in self._allowed:
            raise InvalidParams(f"Unknown user group: '{group}'")
        if group not in self._validators:
            self._validators[group] = PlanValidator(*self._allowed[group])
        return self._validators[group]

    def allowed_plans(self, group: str) -> dict[str, Any]:
        """Return the descriptions of plans that a known group may use; they must not be changed."""
        return self._allowed[group][0]

    def allowed_devices(self, group: str) -> dict[str, Any]:
        """Return the tree of devices that a known group may use; it must not be changed."""
        return self._allowed[group][1]

    def function_allowed(self, name: str, group: str) -> bool:
        """Tell whether a group may call a function."""
        if self._functions_of is not self.permissions or len(self._functions) >= _MOST_KEPT:
            self._functions_of, self._functions = self.permissions, {}
        allowed = self._functions.get((name, group))
        if allowed is None:
            allowed = function_allowed(name, group, self.permissions)
            if len(name) <= _LONGEST_KEPT:
                self._functions[name, group] = allowed
        return allowed

    def existing(self, kind: str) -> CachedReply:
        """Return the reply to ``plans_existing`` or ``devices_existing``."""
        return self._reply(f"{kind}_existing", "", getattr(self.lists, kind))

    def allowed(self, kind: str, group: str) -> CachedReply:
        """Return the reply to ``plans_allowed`` or ``devices_allowed`` for a group.

        Raises
        ------
        InvalidParams
            The group is not known.
        """
        if not isinstance(group, str) or group not in self._allowed:
            raise InvalidParams(f"Unknown user group: '{group}'")
        plans, devices = self._allowed[group]
        return self._reply(f"{kind}_allowed", group, plans if kind == "plans" else devices)

    def _reply(self, key: str, group: str, content: object) -> CachedReply:
        uid = f"{key}_uid"
        if (key, group) not in self._replies:
            self._replies[key, group] = CachedReply(
                {"success": True, "msg": "", key: content, uid: getattr(self, uid)}
            )
        return self._replies[key, group]

    # -------------------------------------------------------------------------------- lists

    async def take_lists(self, plans: str, devices: str, *, opening: bool) -> None:
        """Take over the descriptions that a worker sent; :meth:`write_lists` brings them into the file.

        Parameters
        ----------
        plans, devices : str
            JSON texts.
        opening : bool
            The environment was just opened.
        """
        lists = await asyncio.to_thread(lambda: ExistingLists(json.loads(plans), json.loads(devices)))
        await self._use(lists)
        update = self._options.lists_update
        if update == "ALWAYS" or (opening and update == "ENVIRONMENT_OPEN"):
            self._unwritten = lists

    async def write_lists(self) -> None:
        """Write the file of the lists if they were taken over since; a writing under way is waited for."""
        async with self._writing:
            lists, self._unwritten = self._unwritten, None
            if lists is None:
                return
            try:
                await asyncio.to_thread(update_lists, self._options.lists_path, lists)
            except (OSError, ValueError, RemanagerError) as exc:
                logger.error("The file %s cannot be written: %s", self._options.lists_path, exc)

    @staticmethod
    def remember(batch: Batch, plans: str, devices: str) -> None:
        """Keep lists (JSON texts) in the store: a manager that comes back to a living worker needs them."""
        batch.write(setting_set_text(LISTS, f'{{"plans": {plans}, "devices": {devices}}}'))

    async def restore_lists(self) -> None:
        """Read the lists from their file; they are empty without one."""
        await self.write_lists()
        if self._options.lists_path.exists():
            await self._use(await asyncio.to_thread(read_lists, self._options.lists_path), always=True)
        else:
            logger.info("No list of plans and devices yet: it is made when the environment is opened first")
            await self._use(ExistingLists(), always=True)

    async def _use(self, lists: ExistingLists, *, always: bool = False) -> None:
        if always or lists.plans != self.lists.plans:
            self.plans_existing_uid = new_uid()
        if always or lists.devices != self.lists.devices:
            self.devices_existing_uid = new_uid()
        self.lists = lists
        self._replies.clear()
        await self._make_allowed(always=always)

    async def _make_allowed(self, *, always: bool) -> None:
        """Compute the allowed lists beside the event loop: they can be large."""
        async with self._making:  # lists and permissions may change meanwhile: the last result must win
            lists, permissions = self.lists, self.permissions
            allowed = await asyncio.to_thread(allowed_lists, lists.plans, lists.devices, permissions)
            self._take_allowed(allowed, always=always)

    def _take_allowed(self, allowed: AllowedLists, *, always: bool) -> None:
        old = self._allowed
        if always or {g: p for g, (p, _) in allowed.items()} != {g: p for g, (p, _) in old.items()}:
            self.plans_allowed_uid = new_uid()
        if always or {g: d for g, (_, d) in allowed.items()} != {g: d for g, (_, d) in old.items()}:
            self.devices_allowed_uid = new_uid()
        self._allowed = allowed
        self._validators.clear()
        self._replies.clear()
        self._ledger.touch()

    # -------------------------------------------------------------------------------- permissions

    async def start(self, *, first_start: bool, worker_lists: dict[str, Any] | None) -> None:
        """Load permissions and lists when the manager starts.

        Parameters
        ----------
        first_start : bool
            False when the manager process was restarted by its supervisor.
        worker_lists : dict or None
            The lists of a worker that is alive; without one they come from their file.
        """
        from_file = first_start and self._options.permissions_reload == "ON_STARTUP"
        if from_file or not self.permissions:
            try:
                await self._permissions_from_file()
            except InvalidParams as exc:
                logger.error("%s", exc)
                if not self.permissions:
                    self.permissions, self.problem = _NOBODY, str(exc)
        if worker_lists is not None:
            await self._use(ExistingLists(worker_lists["plans"], worker_lists["devices"]), always=True)
        else:
            await self.restore_lists()

    async def reload(self, *, restore_lists: bool, restore_permissions: bool) -> None:
        """Reload permissions, and the lists if asked for. UIDs of the allowed lists always change.

        Raises
        ------
        NotPermitted
            Reloading from the file is switched off.
        InvalidParams
            The file cannot be read.
        """
        option = self._options.permissions_reload
        if restore_permissions:
            if option not in ("ON_REQUEST", "ON_STARTUP"):
                raise NotPermitted(
                    "Restoring user group permissions from disk is not allowed: RE Manager was started "
                    f"with option user_group_permissions_reload={option!r}"
                )
            await self._permissions_from_file()
        if restore_lists:
            await self.restore_lists()
        else:
            await self._make_allowed(always=True)

    async def set_permissions(self, permissions: object) -> bool:
        """Use new permissions from now on.

        Returns
        -------
        bool
            Whether they differ from the present ones.

        Raises
        ------
        InvalidParams
            They are not valid.
        """
        if permissions == self.permissions:
            return False
        validate_permissions(permissions)
        assert isinstance(permissions, dict)
        await self._keep(permissions)
        await self._make_allowed(always=True)
        return True

    async def _permissions_from_file(self) -> None:
        path = self._options.permissions_path
        if path.exists():
            await self._keep(await asyncio.to_thread(load_permissions, path))
            return
        built_in = not self.permissions or bool(self.problem)
        held = (
            "those that are built in hold, which allow few functions" if built_in else "the stored ones hold"
        )
        logger.warning("There is no file with the user group permissions, %s: %s", path, held)
        if built_in:
            await self._keep(default_permissions())

    async def _keep(self, permissions: dict[str, Any]) -> None:
        self.permissions, self.problem = permissions, ""
        batch = self._ledger.batch()
        batch.setting(PERMISSIONS, permissions)
        batch.event("permissions_set")
        await self._ledger.settle(batch)
