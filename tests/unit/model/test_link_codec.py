"""Messages between manager and worker."""

from __future__ import annotations

from remanager.model.link import Reply, TaskFinished, pack, unpack


def test_text_that_has_no_utf8_form() -> None:
    """Texts of exceptions may hold lone surrogates, of names of files for example."""
    message = unpack(pack(Reply(1, False, "function '\ud800' is not found", {"a": "\udcff"})))
    assert message == Reply(1, False, "function '\\ud800' is not found", {"a": "\\udcff"})


def test_results_are_kept_byte_by_byte() -> None:
    event = TaskFinished(
        seq=1,
        time=3.0,
        task_uid="t",
        success=True,
        msg="",
        traceback="",
        codec="json",
        payload=b"\xff\x00",
        time_start=1.0,
        time_stop=2.0,
    )
    assert unpack(pack(event)) == event
