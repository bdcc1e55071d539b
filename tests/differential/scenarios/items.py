"""The queue at rest: adding, changing, moving and removing items, and which items are valid."""

from __future__ import annotations

from typing import Any

from scenario import scenario
from session import STOP, USER, Session, plan

COUNT = plan("count", ["det1"])
UNKNOWN_UID = "00000000-0000-0000-0000-000000000000"

PLACES: tuple[Any, ...] = ("front", "back", 0, 1, -1, -2, 100, -100, "middle", 1.5, None, True, [])


def _fill(session: Session, count: int = 5) -> list[str]:
    """Put some items into the queue and return their UIDs."""
    items = [plan("count", ["det1"], num=number) for number in range(1, count + 1)]
    return [i["item_uid"] for i in session.ask("queue_item_add_batch", items=items, **USER)["items"]]


def _look(session: Session, note: str) -> None:
    session.call("queue_get", note)
    session.call("status", note)


@scenario("adding items")
def adding(session: Session) -> None:
    session.ready()
    uid = session.call("queue_item_add", item=COUNT, **USER)["item"]["item_uid"]
    session.call("queue_item_add", "an instruction", item=STOP, **USER)
    session.call("queue_item_add", "uid is replaced", item={**COUNT, "item_uid": UNKNOWN_UID}, **USER)
    _look(session, "after three")
    for place in PLACES:
        session.call("queue_item_add", f"pos {place!r}", item=COUNT, pos=place, **USER)
    session.call("queue_item_add", "before", item=COUNT, before_uid=uid, **USER)
    session.call("queue_item_add", "after", item=COUNT, after_uid=uid, **USER)
    session.call("queue_item_add", "before unknown", item=COUNT, before_uid=UNKNOWN_UID, **USER)
    session.call("queue_item_add", "after unknown", item=COUNT, after_uid=UNKNOWN_UID, **USER)
    session.call("queue_item_add", "before and after", item=COUNT, before_uid=uid, after_uid=uid, **USER)
    session.call("queue_item_add", "pos and before", item=COUNT, pos="front", before_uid=uid, **USER)
    session.call("queue_item_add", "before a number", item=COUNT, before_uid=1, **USER)
    _look(session, "at the end")


@scenario("items of a bad form")
def forms(session: Session) -> None:
    session.ready()
    group, user = {"user_group": "primary"}, {"user": "tester"}
    session.call("queue_item_add", "nothing")
    session.call("queue_item_add", "no user", item=COUNT, **group)
    session.call("queue_item_add", "no group", item=COUNT, **user)
    session.call("queue_item_add", "unknown group", item=COUNT, user_group="nobody", **user)
    session.call("queue_item_add", "group is null", item=COUNT, user_group=None, **user)
    session.call("queue_item_add", "user is null", item=COUNT, user=None, **group)
    session.call("queue_item_add", "no item", **USER)
    forms: dict[str, object] = {
        "null": None,
        "a text": "count",
        "a list": [],
        "empty": {},
        "no type": {"name": "count", "args": [["det1"]]},
        "type is null": {"item_type": None, "name": "count"},
        "unknown type": {"item_type": "scan", "name": "count"},
        "a function": {"item_type": "function", "name": "give"},
        "no name": {"item_type": "plan"},
        "name is null": {"item_type": "plan", "name": None},
        "name is a number": {"item_type": "plan", "name": 5},
        "unknown name": plan("no_such_plan"),
        "hidden plan": plan("_hidden_plan"),
        "no plan": plan("no_generator", 1),
        "args is a text": {"item_type": "plan", "name": "silent", "args": "abc"},
        "args is null": {"item_type": "plan", "name": "silent", "args": None},
        "args is a dictionary": {"item_type": "plan", "name": "silent", "args": {"a": 1}},
        "kwargs is a list": {"item_type": "plan", "name": "silent", "kwargs": [1]},
        "kwargs is null": {"item_type": "plan", "name": "silent", "kwargs": None},
        "neither args nor kwargs": {"item_type": "plan", "name": "silent"},
        "unknown instruction": {"item_type": "instruction", "name": "jump"},
        "instruction without name": {"item_type": "instruction"},
        "more keys": {**plan("silent"), "color": "red", "number": [1, 2]},
        "meta": {**plan("silent"), "meta": {"sample": "copper"}},
        "meta is a list": {**plan("silent"), "meta": [{"a": 1}, {"a": 2, "b": 3}]},
        "meta is a text": {**plan("silent"), "meta": "copper"},
        "own user": {**plan("silent"), "user": "other", "user_group": "root"},
        "own result": {**plan("silent"), "result": {"exit_status": "completed"}},
    }
    for what, item in forms.items():
        session.call("queue_item_add", what, item=item, **USER)
    _look(session, "at the end")


