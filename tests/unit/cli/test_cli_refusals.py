"""What the command line says of refused requests."""

from __future__ import annotations

from remanager.cli.send import refusal


def test_a_refusal_has_code_and_reason() -> None:
    assert refusal({"success": False, "msg": "locked", "code": "locked"}) == "Refused (locked): locked"
    assert refusal({"success": False}) == "Refused: no reason was given"


def test_a_refused_batch_names_the_items_at_fault() -> None:
    results = [{"success": True, "msg": ""}, {"success": False, "msg": "Plan 'cnt' is not in the list"}]
    reply = {"success": False, "msg": "1 out of 2 failed", "results": results}
    assert refusal(reply).splitlines() == [
        "Refused: 1 out of 2 failed",
        "  item 2: Plan 'cnt' is not in the list",
    ]


def test_items_without_a_fault_are_not_named_and_a_remedy_is() -> None:
    results = [
        {"success": False, "msg": "another task of the batch was refused"},
        {"success": False, "msg": "not allowed for users from 'primary' group.", "code": "not_permitted"},
    ]
    _, fault, remedy = refusal({"success": False, "msg": "1 of 2", "results": results}).splitlines()
    assert fault == "  item 2: not allowed for users from 'primary' group."
    assert "user_group_permissions.yaml" in remedy


def test_of_many_faults_only_some_are_named() -> None:
    results = [{"success": False, "msg": "no"}] * 33
    lines = refusal({"success": False, "msg": "33 failed", "results": results}).splitlines()
    assert len(lines) == 22
    assert lines[-2:] == ["  item 20: no", "  and 13 more"]
