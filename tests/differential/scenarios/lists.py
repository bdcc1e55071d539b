"""Plans and devices: what exists and what is allowed, before and after the environment was opened."""

from __future__ import annotations

from scenario import Setup, scenario
from session import Session

GROUPS = ("root", "primary", "limited")
FRESH = Setup("never opened", encodings=("json",))
NO_UPDATE = Setup("lists are not updated", ("--update-existing-plans-devices=NEVER",), encodings=("json",))
SHALLOW = Setup("devices without components", ("--device-max-depth=1",), encodings=("json",))


def _ask_all(session: Session) -> None:
    for group in GROUPS:
        session.call("plans_allowed", group, user_group=group)
        session.call("devices_allowed", group, user_group=group)
    session.call("plans_existing")
    session.call("devices_existing")


@scenario("lists before the first opening", FRESH)
def before(session: Session) -> None:
    session.call("status")
    _ask_all(session)


@scenario("lists")
def lists(session: Session) -> None:
    session.ready()
    _ask_all(session)
    for method in ("plans_allowed", "devices_allowed"):
        session.call(method, "unknown group", user_group="nobody")
        session.call(method, "group is null", user_group=None)
        session.call(method, "group is a number", user_group=1)
        session.call(method, "no group")
    session.call("status")
    session.closed()
    session.call("plans_existing", "closed again")
    session.call("status", "closed again")


@scenario("lists that stay in memory", NO_UPDATE)
def not_updated(session: Session) -> None:
    session.ready()
    session.call("plans_existing")
    session.call("permissions_reload", "and the lists", restore_plans_devices=True)
    session.call("plans_existing", "restored")


@scenario("lists with a depth", SHALLOW)
def shallow(session: Session) -> None:
    session.ready()
    session.call("devices_existing")
    session.call("devices_allowed", user_group="limited")