VALUES: dict[str, dict[str, Any]] = {
    "count": plan("count", ["det1", "det2"]),
    "count, unknown detector": plan("count", ["no_such_detector"]),
    "count, detectors are a text": plan("count", "det1"),
    "count, number as text": plan("count", ["det1"], num="five"),
    "count, null": plan("count", ["det1"], num=None),
    "count, unknown parameter": plan("count", ["det1"], abc=1),
    "count, nothing": plan("count"),
    "count, twice the same": plan("count", ["det1"], detectors=["det1"]),
    "count, metadata": plan("count", ["det1"], md={"a": [1, {"b": None}]}),
    "scan": plan("scan", ["det1"], "motor", -1, 1, 5),
    "scan, nothing after the detectors": plan("scan", ["det1"]),
    "typed": plan("typed", 1),
    "typed, all": plan(
        "typed", 1, 2, 3, 4.5, c="x", d=[1], e="e", f="two", g=True, h={"a": 1}, i=[1, "x"], more=1
    ),
    "typed, float for int": plan("typed", 1.5),
    "typed, whole float for int": plan("typed", 1.0),
    "typed, text for int": plan("typed", "1"),
    "typed, bool for int": plan("typed", True),
    "typed, int for float": plan("typed", 1, 2),
    "typed, text for float": plan("typed", 1, "2.5"),
    "typed, text among values": plan("typed", 1, 2, 3, "four"),
    "typed, number for text": plan("typed", 1, c=5),
    "typed, float in a list": plan("typed", 1, d=[1.5]),
    "typed, no list": plan("typed", 1, d=1),
    "typed, float for int or text": plan("typed", 1, e=1.5),
    "typed, not among the words": plan("typed", 1, f="three"),
    "typed, number for bool": plan("typed", 1, g=2),
    "typed, text for bool": plan("typed", 1, g="yes"),
    "typed, text in a dictionary": plan("typed", 1, h={"a": "b"}),
    "typed, tuple too short": plan("typed", 1, i=[1]),
    "typed, tuple too long": plan("typed", 1, i=[1, "x", 2]),
    "modern": plan("modern", 1, b=["x"], c={"a": 1}),
    "modern, text for int": plan("modern", "x"),
    "modern, numbers for texts": plan("modern", b=[1]),
    "with devices": plan("with_devices", ["det1"], "motor1", [1, 2]),
    "with devices, unknown": plan("with_devices", ["nothing"], "motor1"),
    "with devices, a component": plan("with_devices", ["table.eye"], "table.top.x"),
    "with devices, null": plan("with_devices", None, "motor1"),
    "plain": plan("plain", "anything", second=[1, "b"], third={"c": None}),
    "plain, too many": plan("plain", 1, 2, 3),
    "annotated": plan("annotated", ["det1"], "motor1"),
    "annotated, no detectors": plan("annotated", axis="motor1"),
    "annotated, component": plan("annotated", ["det1", "table.eye"], "table.top.x"),
    "annotated, not among the devices": plan("annotated", ["det3"], "motor1"),
    "annotated, not among the axes": plan("annotated", ["det1"], "motor"),
    "annotated, component that is no axis": plan("annotated", ["det1"], "table.top.y"),
    "annotated, speed": plan("annotated", ["det1"], "motor1", "fast"),
    "annotated, unknown speed": plan("annotated", ["det1"], "motor1", "medium"),
    "annotated, inner plan": plan("annotated", ["det1"], "motor1", inner="count"),
    "annotated, unknown inner plan": plan("annotated", ["det1"], "motor1", inner="list_scan"),
    "annotated, least": plan("annotated", ["det1"], "motor1", number=1),
    "annotated, too little": plan("annotated", ["det1"], "motor1", number=0),
    "annotated, too much": plan("annotated", ["det1"], "motor1", number=6),
    "annotated, anything": plan("annotated", ["det1"], "motor1", anything="scan"),
    "annotated, nothing known": plan("annotated", ["det1"], "motor1", anything="nothing"),
    "limited": plan("limited", [1, -10, 10]),
    "limited, too much": plan("limited", [1, 11]),
    "limited, too little": plan("limited", [-10.5]),
    "limited, text": plan("limited", ["a"]),
    "limited, names": plan("limited", [1], names=["det1", "count"]),
    "large numbers": plan("plain", 2**60, second=1e300),
    "texts of all kinds": plan("plain", "Å\u0000\n\t\\\"'", second="𝄞"),
}


