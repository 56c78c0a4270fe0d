"""``bench check``: its lines, its JSON, its exit codes, and what it says of wrong use."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import plugins
import pytest
import torch

from bench.cli import main
from bench.contract import METHODS

Bench = Callable[..., subprocess.CompletedProcess[str]]

PLUGIN = '''
from dataclasses import dataclass
import numpy as np
from bench.contract import CompressedSet, Method, MethodInfo, register
from bench.errors import UsageError

@dataclass(frozen=True)
class First(Method):
    """Keep the first images."""

    info = MethodInfo("first", "none", 2026, "selection", "here", seeded=False)

    def compress(self, train, budget, ctx):
        return CompressedSet(np.arange(budget.images(len(train))))

@register("slow")
@dataclass(frozen=True)
class Slow(First):
    quick = {"steps": 2}
    steps: int = 10**9

    def compress(self, train, budget, ctx):
        for _ in range(self.steps):
            ctx.progress("steps", 1, 1)
        return super().compress(train, budget, ctx)

@register("greedy")
@dataclass(frozen=True)
class Greedy(First):
    def compress(self, train, budget, ctx):
        return CompressedSet(np.arange(min(len(train), budget.images(len(train)) + 1)))

@register("weightless")
@dataclass(frozen=True)
class Weightless(First):
    def compress(self, train, budget, ctx):
        raise UsageError("weights of 'vit' are not here. Put them into HF_HOME")
'''


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment with the toys installed as a plugin."""
    return plugins.install(tmp_path / "site", "toys", PLUGIN)


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def check(
    own_methods, monkeypatch, capsys, environment, tmp_path: Path
) -> Iterator[Callable[..., Done]]:
    """Return a function that runs the command in this process, with the toys registered."""
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(tmp_path / "site")
    import_module("toys_plugin")

    def run(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["bench", "check", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return Done(ended.value.code, told.out, told.err)

    yield run
    del sys.modules["toys_plugin"]
    torch.set_num_threads(threads)


def test_a_plugin_is_checked_in_a_process_of_its_own(
    bench: Bench, environment: dict[str, str], tmp_path: Path
):
    done = bench("check", "slow", "greedy", env=environment)
    assert done.returncode == 1
    assert done.stderr == ""
    assert done.stdout.startswith("slow, checked as slow[steps=2]\n")
    assert "\ngreedy\n" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"site"}


def test_a_method_that_keeps_its_promises_gets_a_line_for_each(check):
    done = check("random")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    name, *lines, summary = done.stdout.splitlines()
    assert name == "random"
    assert "  count               pass: 24, 8, 15, 40, 81, 121 images" in lines
    assert len(lines) == 20
    assert all(": " in line and ("  pass: " in line or "  not app" in line) for line in lines)
    assert summary.startswith("  all of 20 properties pass or do not apply (")


def test_a_failing_method_is_told_and_the_code_is_1(check):
    done = check("greedy", "random")
    assert done.returncode == 1
    assert "  count               FAIL: 25 images instead of 24 (20 % of 121)" in done.stdout
    assert "\n  2 of 20 properties fail (" in done.stdout
    assert "\nrandom\n" in done.stdout


def test_json_tells_the_same(check):
    done = check("greedy", "slow", "--json")
    assert done.returncode == 1
    greedy, slow = json.loads(done.stdout)["methods"]
    verdicts = {one["name"]: one["verdict"] for one in greedy["properties"]}
    assert {name for name, verdict in verdicts.items() if verdict == "FAIL"} == {"count", "bytes"}
    assert greedy["failed"] == 2
    assert set(greedy["properties"][0]) == {"name", "about", "verdict", "told"}
    assert (slow["method"], slow["checked_as"]) == ("slow", "slow[steps=2]")
    assert slow["failed"] == 0


def test_quick_values_are_told_and_the_users_own_win(check):
    done = check("slow,slow[steps=3]")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("slow, checked as slow[steps=2]\n")
    assert "\nslow[steps=3]\n" in done.stdout


def test_what_a_method_lacks_is_wrong_use(check):
    alone = check("weightless")
    assert (alone.returncode, alone.stdout) == (2, "weightless\n")
    assert alone.stderr == "error: weights of 'vit' are not here. Put them into HF_HOME\n"
    among = check("weightless", "random")
    assert among.returncode == 2
    assert "\n  not checked: weights of 'vit' are not here. Put them into HF_HOME\n" in among.stdout
    assert "\nrandom\n" in among.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Name methods, or give --all"),
        (("random", "--all"), "Name methods, or give --all"),
        (("randon",), "Did you mean 'random'"),
        (("slow[steps=many]",), "Give a whole number"),
        (("slow[pace=1]",), "unknown parameter of slow 'pace'"),
    ],
)
def test_wrong_use_is_told_in_a_line_and_nothing_is_run(check, arguments, told):
    done = check(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert "Traceback" not in done.stderr


def test_all_methods_there_are_can_be_checked(check, monkeypatch):
    few = {"random", "full", "slow", "greedy", "weightless"}
    there = {name: METHODS.get(name) for name in {*few, "indices"}}
    monkeypatch.setattr(METHODS, "_classes", there)
    monkeypatch.setitem(METHODS._broken, "shady", "shady: ImportError: no module named moonlight")
    done = check("--all", "--json")
    listed = json.loads(done.stdout)["methods"]
    assert done.returncode == 1
    assert {one["method"] for one in listed} == few
    assert {one["method"] for one in listed if one["refusal"]} == {"weightless"}
    assert done.stderr.startswith("warning: shady: broken plugin, not checked (shady: ImportError")
    assert "note: indices is checked only with its file and sha256\n" in done.stderr
