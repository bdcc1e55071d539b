"""The reference page of the options, made from their table: ``python -m remanager.cli.options_page``."""

from __future__ import annotations

import sys

from remanager.cli.start import shown_default
from remanager.daemon.options import OPTIONS, UNNEEDED, Option

_INTRODUCTION = """\
# Options of `remanager start`

Each setting is taken from the first of: option, environment variable, configuration file, default.
The configuration file is YAML, named by `--config` or `QSERVER_CONFIG`; its keys are shown as `section/key`.
If the path is a directory, all files in it are read; a section may be in one of them only.

Several values of one setting stand one after the other behind the option, are separated by `:` in the
variable, and are a list in the file. What is `ON` or `OFF` may also be written as `yes`, `true`, `y`, `t`,
`1` or `no`, `false`, `n`, `f`, `0`, in upper or lower case, everywhere.
"""


def _row(option: Option) -> str:
    flags = option.flags[:1] or tuple(flag for flag, _ in option.constants)
    values = f" Values: {', '.join(f'`{c}`' for c in option.choices)}." if option.choices else ""
    cells = (
        ", ".join(f"`{f}`" for f in flags),
        ", ".join(f"`{e}`" for e in option.env[:1]),
        f"`{option.key}`" if option.key else "",
        f"`{shown_default(option)}`" if shown_default(option) else "",
        option.help.replace("|", "\\|") + values,
    )
    return f"| {' | '.join(cells)} |"


def page() -> str:
    """Return the page in Markdown."""
    lines = [_INTRODUCTION.rstrip()]
    for heading in dict.fromkeys(o.group for o in OPTIONS):
        lines += ["", f"## {heading}", "", "| option | variable | key | default | |", "|---|---|---|---|---|"]
        lines += [_row(option) for option in OPTIONS if option.group == heading]
    lines += ["", "## Accepted, but not needed", "", "| option | key | answer |", "|---|---|---|"]
    for unneeded in UNNEEDED:
        key = f"`{unneeded.key}`" if unneeded.key else ""
        lines.append(f"| `{unneeded.flags[0]}` | {key} | {unneeded.answer} |")
    old = [(name, o.flags[0]) for o in OPTIONS for name in o.flags[1:]]
    old += [(name, o.env[0]) for o in OPTIONS for name in o.env[1:]]
    lines += ["", "## Old names", "", "| old | new |", "|---|---|"]
    lines += [f"| `{name}` | `{new}` |" for name, new in old]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
