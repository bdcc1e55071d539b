"""Reading of the sources of settings: values given as text, and configuration files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from remanager.daemon.options import OPTIONS, UNNEEDED, Kind, Option
from remanager.daemon.retention import FORM, parse_retention

_ON = frozenset({"on", "yes", "y", "true", "t", "1"})
_OFF = frozenset({"off", "no", "n", "false", "f", "0", ""})
_Z85_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_ADDRESS = re.compile(r"tcp://[^\s:][^\s]*:(?P<port>\*|[0-9]+)|ipc://[^\s]+")
_SECRET_KEYS = frozenset(o.key for o in OPTIONS if o.secret)


class SettingsError(ValueError):
    """A setting is wrong; the text names it, says where it was given, and what is permitted."""


def _refused(origin: str, expected: str, value: object) -> SettingsError:
    return SettingsError(f"{origin}: expected {expected}, got {value!r}")


def switch(value: object, origin: str) -> bool:
    """Return the truth value that a switch was given; refuse anything else."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in _ON:
        return True
    if word in _OFF:
        return False
    raise _refused(origin, "ON or OFF", value)


def _number(value: object, origin: str, expected: str, low: float, high: float) -> float:
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if low <= number <= high:
            return number
    raise _refused(origin, expected, value)


def _whole(value: object, origin: str, expected: str, low: int, high: int) -> int:
    number = _number(value, origin, expected, low, high)
    if number != int(number):
        raise _refused(origin, expected, value)
    return int(number)


def _text(option: Option, value: object, origin: str) -> str:
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{origin}: expected a non-empty text")
    if option.name == "zmq_private_key" and not _Z85_KEY.fullmatch(value):
        raise SettingsError(f"{origin}: a private key is 40 characters of the z85 alphabet")
    return value


def _choice(option: Option, value: object, origin: str) -> str:
    for choice in option.choices:
        if str(value).lower() == choice.lower():
            return choice
    raise _refused(origin, f"one of {', '.join(option.choices)}", value)


def _address(option: Option, value: object, origin: str) -> str:
    text = _text(option, value, origin)
    found = _ADDRESS.fullmatch(text)
    port = found["port"] if found else None
    if found is None or not (port in (None, "*") or 1 <= int(port) <= 65535):
        raise _refused(
            origin, "an address such as tcp://*:60615, tcp://127.0.0.1:60615 or ipc:///path", value
        )
    return text


def _names(option: Option, value: object, origin: str) -> tuple[str, ...]:
    names = value.split(":") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
        raise _refused(origin, "a list of names", value)
    if option.kind is Kind.MODULES:  # a path may have a comma or a colon, the name of a module has neither
        names = [part.strip() for name in names for part in name.replace(",", ":").split(":")]
    return tuple(n for n in names if n)


def _retention(value: object, origin: str) -> str:
    try:
        if isinstance(value, str):
            parse_retention(value)
            return value
    except ValueError:
        pass
    raise _refused(origin, FORM, value)


def absolute(path: str) -> Path:
    """Return the absolute path, with ``~`` expanded."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def convert(option: Option, value: object, origin: str) -> object:
    """Turn a value as it was written into the value of a setting.

    Parameters
    ----------
    option : Option
        What is being set.
    value : object
        Text, or what the configuration file says.
    origin : str
        Where it was given, for the error's text.

    Returns
    -------
    object
        bool, int, float, str, tuple of str, or an absolute path.

    Raises
    ------
    SettingsError
        The value is not of the option's kind.
    """
    match option.kind:
        case Kind.SWITCH:
            return switch(value, origin)
        case Kind.COUNT:
            return _whole(value, origin, "a whole number, 0 or more", 0, 2**31)
        case Kind.PORT:
            return _whole(value, origin, "a port number (1 to 65535)", 1, 65535)
        case Kind.SECONDS:
            return _number(value, origin, "a number of seconds, at least 120", 120, 1e12)
        case Kind.CHOICE:
            return _choice(option, value, origin)
        case Kind.NAMES | Kind.MODULES:
            return _names(option, value, origin)
        case Kind.PATH:
            return absolute(_text(option, value, origin))
        case Kind.ADDRESS:
            return _address(option, value, origin)
        case Kind.RETENTION:
            return _retention(value, origin)
        case Kind.TEXT:
            return _text(option, value, origin)


def from_environment(option: Option, environ: Mapping[str, str]) -> tuple[object, str] | None:
    """Return the value and the variable that gives it; an empty variable counts as not set."""
    for variable in option.env:
        if environ.get(variable):
            return convert(option, environ[variable], f"environment variable {variable}"), variable
    return None


# ---------------------------------------------------------------------------------- configuration files


def _expanded(value: Any) -> Any:
    if isinstance(value, str):
        return os.path.expandvars(value)
    if isinstance(value, list):
        return [_expanded(v) for v in value]
    return value


def _flat(path: Path, document: object) -> Iterator[tuple[str, object]]:
    """Yield ``section/key`` and value of one file, refusing what is not in the table."""
    known = {o.key for o in OPTIONS} | {u.key for u in UNNEEDED}
    sections = {key.partition("/")[0] for key in known if key}
    if not isinstance(document, dict):
        raise SettingsError(f"configuration file {path}: expected sections {', '.join(sorted(sections))}")
    for section, body in document.items():
        if section not in sections:
            raise SettingsError(
                f"configuration file {path}: unknown section {section!r}; "
                f"known sections: {', '.join(sorted(sections))}"
            )
        if not isinstance(body, dict | None):
            raise SettingsError(f"configuration file {path}: section {section!r} must hold keys and values")
        for key, value in (body or {}).items():
            name = f"{section}/{key}"
            if name not in known:
                raise SettingsError(f"configuration file {path}: unknown key {key!r} in section {section!r}")
            # A key may hold a dollar sign of its own.
            yield name, value if name in _SECRET_KEYS else _expanded(value)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(
            p for p in path.iterdir() if p.is_file() and not p.name.startswith(".") and p.suffix != ".py"
        )
    raise SettingsError(f"configuration file {path} does not exist")


def read_configuration(path: Path) -> dict[str, object]:
    """Read a YAML file, or all files of a directory.

    Parameters
    ----------
    path : Path
        File, or directory of files; hidden files and Python scripts in it are left out.

    Returns
    -------
    dict
        ``section/key`` -> value. Environment variables in texts are expanded.

    Raises
    ------
    SettingsError
        The path does not exist, a file is no YAML, holds an unknown section or key, or two files of a
        directory hold the same section.
    """
    import yaml  # only here: most starts have no configuration file

    values: dict[str, object] = {}
    owner: dict[str, Path] = {}
    for file in _files(path):
        try:
            document = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
            raise SettingsError(f"configuration file {file} cannot be read: {exc}") from exc
        if document is None:
            continue
        for name, value in _flat(file, document):
            section = name.partition("/")[0]
            if owner.setdefault(section, file) != file:
                raise SettingsError(
                    f"section {section!r} is in two configuration files: {owner[section]}, {file}"
                )
            if value is not None:
                values[name] = value
    return values
