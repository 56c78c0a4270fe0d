"""The command's everyday use: plans, runs, sweep files, where a number comes from, reports."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import COMMAND

from bench.storage import read_json

pytestmark = pytest.mark.usefixtures("one_thread")

Bench = Callable[..., subprocess.CompletedProcess[str]]
SWEEP = ("--methods", "random", "--ratios", "10,20", "--seeds", "1", "--no-baselines",
         "--protocol", "smoke[epochs=1]")  # fmt: skip


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

    def test_the_command_that_it_names_for_a_number_can_be_typed(
        self, bench: Bench, finished: Path
    ) -> None:
        folder = finished.rename(finished.parent / "my results")
        told = bench("run", *SWEEP, "--results", str(folder)).stderr.splitlines()[-1]
        program, *arguments = shlex.split(told.removeprefix("A number's origin: "))
        assert program == "bench"
        assert "random at 20 %" in bench(*arguments).stdout

    def test_tables_are_shown_and_no_report_is_named_where_it_cannot_be_written(
        self, bench: Bench, finished: Path
    ) -> None:
        (finished / "report.md").unlink()
        (finished / "report.md").mkdir()  # also root cannot write a file there
        told = bench("run", *SWEEP)
        assert told.returncode == 1
        assert "accuracy %" in told.stdout
        assert "cannot write results/report.md" in told.stderr
        assert "Report:" not in told.stderr
        told = bench("run", *SWEEP, "--json")
        assert told.returncode == 1
        content = json.loads(told.stdout)
        assert content["report"] is None
        assert content["tables"]


class TestRetry:
    def test_it_ends_as_a_run_does_and_leaves_no_stale_report(
        self, bench: Bench, finished: Path
    ) -> None:
        next((finished / "records").iterdir()).unlink()
        assert bench("report", "--check").returncode == 1
        told = bench("retry")
        assert told.returncode == 0
        first, _, rest = told.stdout.partition("\n")
        assert first == "1 cells computed, 0 failed."
        assert bench("report", "--check").returncode == 0
        run = bench("run", *SWEEP)
        assert rest == run.stdout
        assert told.stderr.splitlines()[-2:] == run.stderr.splitlines()[-2:]
        assert "Report: results/report.md" in told.stderr

    def test_where_nothing_is_missing_the_report_is_written_nevertheless(
        self, bench: Bench, finished: Path
    ) -> None:
        (finished / "report.md").unlink()
        told = bench("retry")
        assert told.returncode == 0
        assert "Nothing to compute" in told.stdout
        assert (finished / "report.md").is_file()


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
