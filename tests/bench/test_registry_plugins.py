"""Registries: what plugins add, and what broken ones do to the others."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import plugins
import pytest

from bench.components import Component
from bench.errors import UsageError
from bench.registry import Registry


class Thing(Component):
    """The base of this file's components."""


THINGS: Registry[Thing] = Registry("thing", Thing)


@THINGS.register("toy")
@dataclass(frozen=True)
class Toy(Thing):
    bins: int = 10


def with_plugins(monkeypatch, **modules):
    """Return a registry whose plugins are these entry points."""

    def entry_points(group):
        return [EntryPoint(name, value, group) for name, value in modules.items()]

    monkeypatch.setattr("bench.registry.entry_points", entry_points)
    return Registry("thing", Thing, plugins="some.group")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("import a_package_that_is_not_there", "ModuleNotFoundError"),
        ("this is no Python", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_plugin_that_fails_is_listed_and_harms_nothing(monkeypatch, tmp_path, source, reason):
    (tmp_path / "failing_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    registry = with_plugins(monkeypatch, failing="failing_plugin", fine=__name__)
    registry.register("toy")(Toy)
    assert registry.names() == ["toy"]
    assert registry.make_one("toy") == Toy()
    assert list(registry.broken()) == ["failing"]
    assert "failing_plugin" in registry.broken()["failing"]
    assert reason in registry.broken()["failing"]


def test_a_plugin_that_registers_nothing_is_told_so(monkeypatch):
    registry = with_plugins(monkeypatch, forgetful="json")
    registry.register("toy")(Toy)
    told = "json: it registers no thing. Write @register(NAME) above the class"
    assert registry.broken() == {"forgetful": told}


def test_asking_for_a_broken_plugin_by_name_tells_why_it_is_not_there(monkeypatch):
    registry = with_plugins(monkeypatch, gone="a_module_that_is_not_there")
    with pytest.raises(UsageError, match=r"unknown thing 'gone'.*No module named"):
        registry.get("gone")


def test_plugins_are_imported_when_a_name_is_asked_for_and_once(monkeypatch, tmp_path):
    (tmp_path / "counting_plugin.py").write_text(
        f"open({str(tmp_path / 'log')!r}, 'a').write('imported ')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = with_plugins(monkeypatch, counting="counting_plugin")
    assert not (tmp_path / "log").exists()
    registry.names()
    registry.broken()
    monkeypatch.delitem(sys.modules, "counting_plugin")
    with pytest.raises(UsageError):
        registry.get("none")
    assert (tmp_path / "log").read_text() == "imported "


INSTALLED_PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar
from bench.contract import Method, MethodInfo, register

INFO = MethodInfo(title="t", paper="p", year=2025, kind="selection", code="c")

@register("mine")
@dataclass(frozen=True)
class Mine(Method):
    info: ClassVar[MethodInfo] = INFO
    alpha: float = 0.5

    def compress(self, train, budget, ctx):
        raise NotImplementedError

@register("random")
@dataclass(frozen=True)
class Clash(Method):
    info: ClassVar[MethodInfo] = INFO
"""


def test_an_installed_plugin_adds_methods_and_cannot_take_the_name_of_ours(tmp_path):
    # its folder comes first on the path, so that its entry point is found first
    environment = plugins.install(tmp_path, "aaa", INSTALLED_PLUGIN)
    code = (
        "from bench.contract import METHODS\n"
        "print(METHODS.names())\n"
        "print(METHODS.get('random').__module__, METHODS.make_one('mine[alpha=1]').spec)\n"
        "print(METHODS.broken())\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, check=True, env=environment,
    )  # fmt: skip
    names, made, broken = answer.stdout.splitlines()
    assert "'adq'" in names
    assert "'mine'" in names
    assert made == "methods.random mine[alpha=1.0]"
    assert "method 'random' exists twice" in broken
    assert "'builtin'" not in broken
