"""The command's everyday use: help, listings, plans, sweep files, reports, completion."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import COMMAND

from bench.storage import read_json

Bench = Callable[..., subprocess.CompletedProcess[str]]
SWEEP = ("--methods", "random", "--ratios", "10,20", "--seeds", "1", "--no-baselines",
         "--protocol", "smoke[epochs=1]")  # fmt: skip
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


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Give the folder in which a small sweep was run with --json; its output is in ``out``."""
    folder = tmp_path_factory.mktemp("ran")
    done = subprocess.run(
        [*COMMAND, "run", *SWEEP, "--json"],
        cwd=folder, check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    (folder / "out").write_text(done.stdout)
    return folder


@pytest.fixture
def finished(ran: Path, tmp_path: Path) -> Path:
    """Give a copy of the small sweep's results in the test's own folder."""
    return shutil.copytree(ran / "results", tmp_path / "results")


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
        info = tmp_path / "wonky-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wonky\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[bench.methods]\nwonky = wonky_module\n")
        (tmp_path / "wonky_module.py").write_text("import not_installed_anywhere\n")
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
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


class TestPlan:
    def test_plan_and_dry_run_agree_and_write_nothing(self, bench: Bench, tmp_path: Path) -> None:
        asked = ("--methods", "dq,adq[alpha=[0,0.5]]", "--ratios", "10,12.5")
        planned, dry = bench("plan", *asked), bench("run", "--dry-run", *asked)
        assert planned.returncode == dry.returncode == 0
        assert planned.stdout == dry.stdout
        assert planned.stderr == dry.stderr == ""
        assert as_json(bench("plan", *asked, "--json")) == as_json(
            bench("run", "--dry-run", *asked, "--json")
        )
        assert list(tmp_path.iterdir()) == []

    def test_it_counts_cells_images_and_shared_artefacts(self, bench: Bench) -> None:
        plan = as_json(bench("plan", "--methods", "dq,adq", "--ratios", "10,20", "--json"))
        specs = [(cell["method"], cell["percent"], cell["training_seed"]) for cell in plan["cells"]]
        assert len(specs) == len(set(specs)) == 3 * (1 + 2 + 2 + 2)
        assert {cell["images_seen"] for cell in plan["cells"] if cell["method"] == "full"} == {
            30 * 1437
        }
        bins = [entry for entry in plan["artefacts"] if entry["kind"] == "bins"]
        assert sum(entry["cells"] for entry in bins) == 12  # dq's and adq's cells share them
        assert not any(entry["is_there"] for entry in plan["artefacts"])
        assert plan["expected_s"] is None

    def test_it_knows_what_is_done_and_how_long_the_rest_takes(
        self, bench: Bench, finished: Path
    ) -> None:
        plan = as_json(bench("plan", *SWEEP, "--ratios", "10,20,30", "--json"))
        assert [cell["done"] for cell in plan["cells"]] == [True, True, False]
        assert plan["expected_s"] > 0
        assert "1 of 3 cells to compute" in bench("plan", *SWEEP, "--ratios", "10,20,30").stdout

    def test_a_plan_of_a_finished_sweep_changes_nothing(self, bench: Bench, finished: Path) -> None:
        before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
        shown = bench("plan", *SWEEP)
        assert "0 of 2 cells to compute" in shown.stdout
        assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


class TestRun:
    def test_json_is_all_that_stands_on_standard_output(self, ran: Path) -> None:
        told = json.loads((ran / "out").read_text())
        assert list(told) == ["tables", "report"]
        assert (ran / told["report"]).is_file()

    def test_json_and_records_tell_the_same_accuracies(self, ran: Path) -> None:
        accuracies = {
            record["metrics"]["accuracy"]
            for record in map(json.loads, (p.read_text() for p in ran.glob("results/records/*")))
        }
        told = json.loads((ran / "out").read_text())["tables"][0]
        assert {row["accuracy"]["mean"] for row in told["rows"]} == accuracies

    def test_a_table_is_shown_where_json_is_not_asked_for(
        self, bench: Bench, finished: Path
    ) -> None:
        shown = bench("run", *SWEEP)
        assert shown.returncode == 0
        assert "accuracy %" in shown.stdout
        assert shown.stdout.count("\nrandom ") == 4  # accuracy and cost at two ratios
        assert "report.md" in shown.stderr


class TestSweepFiles:
    def plan(self, bench: Bench, *arguments: str) -> list[dict[str, Any]]:
        cells: list[dict[str, Any]] = as_json(bench("plan", *arguments, "--json"))["cells"]
        return cells

    def test_a_sweep_file_means_what_its_options_mean(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "sweep.toml").write_text(
            'methods = ["random", "adq[alpha=[0,1]]"]\nratios = [10, 12.5]\nseeds = 2\n'
            'selection-seeds = 2\nno-baselines = true\nprotocol = "smoke[epochs=2]"\n'
            'models = "resnet8[width=4]"\ndataset = "digits"\n'
        )
        asked = (
            "--methods", "random,adq[alpha=[0,1]]", "--ratios", "10,12.5", "--seeds", "2",
            "--selection-seeds", "2", "--no-baselines", "--protocol", "smoke[epochs=2]",
            "--models", "resnet8[width=4]",
        )  # fmt: skip
        from_file = self.plan(bench, "sweep.toml")
        assert from_file == self.plan(bench, *asked)
        assert len(from_file) == 3 * 2 * 4

    def test_the_command_line_wins_even_with_a_default(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "sweep.toml").write_text(
            'methods = "random"\nratios = 30\nseeds = 1\nno_baselines = true\n'
        )
        cells = self.plan(bench, "sweep.toml", "--ratios", "10,20,30", "--seeds", "2")
        assert [cell["percent"] for cell in cells] == [10, 20, 30] * 2
        assert {cell["method"] for cell in cells} == {"random"}

    def test_data_is_found_beside_the_sweep_file(
        self, bench: Bench, image_folder: Callable[..., Path], tmp_path: Path
    ) -> None:
        image_folder()
        (tmp_path / "sweeps").mkdir()
        (tmp_path / "sweeps" / "mine.toml").write_text(
            'dataset = "imagefolder"\ndata = "../images"\nmethods = "random"\nratios = "50"\n'
        )
        cells = self.plan(bench, "sweeps/mine.toml")
        assert {cell["dataset"] for cell in cells} == {"imagefolder"}


