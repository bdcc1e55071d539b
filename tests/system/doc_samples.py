"""The samples of the documentation: how pages are read and samples run. CONTRIBUTING.md has the rules."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any, Self

import click
import psutil
from system_harness import START_TIMEOUT_S, RawClient, free_port

from remanager.cli.main import group
from remanager.cli.requests import BY_PATH
from remanager.cli.start import build_parser

ROOT = Path(__file__).parents[2]
COMMAND_TIMEOUT_S = 40.0
OTHER_PROGRAMS = frozenset(
    {".", "cd", "export", "git", "journalctl", "loginctl", "mkdir", "pip", "python", "python3", "systemctl"}
)
"""Programs in `bash` blocks that are not ours: their arguments are not looked at."""

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`\n]*)\n(?P<code>.*?)^ *(?P=ticks) *$", re.M | re.S
)
_NOTE = re.compile(r"<!--\s*((?:(?!-->).)*?)\s*-->\s*\Z", re.S)
_READY = re.compile(r"The manager is ready: (\S+),")
_MARK = "@@status@@"


@dataclass(frozen=True, slots=True)
class Sample:
    """A fenced block.

    Attributes
    ----------
    line : int
        Line of the page in which it begins.
    language : str
        First word behind the fence.
    code : str
        What it says, without the indentation of the fence.
    note : str
        Text of the comment (``<!-- -->``) before it.
    """

    line: int
    language: str
    code: str
    note: str

    def noted(self, key: str) -> str | None:
        """Return what the comment says behind ``key:``."""
        return self.note.removeprefix(f"{key}:").strip() if self.note.startswith(f"{key}:") else None


def samples(text: str) -> list[Sample]:
    """Return the samples of a page in their order, those of directives of Sphinx left out."""
    found = []
    for match in _FENCE.finditer(text):
        language = (match["info"].split() or [""])[0]
        if language.startswith("{"):
            continue
        note = _NOTE.search(text[: match.start()])
        lines = (line.removeprefix(match["indent"]) for line in match["code"].splitlines())
        line = text.count("\n", 0, match.start()) + 1
        found.append(Sample(line, language, "\n".join(lines), note[1] if note else ""))
    return found


def steps(console: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a `console` block, each with the output that is shown below it."""
    command: str | None = None
    output: list[str] = []
    for line in console.splitlines():
        if line.startswith("$ "):
            if command is not None:
                yield command, "\n".join(output)
            command, output = line[2:], []
        elif command is not None and command.endswith("\\") and not output:
            command += "\n" + line
        else:
            assert command is not None, f"a block of the console begins with '$ ', not {line!r}"
            output.append(line)
    assert command is not None, "a block of the console is empty"
    yield command, "\n".join(output)


# ------------------------------------------------------------------------------------- comparing


def _masked(text: str) -> str:
    """Replace what differs from run to run: UIDs, numbers and times, widths of columns and frames."""
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{8}\b", "UID", text)
    text = re.sub(r"\d+(?:[.,:-]\d+)*", "N", text)
    text = re.sub(r"[\u2500-\u259f]+", " ", text)
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line)


def assert_shown(shown: str, actual: str) -> None:
    """Compare an output with that of the page. There ``...`` stands for anything; an empty one fits all."""
    if not shown.strip():
        return
    pattern = re.escape(_masked(shown)).replace(r"\.\.\.", "...")
    pattern = re.sub(r"^\.\.\.(\\)?\n", lambda _m: r"(?:.*\n)*?", pattern, flags=re.M).replace("...", ".*")
    assert re.fullmatch(pattern, _masked(actual)), f"the page shows:\n{shown}\nbut this came:\n{actual}"


# ------------------------------------------------------------------------------------- parsing


def _simple_commands(script: str) -> Iterator[list[str]]:
    """Split lines of a shell into commands: words without variables that are set, and redirections."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for token in [*lexer, ";"]:
            if token in {";", "&&", "||", "|", "&"}:
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words.pop(0)
                if words:
                    yield words
                words = []
            elif not set(token) <= set("<>&"):
                words.append(token)


def check_script(script: str) -> None:
    """Check that the commands of a `bash` block exist, and that ours take their options and words."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for words in _simple_commands(script):
        if words[0] == "sudo":
            words.pop(0)
        program = words[0].rpartition("/")[2]
        if program == "remanager":
            _check_remanager(words[1:])
        elif program == "make":
            assert set(words[1:]) <= set(targets), words
        else:
            assert program in OTHER_PROGRAMS, f"unknown program {program!r}"


def _check_remanager(words: list[str]) -> None:
    if words[:1] == ["start"]:
        build_parser().parse_args(words[1:])
        return
    command: click.Command | None = group
    path: list[str] = []
    try:
        context = click.Context(group)
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            path.append(words.pop(0))
            command = command.get_command(context, path[-1])
        assert command is not None, f"there is no command {' '.join(path)!r}"
        context = command.make_context(path[-1] if path else "remanager", words)
    except click.exceptions.Exit:
        return  # --help and --version
    request = BY_PATH.get(" ".join(path))
    given = context.params.get("words", ())
    if request and not any(re.match(r"@|.*\.(py|ya?ml|json)$", word) for word in given):
        request.read(given)


# ------------------------------------------------------------------------------------- running


