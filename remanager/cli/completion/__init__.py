"""``remanager completion``: scripts with which shells complete the words of the command.

A script has all words in it, so that no program is started while somebody types.
"""

from __future__ import annotations

from pathlib import Path

import click

from remanager.cli.completion.scripts import RENDERERS

__all__ = ["completion"]


def script(shell: str) -> str:
    """Return the script of a shell: ``bash``, ``zsh`` or ``fish``."""
    from remanager.cli.completion.table import places

    template = Path(__file__).with_name(f"remanager.{shell}").read_text(encoding="utf-8")
    return template.replace("@TABLES@", RENDERERS[shell](places()))


@click.command("completion")
@click.argument("shell", type=click.Choice(list(RENDERERS)))
def completion(shell: str) -> None:
    """Print the script with which a shell completes commands, options and their values.

    \b
    bash: remanager completion bash > ~/.local/share/bash-completion/completions/remanager
    zsh:  remanager completion zsh > DIRECTORY/_remanager, with a DIRECTORY of fpath
    fish: remanager completion fish > ~/.config/fish/completions/remanager.fish
    """
    click.echo(script(shell), nl=False)
