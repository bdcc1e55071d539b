"""Filtering and encoding of RunEngine metadata."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from remanager.worker.metadata import MetadataError, filter_metadata, metadata_text

NESTED = {"a": {"b": 1, "c": 2}, "d": 2}


@pytest.mark.parametrize(
    ("permitted", "expected"),
    [
        (["/"], NESTED),
        (["/", "/x"], NESTED),
        (["/a"], {"a": {"b": 1, "c": 2}}),
        (["/a/"], {"a": {"b": 1, "c": 2}}),
        (["/a/b"], {"a": {"b": 1}}),
        (["/a/b/"], {"a": {"b": 1}}),
        (["/a/x"], {}),
        (["/d", "/a/c"], {"a": {"c": 2}, "d": 2}),
        (["d"], {}),
        ([], {}),
    ],
)
def test_filter(permitted: list[str], expected: dict[str, Any]) -> None:
    assert filter_metadata(NESTED, permitted) == expected


def test_text() -> None:
    engine = SimpleNamespace(md={"scan_id": 1})
    assert json.loads(metadata_text(engine, ["/"], "json")) == {"scan_id": 1}


@pytest.mark.parametrize(
    ("engine", "encoding", "text"),
    [
        (None, "json", "Run Engine does not exist in worker environment"),
        (SimpleNamespace(), "json", "Run Engine does not have a metadata attribute"),
        (SimpleNamespace(md=5), "json", "Failed to convert Run Engine metadata to dictionary: "),
        (SimpleNamespace(md={"a": object()}), "json", "Failed to serialize RE metadata with JSON: "),
        (SimpleNamespace(md={"a": object()}), "msgpack", "Failed to serialize RE metadata with MSGPACK: "),
    ],
)
def test_errors(engine: object, encoding: str, text: str) -> None:
    with pytest.raises(MetadataError, match=text):
        metadata_text(engine, ["/"], encoding)
