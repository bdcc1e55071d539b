"""Commands, options and methods that the prose of the documentation names exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from remanager.cli.main import LazyGroup, group
from remanager.cli.start import build_parser
from remanager_api.zmq.aio import REManagerAPI

ROOT = Path(__file__).parents[3]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
}
OPTIONS_OF_OTHERS = {"--existing", "--explained", "--kill-whom", "--only", "--scope"}
"""Of programs that pages speak of beside ours."""


def inline(text: str) -> list[str]:
    """Return what stands between backticks, without the blocks."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", prose)


def commands(parent: LazyGroup, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(parent)
    for name in parent.list_commands(context):
        command = parent.get_command(context, name)
        assert command is not None
        yield f"{path}{name}", command
        if isinstance(command, LazyGroup):
            yield from commands(command, f"{path}{name} ")


COMMANDS = dict(commands(group))
OPTIONS = {
    option
    for command in (group, *COMMANDS.values())
    for parameter in command.get_params(click.Context(command))
    for option in parameter.opts
} | {option for action in build_parser()._actions for option in action.option_strings}


@pytest.mark.parametrize("page", PAGES)
def test_commands(page: str) -> None:
    for span in inline(PAGES[page]):
        if match := re.match(r"remanager ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)", span):
            words = match[1].split()
            assert words[0] in COMMANDS, span
            if len(words) > 1 and isinstance(COMMANDS[words[0]], LazyGroup):
                assert match[1] in COMMANDS, span


@pytest.mark.parametrize("page", PAGES)
def test_options(page: str) -> None:
    spans = " ".join(inline(PAGES[page]))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", spans))
    assert not named - OPTIONS - OPTIONS_OF_OTHERS


@pytest.mark.parametrize("page", PAGES)
def test_methods_of_the_client(page: str) -> None:
    named = {name for span in inline(PAGES[page]) for name in re.findall(r"\bRM\.([a-z_]+)", span)}
    assert not {name for name in named if not hasattr(REManagerAPI, name)}
