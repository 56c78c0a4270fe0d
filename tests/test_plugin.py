"""A method from outside: the package of docs/new-method.md, built, installed and used as told."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

Bench = Callable[..., subprocess.CompletedProcess[str]]
GUIDE = Path(__file__).parents[1] / "docs" / "new-method.md"
BUILD = "import sys; from setuptools import build_meta as b; b.__legacy__.build_wheel(sys.argv[1])"


def block(language: str) -> str:
    """The guide's only code block in a language."""
    (found,) = re.findall(
        rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE
    )
    return found


def test_the_guide_takes_forty_lines():
    typed = [line for name in ("python", "toml", "sh") for line in block(name).splitlines()]
    assert len(typed) <= 40


def install(package: Path, site: Path) -> None:
    """Build a wheel with the package's own settings, as pip would, and unpack it: no network."""
    wheels = package / "wheels"
    subprocess.run(
        [sys.executable, "-c", BUILD, str(wheels)],
        cwd=package, check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    (wheel,) = wheels.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the guide's package is installed."""
    folder = tmp_path_factory.mktemp("plugin")
    package = folder / "bright"
    package.mkdir()
    (package / "bright.py").write_text(block("python"))
    (package / "pyproject.toml").write_text(block("toml"))
    install(package, folder / "site")
    return folder / "site"


@pytest.fixture
def with_plugins(bench: Bench) -> Bench:
    """Return a function that runs the command with these folders on Python's path."""

    def run(*arguments: str, sites: list[Path]) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([*map(str, sites), os.environ.get("PYTHONPATH", "")])
        return bench(*arguments, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"})

    return run


@pytest.mark.parametrize(
    "shortened",
    [
        pytest.param(["--protocol", "smoke[epochs=1]"], id="short training"),
        pytest.param([], id="to the letter", marks=pytest.mark.slow),
    ],
)
def test_the_guide_s_commands_do_what_it_says(
    with_plugins: Bench, site: Path, tmp_path: Path, shortened: list[str]
):
    install_line, *commands = [shlex.split(line) for line in block("sh").splitlines()]
    assert install_line == ["pip", "install", "./bright"]
    said = {}
    for program, *arguments in commands:
        assert program == "bench"
        extra = shortened if arguments[0] == "run" else []
        done = with_plugins(*arguments, *extra, sites=[site])
        assert done.returncode == 0, done.stdout + done.stderr
        said[arguments[0]] = said.get(arguments[0], "") + done.stdout
    assert "bright: brightest (none)\n" in said["list"]
    assert "power (float) = 1.0\n      a number" in said["list"]
    assert "FAIL" not in said["check"]
    assert "  balance             pass: " in said["check"]
    assert "bright" in said["run"]
    report = (tmp_path / "results" / "report.md").read_text()
    for method in ("bright", "full", "random"):
        assert re.search(rf"^\| *`?{method}`? *\|.*[0-9]", report, re.MULTILINE), report


@pytest.fixture
def broken_site(tmp_path: Path) -> Path:
    """A folder with an installed plugin that raises when it is imported."""
    package = tmp_path / "broken"
    package.mkdir()
    (package / "shady.py").write_text("raise ImportError('no module named moonlight')\n")
    settings = block("toml").replace("bright", "shady")
    (package / "pyproject.toml").write_text(settings)
    install(package, tmp_path / "broken-site")
    return tmp_path / "broken-site"


def test_a_broken_plugin_is_told_and_harms_nothing(
    with_plugins: Bench, site: Path, broken_site: Path
):
    sites = [broken_site, site]
    listed = json.loads(with_plugins("list", "methods", "--json", sites=sites).stdout)
    assert listed["broken"] == {"shady": "shady: ImportError: no module named moonlight"}
    names = {method["name"] for method in listed["methods"]}
    assert {"bright", "random", "full"} < names
    assert "shady" not in names
    shown = with_plugins("list", "methods", sites=sites).stdout
    assert "shady: broken plugin, not available (shady: ImportError: no module" in shown
    assert with_plugins("check", "bright", sites=sites).returncode == 0
    asked = with_plugins("check", "shady", sites=sites)
    assert asked.returncode == 2
    assert "no module named moonlight" in asked.stderr
