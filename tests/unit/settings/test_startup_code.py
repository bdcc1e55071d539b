"""Where the start-up code, the lists and the permissions are."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from remanager.cli.start import parse
from remanager.daemon.settings import LISTS_FILE, PERMISSIONS_FILE, Settings, SettingsError
from remanager.demo import DEMO_PROFILE, PROFILE_DIR, copy_profile


class Lab:
    """A lab's directories and a way to resolve settings with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ipython = root / "ipython"
        self.startup = self.ipython / "profile_lab" / "startup"
        self.startup.mkdir(parents=True)
        self.plain = root / "plain"
        self.plain.mkdir()
        self.script = root / "script.py"
        self.script.touch()
        (root / "my.yaml").touch()
        self.files = [f"--existing-plans-devices={root}", f"--user-group-permissions={root / 'my.yaml'}"]

    def settings(self, *argv: str, startup: dict[str, str] | None = None) -> Settings:
        env = {"STATE_DIRECTORY": str(self.root / "state"), "IPYTHONDIR": str(self.ipython)}
        config = self.root / "config.yml"
        config.write_text(yaml.safe_dump({"startup": startup or {}}))
        return parse([*argv, "--config", str(config)], env)[0]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_simulated_instrument_is_the_default(lab: Lab) -> None:
    settings = lab.settings()
    assert settings.demo_mode
    assert settings.startup_dir == PROFILE_DIR
    assert settings.existing_plans_and_devices_path == settings.state_dir / LISTS_FILE
    assert settings.user_group_permissions_path == PROFILE_DIR / PERMISSIONS_FILE


def test_directory(lab: Lab) -> None:
    settings = lab.settings(f"--startup-dir={lab.plain}")
    assert not settings.demo_mode
    assert settings.startup_dir == lab.plain
    assert settings.existing_plans_and_devices_path == lab.plain / LISTS_FILE
    assert settings.user_group_permissions_path == lab.plain / PERMISSIONS_FILE


def test_profile_becomes_a_directory(lab: Lab) -> None:
    for argv in (["--startup-profile=lab"], ["--startup-profile=lab", f"--ipython-dir={lab.ipython}"]):
        settings = lab.settings(*argv)
        assert settings.startup_dir == lab.startup
        assert (settings.startup_profile, settings.ipython_dir) == (None, None)
        assert settings.user_group_permissions_path == lab.startup / PERMISSIONS_FILE


@pytest.mark.parametrize("argv", [["--startup-script=~/s.py"], ["--startup-module=lab.startup"]])
def test_script_and_module_need_paths_of_the_files(lab: Lab, argv: list[str]) -> None:
    with pytest.raises(SettingsError, match="--existing-plans-devices is not given"):
        lab.settings(*argv)
    with pytest.raises(SettingsError, match="--user-group-permissions is not given"):
        lab.settings(*argv, lab.files[0])
    settings = lab.settings(*argv, *lab.files)
    assert settings.startup_dir is None
    assert settings.existing_plans_and_devices_path == lab.root / LISTS_FILE
    assert settings.user_group_permissions_path == lab.root / "my.yaml"
    with_profile = lab.settings(*argv, "--startup-profile=lab", f"--ipython-dir={lab.ipython}")
    assert with_profile.user_group_permissions_path == lab.startup / PERMISSIONS_FILE
    assert with_profile.startup_dir is None
    assert (with_profile.startup_profile, with_profile.ipython_dir) == ("lab", lab.ipython)


@pytest.mark.parametrize(
    "argv",
    [
        ["--startup-dir=a", "--startup-profile=b"],
        ["--startup-dir=a", "--ipython-dir=b"],
        ["--startup-dir=a", "--startup-script=b"],
        ["--startup-module=a", "--startup-script=b"],
        ["--startup-dir=a", "--startup-profile=b", "--use-ipython-kernel=ON"],
        ["--startup-module=a", "--startup-script=b", "--use-ipython-kernel=ON"],
    ],
)
def test_place_given_twice(lab: Lab, argv: list[str]) -> None:
    with pytest.raises(SettingsError, match="given twice in the options"):
        lab.settings(*argv)


def test_place_given_twice_in_the_file(lab: Lab) -> None:
    with pytest.raises(SettingsError, match="given twice in the configuration file"):
        lab.settings(startup={"startup_module": "a", "startup_dir": "b"})


def test_options_replace_the_file_as_a_whole(lab: Lab) -> None:
    in_file = {"startup_module": "lab.startup"}
    settings = lab.settings(f"--startup-dir={lab.plain}", startup=in_file)
    assert (settings.startup_dir, settings.startup_module) == (lab.plain, None)
    settings = lab.settings("--startup-profile=lab", startup=in_file)
    assert (settings.startup_dir, settings.startup_module) == (lab.startup, None)
    settings = lab.settings(*lab.files, startup=in_file)
    assert (settings.startup_dir, settings.startup_module) == (None, "lab.startup")


def test_missing_directories(lab: Lab) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        lab.settings("--startup-dir=/nonexistent")
    with pytest.raises(SettingsError, match="is not a directory"):
        lab.settings(f"--startup-dir={lab.script}")
    with pytest.raises(SettingsError, match="directory for the list of plans and devices does not exist"):
        lab.settings(f"--startup-dir={lab.plain}", "--existing-plans-devices=/nonexistent/list.yaml")


def test_kernel_takes_a_profile(lab: Lab) -> None:
    for place in (f"--startup-dir={lab.startup}", "--startup-profile=lab"):
        settings = lab.settings("--use-ipython-kernel=ON", place)
        assert settings.startup_dir is None
        assert settings.startup_profile == "lab"
        assert settings.user_group_permissions_path == lab.startup / PERMISSIONS_FILE
    with pytest.raises(SettingsError, match="profile_<name>/startup"):
        lab.settings("--use-ipython-kernel=ON", f"--startup-dir={lab.plain}")


def test_kernel_loads_a_script_after_the_profile(lab: Lab) -> None:
    settings = lab.settings(
        "--use-ipython-kernel=ON", f"--startup-script={lab.script}", startup={"startup_profile": "lab"}
    )
    assert (settings.startup_profile, settings.startup_script) == ("lab", lab.script)


def test_kernel_with_the_simulated_instrument(lab: Lab) -> None:
    settings = lab.settings("--use-ipython-kernel=ON")
    assert settings.demo_mode
    assert settings.startup_profile == DEMO_PROFILE
    assert settings.ipython_dir is not None
    copied = copy_profile(settings.ipython_dir)
    assert copied == settings.ipython_dir / f"profile_{DEMO_PROFILE}" / "startup"
    assert {p.name for p in copied.iterdir()} == {p.name for p in PROFILE_DIR.glob("*.*")}
