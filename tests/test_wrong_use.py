"""Wrong use of the real command: one or two lines that help, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command import run_command

from bench.storage import write_json

pytestmark = pytest.mark.usefixtures("one_thread")

Bench = Callable[..., subprocess.CompletedProcess[str]]
SWEEP = ("--methods", "random", "--no-baselines", "--seeds", "1", "--protocol", "smoke[epochs=1]")
FINISHED = ("run", *SWEEP, "--ratios", "10,20")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """Give the folder that the command was run in; its ``results`` hold two complete cells."""
    folder = tmp_path_factory.mktemp("finished")
    run_command(*FINISHED, cwd=folder).check_returncode()
    assert len(list((folder / "results" / "records").iterdir())) == 2
    return folder / "results"


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """Give a copy of the finished results in the test's own folder."""
    return shutil.copytree(finished, tmp_path / "results")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_told(result: subprocess.CompletedProcess[str], code: int, *texts: str) -> None:
    assert result.returncode == code, result.stderr
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= 2, result.stderr
    assert "Traceback" not in result.stderr
    for text in texts:
        assert text in result.stderr
    assert result.stdout == ""


def accuracies(folder: Path) -> dict[str, float]:
    records = map(json.loads, (p.read_text() for p in (folder / "records").glob("*.json")))
    return {record["id"]: record["metrics"]["accuracy"] for record in records}


