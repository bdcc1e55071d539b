"""The reference page of the methods, made from their registry: ``python -m remanager.cli.methods_page``."""

from __future__ import annotations

import inspect
import sys
from itertools import groupby

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from remanager.manager.items import MISSING
from remanager.verbs import FAMILIES, load
from remanager.verbs.registry import REGISTRY, Verb

_INTRODUCTION = """\
# Methods

A request is `{"method": ..., "params": {...}}` in JSON or msgpack on the control socket. Every reply has
`success` and `msg`; a refused one also has `code`, a word for programs. Unknown methods and parameters are
refused by name.

Each method needs a permission, which the role of the client's key must include: `admin` has all, `user` all
but `admin`, `observer` only `read`. Without encryption everybody has all.

Methods that change something also take the parameter `request_id`, a text that the client chooses. A
repetition of the request with the same `request_id` within five minutes gets the first answer, and nothing is
done twice; while the first one is still being carried out, the repetition waits for it. The same text with
another request is refused as a `conflict`. A restarted manager remembers no `request_id`.
"""


def _default(field: FieldInfo) -> str:
    if field.is_required() or field.default in (MISSING, PydanticUndefined):
        return "required"
    return "" if field.default is None else f"`{field.default!r}`"


def _section(verb: Verb) -> list[str]:
    lines = [f"### {verb.name}", "", inspect.cleandoc(verb.doc)]
    lines += ["", f"Needs the permission `{verb.permission.value}`."]
    if verb.lock is not None:
        lines += ["", f"Refused without the key while the {verb.lock.value} is locked."]
    if verb.mutating:
        lines += ["", "Takes a `request_id`."]
    if verb.names:
        lines += ["", "| parameter | default | |", "|---|---|---|"]
    fields = {field.alias or name: field for name, field in verb.params.model_fields.items()}
    for name in verb.names:
        field = fields[name]
        text = (field.description or "").replace("|", "\\|")
        lines.append(f"| `{name}` | {_default(field)} | {text} |")
    return [*lines, ""]


def page() -> str:
    """Return the page in Markdown."""
    load()
    lines = [_INTRODUCTION]
    verbs = sorted(REGISTRY.values(), key=lambda v: FAMILIES.index(v.family))
    for family, members in groupby(verbs, key=lambda v: v.family):
        module = sys.modules[f"remanager.verbs.{family}"]
        lines += [
            f"## {family.replace('_', ' ').capitalize()}",
            "",
            inspect.cleandoc(module.__doc__ or ""),
            "",
        ]
        for verb in members:
            lines += _section(verb)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
