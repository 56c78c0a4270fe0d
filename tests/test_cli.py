"""What the command tells of itself and of what there is: help and listings."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plugins
import pytest

pytestmark = pytest.mark.usefixtures("one_thread")

Bench = Callable[..., subprocess.CompletedProcess[str]]
COMMANDS = (
    "cancel", "check", "clean", "completion", "compress", "doctor", "list", "pictures", "plan",
    "report", "reproduce", "retry", "run", "status", "why",
)  # fmt: skip
SHOWN = {
    "methods": ("random", "dq", "adq"),
    "datasets": ("digits", "cifar10", "imagefolder"),
    "models": ("resnet8", "resnet18"),
    "protocols": ("smoke", "paper"),
}
IN_FULL = {
    ("methods", "adq"): ("alpha (float) = 0.65", "a number from 0 to 1", "methods.adq", "2025"),
    ("methods", "dq"): ("cosine with edition=released", "kind          selection"),
    ("datasets", "imagefolder"): ("size (int) = 0", "a whole number from 0 to 1024"),
    ("models", "resnet8"): ("width (int) = 16", "a whole number from 1 to 1024"),
    ("protocols", "paper"): ("schedule (str) = epoch", "epoch or step or drop"),
}


def as_json(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


class TestHelp:
    @pytest.mark.parametrize("option", ["--help", "-h"])
    def test_help_names_all_commands_and_an_example(self, bench: Bench, option: str) -> None:
        shown = bench(option)
        assert shown.returncode == 0
        assert shown.stderr == ""
        for command in COMMANDS:
            assert f"\n  {command} " in shown.stdout
        assert "\n  bench run --methods dq,adq --ratios 10,20,30  " in shown.stdout

    def test_without_arguments_the_help_is_shown(self, bench: Bench) -> None:
        assert bench().stderr == bench("--help").stdout

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_tells_what_it_does(self, bench: Bench, command: str) -> None:
        shown = bench(command, "--help")
        assert shown.returncode == 0
        assert shown.stdout.startswith(f"Usage: bench {command} ")
        summary = shown.stdout.splitlines()[2]
        assert summary.startswith("  ")
        assert len(summary) > 20

    def test_options_of_a_run_tell_their_defaults(self, bench: Bench) -> None:
        shown = " ".join(bench("run", "--help").stdout.split())
        for default in ("digits", "dq,adq", "10,20,30", "3; x>=1", "results", "auto"):
            assert f"[default: {default}]" in shown

    def test_plan_takes_the_options_of_a_run_that_say_what_to_run(self, bench: Bench) -> None:
        plan, run = (bench(command, "--help").stdout for command in ("plan", "run"))
        offered = {word for word in run.split() if word.startswith("--")}
        assert {word for word in plan.split() if word.startswith("--")} == offered - {
            "--device",
            "--threads",
            "--pack",
            "--gpus-per-cell",
            "--stream",
            "--workers",
            "--dry-run",
            "--slurm",
        }

    def test_version_is_that_of_the_project(self, bench: Bench) -> None:
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
        assert bench("--version").stdout == f"bench, version {project['project']['version']}\n"


class TestList:
    @pytest.mark.parametrize(("kind", "texts"), SHOWN.items())
    def test_it_shows_a_line_each(self, bench: Bench, kind: str, texts: tuple[str, ...]) -> None:
        shown = bench("list", kind)
        assert shown.returncode == 0
        assert shown.stderr == ""
        for text in texts:
            assert f"\n{text}: " in f"\n{shown.stdout}"

    @pytest.mark.parametrize(("asked", "texts"), IN_FULL.items())
    def test_it_shows_one_in_full(
        self, bench: Bench, asked: tuple[str, str], texts: tuple[str, ...]
    ) -> None:
        shown = bench("list", *asked)
        assert shown.returncode == 0
        for text in texts:
            assert text in shown.stdout
        (told,) = as_json(bench("list", *asked, "--json"))[asked[0]]
        assert told["name"] == asked[1]
        for parameter in told["parameters"]:
            assert f"  {parameter['name']} ({parameter['type']}) = " in shown.stdout
            assert parameter["allowed"]

    def test_one_that_there_is_not_is_told_with_a_hint(self, bench: Bench) -> None:
        refused = bench("list", "methods", "adk")
        assert refused.returncode == 2
        assert "Did you mean 'adq'?" in refused.stderr

    @pytest.mark.parametrize("kind", SHOWN)
    def test_json_tells_the_same(self, bench: Bench, kind: str) -> None:
        told = as_json(bench("list", kind, "--json"))
        shown = bench("list", kind).stdout
        assert list(told) == [kind]
        for entry in told[kind]:
            assert f"{entry['name']}: {entry['about']}" in shown

    def test_methods_tell_their_paper_and_whether_code_was_released(self, bench: Bench) -> None:
        for method in as_json(bench("list", "methods", "--json"))["methods"]:
            told = {"title", "paper", "year", "kind", "code", "released", "editions"}
            assert told <= method.keys()
            assert isinstance(method["released"], bool)
            editions = set(method["editions"])
            if len(editions) > 1:
                assert {"paper", "released"} <= editions
            elif method["reconstruction"]:
                assert editions == {"reconstruction"}
            else:
                has_source = method["year"] is not None
                follows_a_paper = has_source and method["kind"] in ("selection", "synthesis")
                assert editions == {"paper" if follows_a_paper else "own"}
            assert (method["year"] is None) == method["paper"].startswith("none")

    def test_a_broken_plugin_is_named_and_harms_no_other(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        environment = plugins.install(tmp_path, "wonky", "import not_installed_anywhere\n")
        shown = bench("list", "methods", env=environment)
        assert shown.returncode == 0
        assert "wonky: broken plugin" in shown.stdout
        assert "not_installed_anywhere" in shown.stdout
        assert "\nrandom: " in shown.stdout
        told = as_json(bench("list", "methods", "--json", env=environment))
        assert "not_installed_anywhere" in told["broken"]["wonky"]
        refused = bench("plan", "--methods", "wonky", env=environment)
        assert refused.returncode == 2
        assert "not_installed_anywhere" in refused.stderr