WRONG = {
    "method": (["--methods", "dq,randm"], ["unknown method 'randm'", "Did you mean 'random'?"]),
    "no method": (["--methods", ""], ["no method", "bench list methods"]),
    "method twice": (["--methods", "dq,dq"], ["'dq'", "twice"]),
    "parameter": (
        ["--methods", "adq[alfa=1]"], ["adq", "'alfa'", "Did you mean 'alpha'?"],
    ),
    "parameter's range": (["--methods", "adq[alpha=2]"], ["alpha=2", "from 0 to 1"]),
    "parameter's type": (["--methods", "dq[bins=ten]"], ["bins=ten", "a whole number"]),
    "parameter's choice": (["--methods", "adq[scores=x]"], ["scores=x", "rs+ds"]),
    "bracket": (["--methods", "adq[alpha=1"], ["brackets do not match", "adq[alpha=1"]),
    "data set": (["--dataset", "digts"], ["'digts'", "Did you mean 'digits'?"]),
    "model": (["--models", "resnet9"], ["'resnet9'", "Did you mean 'resnet8'?"]),
    "no model": (["--models", ""], ["no model", "bench list models"]),
    "protocol": (["--protocol", "smoek"], ["'smoek'", "Did you mean 'smoke'?"]),
    "no protocol": (["--protocol", ""], ["no protocol", "bench list protocols"]),
    "ratio 0": (["--ratios", "0"], ["ratio 0 ", "above 0 and at most 100"]),
    "ratio -5": (["--ratios", "-5"], ["ratio -5", "above 0 and at most 100"]),
    "ratio 101": (["--ratios", "10,101"], ["ratio 101", "above 0 and at most 100"]),
    "ratio ten": (["--ratios", "ten"], ["'ten' is not a number", "for example 20"]),
    "ratio nan": (["--ratios", "nan"], ["'nan'", "above 0 and at most 100"]),
    "ratio twice": (["--ratios", "10,10"], ["10 is given twice", "Give it once"]),
    "ratio twice, written in two ways": (["--ratios", "10,1e1"], ["10 is given twice"]),
    "no ratio": (["--ratios", ""], ["''", "for example 20"]),
    "ratio with %": (["--ratios", "5,10 %"], ["'10 %' is not a number", "Did you mean 10?"]),
    "seeds 0": (["--seeds", "0"], ["'--seeds'", "0", "bench run --help"]),
    "seeds without end": (
        ["--seeds", "100000000"],
        ["300,000,000 cells", "100,000,000 runs of 3", "At most 1,000,000", "fewer seeds"],
    ),
    "seeds ten": (["--seeds", "ten"], ["'--seeds'", "'ten'", "bench run --help"]),
    "device": (["--ratios", "30", "--device", "nonsense"], ["'nonsense'", "auto, cpu, cuda"]),
    "option": (["--ratio", "10"], ["'--ratio'", "--ratios", "bench run --help"]),
    "option without value": (["--methods"], ["'--methods' requires an argument"]),
    "missing folder": (
        ["--dataset", "imagefolder", "--data", "nowhere"], ["nowhere does not exist", "--data"],
    ),
    "no data": (["--dataset", "imagefolder"], ["imagefolder needs --data PATH"]),
    "empty folder": (
        ["--dataset", "imagefolder", "--data", "."], ["train/CLASS/IMAGE", "test/CLASS/IMAGE"],
    ),
    "missing sweep file": (["nowhere.toml"], ["nowhere.toml", "No such file"]),
    "too many threads": (["--threads", "100000"], ["--threads", "1<=x<=1024"]),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "texts"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_is_told_and_changes_nothing(
    bench: Bench, finished: Path, tmp_path: Path, arguments: list[str], texts: list[str]
) -> None:
    before = contents(finished)
    asked = bench("run", "--results", str(finished), *SWEEP, *arguments)
    assert_told(asked, 2, *texts)
    assert contents(finished) == before
    assert list(tmp_path.iterdir()) == []


OTHER_COMMANDS = {
    "command": (["rnu"], ["'rnu'", "Did you mean 'run'?"]),
    "kind": (["list", "method"], ["'method'", "'methods'"]),
    "no cell": (["why"], ["CELL", "bench why --help"]),
    "report of nothing": (["report", "--results", "nowhere"], ["nowhere", "--results"]),
    "plan": (["plan", "--methods", "randm"], ["Did you mean 'random'?"]),
    "dry run elsewhere": (
        ["run", "--dry-run", "--results", str(Path(__file__).parent)],
        ["has files but is no results folder", "--results"],
    ),
    "dry run's device": (["run", "--dry-run", "--device", "gpu"], ["'gpu' is not known", "cuda:N"]),
    "dry run": (["run", "--dry-run", "--methods", "randm"], ["Did you mean 'random'?"]),
    "why of nothing": (["why", "cell", "--results", "nowhere"], ["nowhere is no results folder"]),
}


@pytest.mark.parametrize(("arguments", "texts"), OTHER_COMMANDS.values(), ids=OTHER_COMMANDS)
def test_the_other_commands_tell_wrong_use_alike(
    bench: Bench, tmp_path: Path, arguments: list[str], texts: list[str]
) -> None:
    assert_told(bench(*arguments), 2, *texts)
    assert list(tmp_path.iterdir()) == []


def test_why_tells_how_many_cells_begin_alike(bench: Bench, results: Path) -> None:
    assert_told(bench("why", "cell-"), 2, "2 cells", "'cell-'", "records/")


def test_debug_shows_the_traceback(bench: Bench) -> None:
    assert "Traceback" in bench("run", "--methods", "randm", "--debug").stderr


class TestRatioThatEmptiesAClass:
    def test_it_names_the_class_and_the_least_ratio(self, bench: Bench, tmp_path: Path) -> None:
        refused = bench("run", *SWEEP, "--ratios", "0.1")
        assert_told(refused, 2, "ratio 0.1 leaves class '", "Give at least ")
        assert list(tmp_path.iterdir()) == []

    def test_the_least_ratio_that_it_names_is_accepted(self, bench: Bench) -> None:
        refused = bench("plan", *SWEEP, "--ratios", "0.1")
        advised = refused.stderr.split()[-1]
        assert bench("plan", *SWEEP, "--ratios", advised).returncode == 0


class TestBrokenData:
    def test_missing_data_are_told_before_any_cell_is_announced(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        refused = bench("run", *SWEEP, "--dataset", "cifar10", "--data", "nowhere")
        assert refused.returncode == 2
        (line,) = refused.stderr.splitlines()
        assert line.startswith("error: cifar10 is not whole in nowhere: there is no cifar-10-")
        assert list(tmp_path.iterdir()) == []

    def test_a_broken_zip_is_named(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "images.zip").write_bytes(b"PK\x03\x04 and no more")
        refused = bench("run", *SWEEP, "--dataset", "imagefolder", "--data", "images.zip")
        assert_told(refused, 2, "images.zip", "Copy it again")
        assert not (tmp_path / "results").exists()

    def test_a_broken_image_in_a_zip_is_named_before_anything_is_trained(
        self, bench: Bench, image_folder: Callable[..., Path], tmp_path: Path
    ) -> None:
        root = image_folder()
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for file in root.rglob("*.png"):
                archive.write(file, file.relative_to(root))
            archive.writestr("train/dog/zzz.png", "no image")
        asked = ("--dataset", "imagefolder", "--data", "images.zip", "--ratios", "50")
        refused = bench("run", *SWEEP, *asked)
        assert_told(refused, 2, "images.zip", "train/dog/zzz.png", "Repair or remove it")
        assert not (tmp_path / "results").exists()


SWEEP_FILES = {
    "unknown key": ('method = "dq"', ["'method'", "Did you mean 'methods'?"]),
    "broken TOML": ('methods = "dq', ["not valid TOML", "line 1"]),
    "text for a number": ('seeds = "three"', ["seeds = 'three'", "a whole number"]),
    "no seeds": ("seeds = 0", ["seeds = 0", "at least 1"]),
    "truth for a number": ("seeds = true", ["seeds = True", "a whole number"]),
    "text for a flag": ('no-baselines = "yes"', ["no_baselines = 'yes'", "true or false"]),
    "table": ("methods = {dq = 1}", ["methods = {'dq': 1}", "a list"]),
    "list in a list": ("ratios = [[10], [20]]", ["ratios = [[10], [20]]", "a list"]),
    "number for a path": ("data = 5", ["data = 5", "a text"]),
    "list for a path": ('data = ["a", "b"]', ["data = ['a', 'b']", "a text"]),
    "wrong value": ("ratios = [10, 200]", ["ratio 200", "at most 100"]),
}


class TestSweepFiles:
    @pytest.mark.parametrize(("content", "texts"), SWEEP_FILES.values(), ids=SWEEP_FILES)
    def test_a_wrong_sweep_file_is_told(
        self, bench: Bench, tmp_path: Path, content: str, texts: list[str]
    ) -> None:
        (tmp_path / "sweep.toml").write_text(content + "\n")
        assert_told(bench("run", "sweep.toml"), 2, *texts)
        assert os.listdir(tmp_path) == ["sweep.toml"]

    def test_a_file_that_is_no_text_is_told(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "sweep.toml").write_bytes(b"\xff\xfe\x00")
        assert_told(bench("run", "sweep.toml"), 2, "sweep.toml", "not valid TOML")


class TestResultsFolders:
    def test_a_file_is_refused(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "results").write_text("mine")
        assert_told(bench("run", *SWEEP), 2, "results is a file", "--results")
        assert (tmp_path / "results").read_text() == "mine"

    def test_a_folder_of_other_files_is_refused_for_jobs_too(
        self, bench: Bench, fake_slurm: Any, tmp_path: Path
    ) -> None:
        before = sorted(tmp_path.rglob("*"))
        refused = bench("run", *SWEEP, "--slurm", "cpu", "--results", str(fake_slurm.folder))
        assert_told(refused, 2, "has files but is no results folder", "--results")
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_place_below_a_file_is_refused(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        refused = bench("run", *SWEEP, "--results", "file/results")
        assert_told(refused, 2, "file/results", "Not a directory")

    def test_a_folder_with_other_files_is_refused(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / "thesis.tex").write_text("mine")
        refused = bench("run", *SWEEP)
        assert_told(refused, 2, "no results folder", "an empty or a new folder")
        assert contents(tmp_path / "results") == {"thesis.tex": b"mine"}

    def test_a_folder_of_a_newer_version_is_refused(self, bench: Bench, tmp_path: Path) -> None:
        (tmp_path / "results").mkdir()
        write_json(
            tmp_path / "results" / "bench-results.json", {"schema": 99, "id": "bench-results"}
        )
        assert_told(bench("run", *SWEEP), 2, "newer bench", "schema 99", "Update bench")

    def test_a_place_that_cannot_be_made_is_refused(self, bench: Bench) -> None:
        refused = bench("run", *SWEEP, "--results", "/proc/no-such-place")
        assert_told(refused, 2, "/proc/no-such-place")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 400 kB, less than one checkpoint takes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)],
        capture_output=True, check=False,
    ) if shutil.which("mount") and os.geteuid() == 0 else None  # fmt: skip
    if mounted is None or mounted.returncode:
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