@scenario("values of parameters")
def values(session: Session) -> None:
    session.ready()
    for what, item in VALUES.items():
        session.call("queue_item_add", what, item=item, **USER)
    limited = {"user": "visitor", "user_group": "limited"}
    session.call("queue_item_add", "limited group", item=plan("count", ["det1"]), **limited)
    session.call(
        "queue_item_add", "limited group, device", item=plan("annotated", ["det1"], "motor1"), **limited
    )
    session.call("queue_item_add", "limited group, plan", item=plan("typed", 1), **limited)
    session.call("queue_get")
    pairs = plan("list_scan", ["det"], "motor", [1])
    session.call("queue_item_add", "pairs one after the other", item=pairs, **USER)


@scenario("batches")
def batches(session: Session) -> None:
    session.ready()
    bad = plan("no_such_plan")
    session.call("queue_item_add_batch", "nothing")
    session.call("queue_item_add_batch", "no items", **USER)
    session.call("queue_item_add_batch", "empty", items=[], **USER)
    session.call("queue_item_add_batch", "one", items=[COUNT], **USER)
    session.call("queue_item_add_batch", "no user", items=[COUNT], user_group="primary")
    session.call("queue_item_add_batch", "unknown group", items=[COUNT], user="tester", user_group="nobody")
    session.call("queue_item_add_batch", "two bad of four", items=[COUNT, bad, STOP, bad], **USER)
    session.call("queue_item_add_batch", "of odd kinds", items=[None, 1, "count", [], {}], **USER)
    session.call("queue_item_add_batch", "front", items=[STOP, COUNT], pos="front", **USER)
    session.call("queue_item_add_batch", "second place", items=[STOP, COUNT], pos=1, **USER)
    session.call("queue_item_add_batch", "bad place", items=[COUNT], pos="middle", **USER)
    uid = session.ask("queue_item_get", pos=2)["item"]["item_uid"]
    session.call("queue_item_add_batch", "before", items=[COUNT, COUNT], before_uid=uid, **USER)
    session.call("queue_item_add_batch", "after", items=[COUNT, COUNT], after_uid=uid, **USER)
    session.call("queue_item_add_batch", "after unknown", items=[COUNT], after_uid=UNKNOWN_UID, **USER)
    session.call("queue_item_add_batch", "two places", items=[COUNT], pos=1, after_uid=uid, **USER)
    _look(session, "at the end")


@scenario("updating items")
def updating(session: Session) -> None:
    session.ready()
    first, second, _ = _fill(session, 3)
    session.call("queue_item_update", "nothing")
    session.call("queue_item_update", "no uid", item=COUNT, **USER)
    session.call("queue_item_update", "unknown uid", item={**COUNT, "item_uid": UNKNOWN_UID}, **USER)
    session.call("queue_item_update", "uid is a number", item={**COUNT, "item_uid": 5}, **USER)
    session.call("queue_item_update", "bad item", item={**plan("no_such_plan"), "item_uid": first}, **USER)
    changed = {**plan("count", ["det2"], num=7), "item_uid": first}
    session.call("queue_item_update", item=changed, **USER)
    _look(session, "updated")
    session.call("queue_item_update", "the same again", item=changed, **USER)
    session.call("queue_item_update", "new uid", item=changed, replace=True, **USER)
    session.call("queue_item_update", "old uid", item=changed, replace=True, **USER)
    session.call("queue_item_update", "to an instruction", item={**STOP, "item_uid": second}, **USER)
    session.call("queue_item_update", "new uid without uid", item=COUNT, replace=True, **USER)
    session.call(
        "queue_item_update", "replace is a text", item={**COUNT, "item_uid": second}, replace="", **USER
    )
    _look(session, "at the end")


@scenario("getting and removing items")
def removing(session: Session) -> None:
    session.ready()
    for method in ("queue_item_get", "queue_item_remove"):
        session.call(method, "empty queue")
        session.call(method, "empty queue, front", pos="front")
        uids = _fill(session, 8)
        session.call(method, "default")
        for place in PLACES:
            session.call(method, f"pos {place!r}", pos=place)
        session.call(method, "uid", uid=uids[2])
        session.call(method, "uid again", uid=uids[2])
        session.call(method, "unknown uid", uid=UNKNOWN_UID)
        session.call(method, "uid is a number", uid=5)
        session.call(method, "pos and uid", pos=0, uid=uids[3])
        _look(session, f"after {method}")
        session.ask("queue_clear")
    uids = _fill(session, 6)
    method = "queue_item_remove_batch"
    session.call(method, "nothing")
    session.call(method, "empty", uids=[])
    session.call(method, "null", uids=None)
    session.call(method, "two", uids=[uids[1], uids[4]])
    session.call(method, "again", uids=[uids[1], uids[4]])
    session.call(method, "again, not ignored", uids=[uids[1], uids[0]], ignore_missing=False)
    session.call(method, "repeated", uids=[uids[0], uids[0]])
    session.call(method, "repeated, not ignored", uids=[uids[2], uids[2]], ignore_missing=False)
    session.call(method, "unknown, not ignored", uids=["7", "8"], ignore_missing=False)
    session.call(method, "a text", uids=uids[2])
    session.call(method, "numbers", uids=[1, 2])
    _look(session, "at the end")


