"""Figures in the text format of Prometheus."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from remanager.wire.exposition import Family, FamilyKind, to_text


def test_text() -> None:
    depth = Family("queue_depth", FamilyKind.GAUGE, "How\nmuch \\ waits.")
    depth.add(3)
    depth.add(0.5, type='a "b"\\\n', state="x")
    empty = Family("nothing", FamilyKind.GAUGE, "Nothing.")
    assert to_text([depth, empty]) == (
        "# HELP queue_depth How\\nmuch \\\\ waits.\n"
        "# TYPE queue_depth gauge\n"
        "queue_depth 3\n"
        'queue_depth{type="a \\"b\\"\\\\\\n",state="x"} 0.5\n'
    )


def parse(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read figures; comments are left out."""
    found = {}
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("#"):
            continue
        whole = re.fullmatch(r'(\w+)(?:\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)', line)
        assert whole is not None, line
        name, labels, value = whole.groups()
        pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")
        plain = [(k, re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), v)) for k, v in pairs]
        found[name, tuple(sorted(plain))] = float(value)
    return found


@given(
    st.dictionaries(st.sampled_from(["a", "b"]), st.text()), st.floats(allow_nan=False, allow_infinity=False)
)
def test_any_figure_can_be_read(labels: dict[str, str], value: float) -> None:
    family = Family("f", FamilyKind.COUNTER, "F.")
    family.add(value, "_sum", **labels)
    assert parse(to_text([family])) == {("f_sum", tuple(sorted(labels.items()))): value}
