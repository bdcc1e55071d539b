"""What the shells offer, asked from the shells themselves; those that are not installed are left out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from remanager.cli.main import run

_BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_remanager remanager "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
((${#COMPREPLY[@]})) && printf '%s\\n' "${COMPREPLY[@]}"
exit 0
"""
# Stands for what zsh has while it completes.
_ZSH = """
compdef() { : }
compset() { current=${current#*=} }
compadd() { shift; print -l -- $@ }
_files() { print -l -- @files $@ }
_message() { : }
_describe() { local -a all=("${(@P)4}"); print -l -- ${all%%:*} }
source "$1"; shift
words=("$@") CURRENT=$#
_remanager
exit 0
"""
_FISH = "source $argv[1]; complete -C (string join ' ' -- $argv[2..-1])"

Offer = Callable[..., set[str]]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("completion")


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture
def offer(
    shell: str, scripts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., set[str]]:
    """Return what is offered for the last of some words."""
    script = scripts / shell
    if not script.exists():
        assert run(["completion", shell]) == 0
        script.write_text(capsys.readouterr().out)
    start = {
        "bash": ["bash", "--norc", "-c", _BASH, "bash"],
        "zsh": ["zsh", "-fc", _ZSH, "zsh"],
        "fish": ["fish", "--no-config", "-c", _FISH],
    }[shell]
    (tmp_path / "items.json").touch()
    (tmp_path / "state").mkdir()

    def ask(*words: str) -> set[str]:
        done = subprocess.run(
            [*start, str(script), "remanager", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.stderr == ""
        return {line.partition("\t")[0] for line in done.stdout.splitlines()}

    return ask


def matching(found: set[str], start: str) -> set[str]:
    """Zsh itself leaves out what does not fit."""
    return {word for word in found if word.startswith(start)}


def test_commands(offer: Offer) -> None:
    assert {"start", "status", "queue", "keys"} <= offer("")
    assert matching(offer("st"), "st") == {"start", "status", "stats", "stats-history"}
    assert offer("queue", "") == {"get", "clear", "start", "stop", "autostart", "mode"}
    assert offer("queue", "mode", "") == {"set"}
    assert offer("keys", "") == {"add", "list", "revoke", "legacy", "server"}


def test_words_of_commands(offer: Offer) -> None:
    assert offer("queue", "autostart", "") == {"enable", "disable"}
    assert {"plan", "instruction", "front", "back", "before", "after"} <= offer("item", "add", "")
    assert offer("completion", "") == {"bash", "zsh", "fish"}
    assert offer("ping", "") == set()


def test_options(offer: Offer) -> None:
    assert {"--json", "--address", "--lock-key", "--help"} <= offer("queue", "clear", "-")
    assert matching(offer("start", "--startup-d"), "--startup-d") == {"--startup-dir"}
    assert "--version" in offer("--v")


def test_values_of_options(offer: Offer, shell: str) -> None:
    assert offer("status", "--encoding", "") == {"json", "msgpack"}
    assert offer("start", "--use-ipython-kernel", "") == {"ON", "OFF"}
    assert offer("keys", "add", "ann", "--role", "") >= {"admin", "user", "observer"}
    assert offer("status", "--timeout", "") == set()
    words = ["--encoding", "=", "j"] if shell == "bash" else ["--encoding=j"]
    offered = {word.removeprefix("--encoding=") for word in offer("status", *words)}
    assert matching(offered, "j") == {"json"}


def test_files(offer: Offer, shell: str) -> None:
    directory, file = ("@files", "@files") if shell == "zsh" else ("state", "items.json")
    assert any(word.startswith(directory) for word in offer("keys", "list", "--state-dir", ""))
    assert file in offer("start", "--config", "")
    assert {file, "front", "back"} <= offer("batch", "add", "")
    assert "items.json" not in offer("keys", "list", "--state-dir", "")
