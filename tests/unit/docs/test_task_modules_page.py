"""The examples of values on the page about task modules are understood."""

from __future__ import annotations

import re
from pathlib import Path

from remanager.wire.values import value_from_json, value_to_json

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "task-modules.md").read_text()


def test_values_are_of_these_forms() -> None:
    texts = re.findall(r'^\| `(\{"__.*?\})` \|', PAGE, re.MULTILINE)
    assert len(texts) == 6
    for text in texts:
        value = value_from_json(text)
        assert not isinstance(value, dict) or "__" not in str(value)
        value_to_json(value)