class TestWhy:
    def test_the_first_characters_of_an_id_are_enough(self, bench: Bench, finished: Path) -> None:
        for path in (finished / "records").iterdir():
            digest = path.stem.removeprefix("cell-2-")
            for start in (path.stem, path.stem[:12], digest, digest[:5]):
                assert as_json(bench("why", start)) == read_json(path)

    def test_the_record_tells_where_a_number_comes_from(self, bench: Bench, finished: Path) -> None:
        path = next((finished / "records").iterdir())
        told = as_json(bench("why", path.stem))
        assert told["id"] == path.stem
        assert told["cell"]["method"]["name"] == "random"
        assert {"metrics", "compressed", "cost", "provenance", "weights_digest"} <= told.keys()


class TestReport:
    def test_a_report_written_again_is_the_same(self, bench: Bench, finished: Path) -> None:
        report = finished / "report.md"
        written = {path: path.read_bytes() for path in (report, *finished.glob("figures/*"))}
        report.unlink()
        again = bench("report")
        assert again.returncode == 0
        assert again.stdout == "results/report.md\n"
        assert {path: path.read_bytes() for path in written} == written

    def test_a_report_of_the_same_records_has_the_same_bytes(
        self, bench: Bench, finished: Path
    ) -> None:
        files = [path for path in finished.rglob("*") if path.is_file()]
        before = {path: path.read_bytes() for path in files}
        (finished / "report.md").write_text("edited")
        assert bench("report").returncode == 0
        assert {path: path.read_bytes() for path in files} == before

    def test_a_folder_that_holds_no_results_is_left_alone(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / "report.md").write_text("mine")
        assert bench("report").returncode == 2
        assert (tmp_path / "results" / "report.md").read_text() == "mine"


class TestCompletion:
    @pytest.mark.parametrize(
        ("shell", "sign"),
        [("bash", "complete "), ("zsh", "#compdef bench"), ("fish", "complete --no-files")],
    )
    def test_each_shell_has_its_script(self, bench: Bench, shell: str, sign: str) -> None:
        script = bench("completion", shell)
        assert script.returncode == 0
        assert sign in script.stdout
        assert "_BENCH_COMPLETE" in script.stdout

    def test_another_shell_is_refused_with_those_that_there_are(self, bench: Bench) -> None:
        refused = bench("completion", "powershell")
        assert refused.returncode == 2
        assert "'bash', 'zsh', 'fish'" in refused.stderr

    def offered(self, bench: Bench, shell: str, typed: str, incomplete: str) -> list[str]:
        words = f"{typed} {incomplete}"
        environment = {**os.environ, "_BENCH_COMPLETE": f"{shell}_complete"}
        if shell == "fish":
            environment |= {"COMP_WORDS": words, "COMP_CWORD": incomplete}
        else:
            environment |= {"COMP_WORDS": words, "COMP_CWORD": str(len(typed.split()))}
        lines = bench(env=environment).stdout.splitlines()
        if shell == "zsh":  # three lines an offer: kind, value, help
            return lines[1::3]
        return [line.partition(",")[2] for line in lines]

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_methods_are_offered_after_a_comma(self, bench: Bench, shell: str) -> None:
        offered = self.offered(bench, shell, "bench run --methods", "random,d")
        assert "random,dq" in offered
        assert all(value.startswith("random,d") for value in offered)

    @pytest.mark.parametrize(
        ("option", "started", "value"),
        [
            ("--dataset", "dig", "digits"),
            ("--models", "resnet1", "resnet18"),
            ("--protocol", "sm", "smoke"),
        ],
    )
    def test_names_are_offered_for_the_other_options(
        self, bench: Bench, option: str, started: str, value: str
    ) -> None:
        assert self.offered(bench, "bash", f"bench run {option}", started) == [value]

    def test_the_fish_script_keeps_values_with_commas_whole(self, bench: Bench) -> None:
        assert 'string split --max 1 ","' in bench("completion", "fish").stdout

    @pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
    def test_bash_itself_completes_a_method_after_a_comma(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        (tmp_path / "bench").write_text(
            f"#!/bin/sh\nexec '{sys.executable}' -c 'from bench.cli import main; main()' \"$@\"\n"
        )
        (tmp_path / "bench").chmod(0o755)
        (tmp_path / "completion.sh").write_text(bench("completion", "bash").stdout)
        asked = (
            "source ./completion.sh; COMP_WORDS=(bench run --methods random,a); COMP_CWORD=3; "
            '_bench_completion bench; echo "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ["bash", "--norc", "-c", asked],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )  # fmt: skip
        assert done.stdout.split() == ["random,adq"], done.stderr
