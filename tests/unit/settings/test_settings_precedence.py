"""Each setting is taken from the first of: option, environment variable, configuration file, default."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from remanager.cli.options_page import page
from remanager.cli.start import parse
from remanager.daemon.options import OPTIONS, UNNEEDED, Kind, Option
from remanager.daemon.settings import DEFAULTS, PERMISSIONS_FILE, Settings, SettingsError
from remanager.daemon.startup_code import LOCATION_NAMES

KEYS = tuple(c * 40 for c in "abc")
# Three different values of each kind, as written, none of which is a default.
SAMPLES: dict[Kind, tuple[str, str, str]] = {
    Kind.TEXT: ("one", "two", "three"),
    Kind.COUNT: ("1", "2", "3"),
    Kind.PORT: ("60001", "60002", "60003"),
    Kind.SECONDS: ("121", "122.5", "123"),
    Kind.ADDRESS: ("tcp://*:1", "tcp://127.0.0.1:*", "ipc:///tmp/x"),
    Kind.NAMES: ("/a", "/b:/c", "/d"),
    Kind.MODULES: ("a", "b:c.d", "e"),
    Kind.RETENTION: ("failure=1", "success=2/3,failure=4.5", "dropped=/6"),
}
PLAIN = [o for o in OPTIONS if o.name not in LOCATION_NAMES]


def samples(option: Option, tmp_path: Path) -> tuple[str, str, str]:
    """Values as written; neighbours differ."""
    if option.name == "zmq_private_key":
        return KEYS
    if option.kind is Kind.PATH:
        for name in ("x", "y", "z"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / PERMISSIONS_FILE).touch()
        return str(tmp_path / "x"), str(tmp_path / "y"), str(tmp_path / "z")
    if option.kind is Kind.SWITCH:
        other = "OFF" if DEFAULTS[option.name] else "ON"
        own = "ON" if DEFAULTS[option.name] else "OFF"
        return other, own, other
    if option.kind is Kind.CHOICE:
        others = [c for c in option.choices if c != DEFAULTS[option.name]]
        return others[0], option.choices[-1] if len(others) < 2 else others[1], others[0]
    return SAMPLES[option.kind]


def value(option: Option, text: str) -> Any:
    match option.kind:
        case Kind.SWITCH:
            return text == "ON"
        case Kind.COUNT | Kind.PORT:
            return int(text)
        case Kind.SECONDS:
            return float(text)
        case Kind.NAMES | Kind.MODULES:
            return tuple(text.split(":"))
        case Kind.PATH:
            return Path(text)
        case _:
            return text


def argv_for(option: Option, text: str, joined: bool = False) -> list[str]:
    if option.constants:
        return [flag for flag, v in option.constants if v == text] or ["--verbose"]
    if option.kind in {Kind.NAMES, Kind.MODULES}:
        return [option.flags[0], *text.split(":")]
    return [f"{option.flags[0]}={text}"] if joined else [option.flags[0], text]


def yaml_value(option: Option, text: str) -> object:
    parsed = value(option, text)
    return list(parsed) if isinstance(parsed, tuple) else str(parsed) if isinstance(parsed, Path) else parsed


def shown(option: Option, settings: Settings) -> object:
    got = getattr(settings, option.name)
    # A directory given for a file gets the file's usual name.
    if option.name in {"existing_plans_and_devices_path", "user_group_permissions_path"}:
        return got.parent
    return got


@pytest.fixture
def config(tmp_path: Path) -> Any:
    def write(option: Option, text: str) -> list[str]:
        section, _, key = option.key.partition("/")
        path = tmp_path / "config.yml"
        path.write_text(yaml.safe_dump({section: {key: yaml_value(option, text)}}))
        return ["--config", str(path)]

    return write


@pytest.fixture
def base_env(tmp_path: Path) -> dict[str, str]:
    return {"STATE_DIRECTORY": str(tmp_path / "state")}


@pytest.mark.parametrize("option", PLAIN, ids=lambda o: o.name)
def test_matrix(option: Option, tmp_path: Path, config: Any, base_env: dict[str, str]) -> None:
    first, second, third = samples(option, tmp_path)

    def got(argv: list[str], env: dict[str, str] | None = None) -> object:
        return shown(option, parse(argv, base_env | (env or {}))[0])

    default = got([])
    if option.name in DEFAULTS:
        assert default == DEFAULTS[option.name]
    in_file = config(option, third) if option.key else []
    if option.key:
        assert got(in_file) == value(option, third)
    for variable in option.env:
        assert got(in_file, {variable: second}) == value(option, second), variable
    if option.env:
        assert got(in_file, {option.env[0]: ""}) == (value(option, third) if in_file else default)
    if option.flags or option.constants:
        env = {option.env[0]: second} if option.env else {}
        assert got(in_file + argv_for(option, first), env) == value(option, first)
        if not option.constants and option.kind not in {Kind.NAMES, Kind.MODULES}:
            assert got(in_file + argv_for(option, first, joined=True), env) == value(option, first)


@pytest.mark.parametrize("modules", [["a,b.c"], ["a", "b.c"], ["a, b.c"], ["a:b.c"], ["a,", "b.c"]])
def test_modules_are_separated_by_commas_too(modules: list[str], base_env: dict[str, str]) -> None:
    argv = ["--task-modules", *modules, "--task-paths", "/lab,a", "/lab,b"]
    settings, _ = parse(argv, base_env)
    assert settings.task_modules == ("a", "b.c")
    assert settings.task_paths == ("/lab,a", "/lab,b")
    settings, _ = parse([], {**base_env, "REMANAGER_TASK_MODULES": ",".join(modules)})
    assert settings.task_modules == ("a", "b.c")


def test_table_and_settings_agree() -> None:
    derived = {"demo_mode", "notices"}
    assert {o.name for o in OPTIONS} == {f.name for f in fields(Settings)} - derived
    flags = [f for o in OPTIONS for f in (*o.flags, *(c for c, _ in o.constants))]
    flags += [f for u in UNNEEDED for f in u.flags]
    assert len(flags) == len(set(flags))
    variables = [e for o in OPTIONS for e in o.env]
    assert len(variables) == len(set(variables))


def test_secrets_are_no_options_and_not_shown(base_env: dict[str, str]) -> None:
    secrets = [o for o in OPTIONS if o.secret]
    assert {o.name for o in secrets} == {"zmq_private_key", "emergency_lock_key"}
    assert not any(o.flags for o in secrets)
    env = base_env | {o.env[0]: KEYS[0] for o in secrets}
    settings, _ = parse([], env)
    assert settings.zmq_private_key == KEYS[0]
    assert KEYS[0] not in repr(settings)


@pytest.mark.parametrize("key", ["short", "ä" * 40, "a" * 41])
def test_bad_private_key_is_refused_without_being_told(key: str, base_env: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="40 characters") as info:
        parse([], base_env | {"QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER": key})
    assert key not in str(info.value)


def test_reference_page_is_up_to_date() -> None:
    stored = Path(__file__).parents[3] / "docs" / "reference" / "options.md"
    assert stored.read_text(encoding="utf-8") == page()