class TestDisks:
    def test_a_disk_that_fills_up_keeps_what_is_complete(
        self, bench: Bench, finished: Path, small_disk: Path
    ) -> None:
        results = shutil.copytree(finished, small_disk / "results")
        before = contents(results / "records")
        free = shutil.disk_usage(small_disk).free
        (small_disk / "others").write_bytes(b"0" * (free - 3 * 4096))
        asked = (*SWEEP, "--ratios", "10,20,30", "--results", str(results))
        stopped = bench("run", *asked)
        assert stopped.returncode == 1
        for words in ("No space left", "free some space", "run the same command again"):
            assert words in stopped.stderr
        assert contents(results / "records") == before
        plan = json.loads(bench("plan", *asked, "--json").stdout)
        assert [cell["done"] for cell in plan["cells"]] == [True, True, False]
        assert os.listdir(results / "leases") == []

    def test_a_full_disk_is_told_before_anything_is_run(
        self, bench: Bench, small_disk: Path
    ) -> None:
        with pytest.raises(OSError, match="No space"), (small_disk / "full").open("wb") as file:
            file.write(b"0" * 500_000)
        refused = bench("run", *SWEEP, "--results", str(small_disk / "results"))
        assert_told(refused, 2, "The disk is full", "free some space")

    def test_a_disk_that_cannot_be_written_is_told_and_can_still_be_read(
        self, bench: Bench, finished: Path, small_disk: Path
    ) -> None:
        results = shutil.copytree(finished, small_disk / "results")
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        refused = bench("run", *SWEEP, "--ratios", "30", "--results", str(results))
        assert_told(refused, 2, "Read-only file system", "Choose another folder")
        shown = bench(*FINISHED, "--results", str(results))
        assert shown.returncode == 0
        assert "random" in shown.stdout