@scenario("moving items")
def moving(session: Session) -> None:
    session.ready()
    a, b, c, d, e = _fill(session)
    method = "queue_item_move"
    moves: dict[str, dict[str, Any]] = {
        "nothing": {},
        "no destination": {"pos": 1},
        "no source": {"pos_dest": 1},
        "front to back": {"pos": "front", "pos_dest": "back"},
        "back to front": {"pos": "back", "pos_dest": "front"},
        "to the same place": {"pos": 1, "pos_dest": 1},
        "one further": {"pos": 1, "pos_dest": 2},
        "negative": {"pos": -1, "pos_dest": -3},
        "uid to front": {"uid": c, "pos_dest": "front"},
        "uid before": {"uid": d, "before_uid": b},
        "uid after": {"uid": d, "after_uid": e},
        "before itself": {"uid": a, "before_uid": a},
        "after itself": {"uid": a, "after_uid": a},
        "source too far": {"pos": 50, "pos_dest": 0},
        "destination too far": {"pos": 0, "pos_dest": 50},
        "destination too far down": {"pos": 0, "pos_dest": -50},
        "unknown uid": {"uid": UNKNOWN_UID, "pos_dest": 0},
        "before unknown": {"uid": a, "before_uid": UNKNOWN_UID},
        "two sources": {"pos": 1, "uid": a, "pos_dest": 0},
        "two destinations": {"pos": 1, "pos_dest": 0, "before_uid": a},
        "before and after": {"pos": 1, "before_uid": a, "after_uid": b},
        "bad place": {"pos": "middle", "pos_dest": 0},
        "float": {"pos": 1.5, "pos_dest": 0},
        "bad destination": {"pos": 0, "pos_dest": "middle"},
    }
    for what, params in moves.items():
        session.call(method, what, **params)
    _look(session, "after the moves")


@scenario("moving batches")
def moving_batches(session: Session) -> None:
    session.ready()
    a, b, c, d, e = _fill(session)
    method = "queue_item_move_batch"
    moves: dict[str, dict[str, Any]] = {
        "nothing": {},
        "no destination": {"uids": [a]},
        "no uids": {"pos_dest": "front"},
        "empty": {"uids": [], "pos_dest": "front"},
        "to the front": {"uids": [c, a], "pos_dest": "front"},
        "to the front again": {"uids": [c, a], "pos_dest": "front"},
        "to the back, in order": {"uids": [e, c, b], "pos_dest": "back", "reorder": True},
        "before": {"uids": [e, a], "before_uid": b},
        "after": {"uids": [d, c], "after_uid": a},
        "before one of them": {"uids": [a, b], "before_uid": a},
        "after one of them": {"uids": [a, b], "after_uid": b},
        "before unknown": {"uids": [a], "before_uid": UNKNOWN_UID},
        "repeated": {"uids": [a, a], "pos_dest": "front"},
        "unknown": {"uids": [a, UNKNOWN_UID], "pos_dest": "front"},
        "an index": {"uids": [a], "pos_dest": 1},
        "bad place": {"uids": [a], "pos_dest": "middle"},
        "two destinations": {"uids": [a], "pos_dest": "front", "before_uid": b},
        "a text": {"uids": a, "pos_dest": "front"},
    }
    for what, params in moves.items():
        session.call(method, what, **params)
    _look(session, "after the moves")
    session.call("queue_clear")
    session.call("queue_clear", "again")
    _look(session, "cleared")


@scenario("modes")
def modes(session: Session) -> None:
    session.closed()
    modes: dict[str, object] = {
        "loop": {"loop": True},
        "ignore failures": {"ignore_failures": True},
        "nothing": {},
        "neither": {"loop": False, "ignore_failures": False},
        "null": None,
        "a text": "loop",
        "a list": [],
        "unknown": {"backwards": True},
        "one of two unknown": {"loop": True, "backwards": True},
        "number for true": {"loop": 1},
        "text for true": {"loop": "yes"},
        "default": "default",
    }
    session.call("queue_mode_set", "no mode")
    for what, mode in modes.items():
        session.call("queue_mode_set", what, mode=mode)
        session.call("status", f"after {what}")