class Sandbox:
    """Where the samples of one page run: a directory, a shell, a namespace and an event loop.

    Parameters
    ----------
    directory : Path
        Current directory of the shell.
    env : Mapping
        Variables of the shell, besides those of this process.
    places : Mapping
        Directories of the page, and the ones that stand for them.
    ports : Mapping
        The same for ports; those that are not named are replaced by free ones.
    """

    def __init__(
        self, directory: Path, env: Mapping[str, str], places: Mapping[str, str], ports: Mapping[str, str]
    ) -> None:
        self._directory = directory
        self._places = dict(places)
        self._ports = dict(ports)
        self._daemons: list[str] = []
        self._started = 0
        path = f"{_programs(directory.with_suffix('.bin'))}:{os.environ['PATH']}"
        self._shell = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, "LOGNAME": "ann", "COLUMNS": "110", "MPLBACKEND": "agg", **env, "PATH": path},
            text=True,
            start_new_session=True,
        )
        self._namespace: dict[str, Any] = {"__name__": "__main__"}
        self._runner = asyncio.Runner()
        self._printed = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._runner.run(self._close_clients())
        self._runner.close()
        self._end_processes()

    def place(self, text: str) -> str:
        """Put directories and ports of this machine in the place of those of the page."""
        for name, directory in self._places.items():
            text = re.sub(rf"(?<![\w/.]){re.escape(name)}(?=[/\s\"':,;)]|$)", directory, text, flags=re.M)
        return re.sub(r"\b6[01]\d{3}\b", self._port, text)

    def _port(self, match: re.Match[str]) -> str:
        return self._ports.setdefault(match[0], str(free_port()))

    def _as_on_page(self, text: str) -> str:
        """Undo :meth:`place` in an output."""
        for name, directory in self._places.items():
            text = text.replace(directory, name)
        return text

    def write(self, name: str, content: str) -> None:
        """Write a file of the page."""
        file = self._directory / self.place(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.place(content) + "\n")

    # -------------------------------------------------------------------------- commands

    def command(self, text: str, shown: str, status: int = 0) -> None:
        """Run a command and compare what it prints; ``remanager start`` goes on in the background."""
        text = self.place(text)
        if re.match(r"([A-Z_]+=\S*\s+|\\\n\s*)*remanager start\b", text):
            self._start_daemon(text)
            return
        given, output = self._run(text)
        assert given == status, f"exit status {given} of: {text}\n{output}"
        assert_shown(shown, self._as_on_page(output))
        if text.startswith("remanager manager stop"):
            # The next one may use the same state directory at once.
            self._run(f"wait -n {' '.join(self._daemons)}")
            self._daemons = [pid for pid in self._daemons if psutil.pid_exists(int(pid))]

    def _run(self, command: str, timeout: float = COMMAND_TIMEOUT_S) -> tuple[int, str]:
        """Run a command in the page's shell; return its exit status and what it printed."""
        shell = self._shell
        assert shell.stdin is not None
        assert shell.stdout is not None
        timer = threading.Timer(timeout, os.killpg, (shell.pid, signal.SIGKILL))
        timer.start()
        try:
            shell.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n{_MARK}%d\\n' $?\n")
            shell.stdin.flush()
            lines = []
            for line in shell.stdout:
                if line.startswith(_MARK):
                    return int(line.removeprefix(_MARK)), "".join(lines).rstrip("\n")
                lines.append(line)
        finally:
            timer.cancel()
            timer.join()
        raise AssertionError(f"no end within {timeout} s, or the shell was left: {command}\n{''.join(lines)}")

    def _start_daemon(self, command: str) -> None:
        self._started += 1
        log = self._directory.with_suffix(f".{self._started}.log")
        log.touch()
        _, pid = self._run(f"{command} --zmq-publish-console ON >{log} 2>&1 & echo $!")
        self._daemons.append(pid)
        deadline = time.monotonic() + START_TIMEOUT_S
        pause = threading.Event()
        while (ready := _READY.search(log.read_text())) is None:
            assert psutil.pid_exists(int(pid)), log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            pause.wait(0.02)
        # It may still be starting: then it answers this when it has started.
        client = RawClient(ready[1])
        try:
            client.call("config_get", timeout=START_TIMEOUT_S)
        finally:
            client.close()

    def _end_processes(self) -> None:
        shell = self._shell
        assert shell.stdin is not None
        assert shell.stdout is not None
        if shell.poll() is None:
            for pid in self._daemons:
                self._run(f"kill {pid} 2>/dev/null; wait {pid}")
            shell.stdin.close()
            shell.wait(10)
        shell.stdout.close()
        left = [p for p in psutil.process_iter(["cmdline", "cwd"]) if _is_below(p, self._directory)]
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        assert not left, left

    # -------------------------------------------------------------------------- Python

    def python(self, code: str, name: str) -> None:
        """Run Python, where ``await`` may stand outside of functions, as in a notebook."""
        tree = compile(self.place(code), name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
        compiled = compile(tree, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        made = FunctionType(compiled, self._namespace)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if compiled.co_flags & inspect.CO_COROUTINE:
                self._runner.run(made())
            else:
                made()
        self._printed = printed.getvalue()

    def output(self, shown: str) -> None:
        """Compare what the sample before has printed."""
        assert_shown(shown, self._printed)

    async def _close_clients(self) -> None:
        for value in list(self._namespace.values()):
            if hasattr(type(value), "send_request"):
                closed = value.close()
                if inspect.isawaitable(closed):
                    await closed
        self._namespace.clear()


def _programs(directory: Path) -> Path:
    """Make the programs ``remanager`` and ``python`` of this interpreter."""
    directory.mkdir()
    for name, options in (("remanager", "-P -m remanager"), ("python", "")):
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {options} "$@"\n')
        program.chmod(0o755)
    return directory


def _is_below(process: psutil.Process, directory: Path) -> bool:
    words = [process.info["cwd"] or "", *(process.info["cmdline"] or ())]
    return process.pid != os.getpid() and any(str(directory) in word for word in words)