class TestDevices:
    def test_a_gpu_that_is_not_there_is_told(self, bench: Bench, finished: Path) -> None:
        before = contents(finished)
        refused = bench(
            "run", *SWEEP, "--ratios", "30", "--device", "cuda:3", "--results", str(finished),
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
        assert_told(refused, 2, "'cuda:3' is not there", "--device cpu")
        assert contents(finished) == before

    @pytest.mark.parametrize("command", [("run", *SWEEP), ("pictures",), ("reproduce", "adq-fig4")])
    def test_a_refused_command_leaves_nothing(
        self, bench: Bench, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        refused = bench(*command, "--device", "cuda", env=environment)
        assert refused.returncode == 2
        assert "'cuda' is not there" in refused.stderr
        assert list(tmp_path.iterdir()) == []


class TestSlurm:
    def test_a_submission_that_is_refused_at_once_leaves_nothing(
        self, bench: Bench, fake_slurm: Any, tmp_path: Path
    ) -> None:
        (fake_slurm.folder / "refused").write_text("100")
        refused = bench("run", *SWEEP, "--slurm", "cpu")
        assert refused.returncode == 2
        assert "sbatch refused array 1 of 1: QOS limit.\nNothing was submitted" in refused.stderr
        assert list(tmp_path.iterdir()) == [fake_slurm.folder]

    @pytest.mark.parametrize("command", [("run", *SWEEP), ("retry",)])
    def test_a_device_that_no_machine_has_is_told_before_jobs_are(
        self, bench: Bench, fake_slurm: Any, results: Path, command: tuple[str, ...]
    ) -> None:
        refused = bench(*command, "--slurm", "cpu", "--device", "gpu")
        assert_told(refused, 2, "device 'gpu' is not known", "cuda:N")
        assert not list(fake_slurm.folder.glob("sent-*"))

    def test_what_was_submitted_before_a_refusal_is_kept(
        self, bench: Bench, fake_slurm: Any, tmp_path: Path
    ) -> None:
        (fake_slurm.folder / "refused").write_text("101")
        asked = ("--methods", "graphcut", "--ratios", "10", "--seeds", "2", "--protocol", "smoke")
        refused = bench("run", *asked, "--slurm", "cpu")
        assert refused.returncode == 1
        assert "What was submitted before stays" in refused.stderr
        assert list((tmp_path / "results" / "submissions").iterdir())

    def test_a_queue_that_does_not_answer_is_nothing_submitted(
        self, bench: Bench, fake_slurm: Any
    ) -> None:
        assert bench("run", *SWEEP, "--slurm", "cpu").returncode == 0
        fake_slurm.fails("squeue", "slurm_load_jobs error")
        refused = bench("run", *SWEEP, "--slurm", "cpu")
        assert_told(refused, 2, "slurm_load_jobs error", "Nothing was submitted")


@pytest.fixture(scope="module")
def damaged(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give results with one damaged record; the other's is gone and its artefact is damaged."""
    folder = shutil.copytree(finished, tmp_path_factory.mktemp("damaged") / "results")
    kept, gone = sorted((folder / "records").iterdir())
    content = bytearray(kept.read_bytes())
    content[content.index(b".", content.index(b'"accuracy":')) + 1] ^= 1  # still valid JSON
    kept.write_bytes(content)
    gone.unlink()
    for data in (folder / "artefacts").glob("compressed-*/data.safetensors"):
        content = bytearray(data.read_bytes())
        content[-1] ^= 1
        data.write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def repaired(damaged: Path) -> subprocess.CompletedProcess[str]:
    """Give how the command ended that found the damaged files."""
    return run_command(*FINISHED, cwd=damaged.parent)


class TestDamagedFiles:
    def test_the_run_succeeds_and_gives_the_same_accuracies(
        self, repaired: subprocess.CompletedProcess[str], damaged: Path, finished: Path
    ) -> None:
        assert repaired.returncode == 0, repaired.stderr
        assert accuracies(damaged) == accuracies(finished)

    def test_the_damaged_record_is_named_once_and_set_aside(
        self, repaired: subprocess.CompletedProcess[str], damaged: Path
    ) -> None:
        (aside,) = (damaged / "records").glob("*.damaged-*")
        told = [line for line in repaired.stderr.splitlines() if "records/" in line]
        assert len(told) == 1
        assert "is damaged" in told[0]
        assert aside.name in told[0]
        assert "computed anew" in told[0]

    def test_the_damaged_artefacts_are_named_once_each_and_set_aside(
        self, repaired: subprocess.CompletedProcess[str], damaged: Path
    ) -> None:
        asides = list((damaged / "artefacts").glob("*.damaged-*"))
        told = [line for line in repaired.stderr.splitlines() if "artefacts/" in line]
        assert len(told) == len(asides) == 2
        assert all(any(aside.name in line for line in told) for aside in asides)
        assert all("made anew" in line for line in told)

    def test_the_report_names_a_damaged_record_and_shows_the_others(
        self, bench: Bench, results: Path
    ) -> None:
        first, _ = sorted((results / "records").iterdir())
        first.write_bytes(first.read_bytes()[:-40])
        told = bench("report")
        assert told.returncode == 0
        assert told.stderr.count(first.name) >= 1
        assert len(told.stderr.splitlines()) == 1
        assert "Complete cells: 1;" in (results / "report.md").read_text()

    def test_why_of_a_damaged_record_says_so(self, bench: Bench, results: Path) -> None:
        first, _ = sorted((results / "records").iterdir())
        first.write_bytes(first.read_bytes()[:-40])
        assert_told(bench("why", first.stem), 2, "is damaged", "Run its sweep again")
