"""Interrupted, killed, shared, repeated and partly failing runs of the real command."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plugins
import pytest
from command import COMMAND, Running, run_command

from bench.storage import read_json, write_json

pytestmark = pytest.mark.usefixtures("one_thread")

PROTOCOL = "smoke[epochs=20,test_every=4]"
SWEEP = (
    "run", "--methods", "random", "--no-baselines", "--ratios", "10,30", "--seeds", "2",
    "--protocol", PROTOCOL,
)  # fmt: skip
CELLS = 4
MARK = 123.0
PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from bench.contract import CompressedSet, Method, MethodInfo, register

@register("fragile")
@dataclass(frozen=True)
class Fragile(Method):
    """Keep the first images, but not while a file named broken lies about."""
    info = MethodInfo(title="fragile", paper="none", year=2025, kind="selection", code="none")

    def compress(self, train, budget, ctx):
        if Path("broken").exists():
            raise RuntimeError("this method is broken\\nin more lines than one")
        return CompressedSet(np.arange(budget.images(len(train))))
'''


@dataclass(frozen=True)
class Ended:
    """How a run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def computed(self) -> list[str]:
        """The labels of the cells that this run computed."""
        return re.findall(r"^\[.*?\] (.* seed \d+): \d+\.\d+ %", self.err, re.MULTILINE)


def start(folder: Path) -> Running:
    return Running(SWEEP, folder)


def ended(process: Running) -> Ended:
    try:
        out, err = process.communicate()
    finally:
        process.kill()
    return Ended(process.wait(), out, err)


def halt_in_a_cell(process: Running, results: Path) -> Path:
    """Halt a run once it has written a new checkpoint; return the checkpoint's folder."""
    before = {path: path.stat().st_mtime_ns for path in results.glob("checkpoints/*/newest.json")}
    while process.poll() is None:
        for newest in results.glob("checkpoints/*/newest.json"):
            process.send_signal(signal.SIGSTOP)
            is_complete = (results / "records" / f"{newest.parent.name}.json").exists()
            if not is_complete and newest.stat().st_mtime_ns != before.get(newest):
                return newest.parent
            process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
    pytest.fail(f"the run ended before it could be halted: {ended(process).err}")


def records(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in folder.glob("results/records/*.json")]
    return {record["id"]: record for record in found}


def outcomes(folder: Path) -> dict[str, tuple[float, str]]:
    return {
        key: (record["metrics"]["accuracy"], record["weights_digest"])
        for key, record in records(folder).items()
    }


@dataclass(frozen=True)
class Together:
    """Two runs of the same sweep that began at once in the same folder."""

    folder: Path
    first: Ended
    second: Ended


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Together:
    folder = tmp_path_factory.mktemp("together")
    processes = start(folder), start(folder)
    first, second = map(ended, processes)
    return Together(folder, first, second)


class TestTwoRunsAtOnce:
    def test_both_succeed_and_each_cell_is_computed_once(self, together: Together) -> None:
        assert (together.first.code, together.second.code) == (0, 0), together
        computed = together.first.computed + together.second.computed
        assert len(computed) == len(set(computed)) == CELLS
        assert len(records(together.folder)) == CELLS

    def test_both_show_the_same_tables(self, together: Together) -> None:
        assert together.first.out == together.second.out
        assert "random" in together.first.out

    def test_nothing_of_the_work_is_left_behind(self, together: Together) -> None:
        results = together.folder / "results"
        assert os.listdir(results / "leases") == []
        assert os.listdir(results / "checkpoints") == []
        assert not [path for path in results.rglob("*") if path.name.endswith(".tmp")]


@dataclass(frozen=True)
class Disturbed:
    """A sweep that was interrupted and terminated in a cell, killed in a cell, and ended."""

    folder: Path
    interrupted: Ended
    terminated: Ended
    after_stops: dict[str, list[str]]
    """File names by folder."""
    marked: str
    """The cell that was killed; the first loss of its checkpoint is :data:`MARK`."""
    epochs_before_kill: int
    complete_before_kill: set[str]
    last: Ended


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Disturbed:
    folder = tmp_path_factory.mktemp("disturbed")
    results = folder / "results"

    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start(folder)
        halt_in_a_cell(process, results)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        stopped.append(ended(process))
    left = {name: os.listdir(results / name) for name in ("leases", "checkpoints")}

    process = start(folder)
    checkpoint = halt_in_a_cell(process, results)
    process.kill()
    ended(process)
    state = read_json(checkpoint / "newest.json")
    state["progress"]["train_loss"][0] = MARK
    write_json(checkpoint / "newest.json", state)
    complete = set(records(folder))

    last = ended(start(folder))
    return Disturbed(folder, *stopped, left, checkpoint.name, state["epoch"], complete, last)


class TestInterruptedRuns:
    @pytest.mark.parametrize(
        ("which", "code", "what"),
        [("interrupted", 130, "interrupted: "), ("terminated", 143, "ended by SIGTERM: ")],
    )
    def test_ctrl_c_and_sigterm_say_how_to_go_on(
        self, disturbed: Disturbed, which: str, code: int, what: str
    ) -> None:
        stopped: Ended = getattr(disturbed, which)
        assert stopped.code == code
        *_, last = stopped.err.splitlines()
        assert last.startswith(what)
        assert f"of {CELLS} cells are complete and kept" in last
        assert "The same command goes on" in last
        assert "Traceback" not in stopped.err
        assert stopped.out == ""

    def test_ctrl_c_and_sigterm_give_the_leases_back_and_keep_the_checkpoint(
        self, disturbed: Disturbed
    ) -> None:
        assert disturbed.after_stops["leases"] == []
        assert len(disturbed.after_stops["checkpoints"]) == 1

    def test_the_same_command_ends_with_the_results_of_an_undisturbed_run(
        self, disturbed: Disturbed, together: Together
    ) -> None:
        assert disturbed.last.code == 0, disturbed.last.err
        assert outcomes(disturbed.folder) == outcomes(together.folder)

    def test_epochs_before_a_kill_are_not_trained_again(self, disturbed: Disturbed) -> None:
        losses = records(disturbed.folder)[disturbed.marked]["metrics"]["curve"]["train_loss"]
        assert disturbed.epochs_before_kill >= 1
        assert losses[0] == MARK
        assert len(losses) == 20
        assert MARK not in losses[1:]

    def test_cells_before_a_kill_are_not_computed_again(self, disturbed: Disturbed) -> None:
        assert len(disturbed.last.computed) == CELLS - len(disturbed.complete_before_kill)

    def test_nothing_of_the_disturbance_is_left_behind(self, disturbed: Disturbed) -> None:
        assert os.listdir(disturbed.folder / "results" / "leases") == []
        assert os.listdir(disturbed.folder / "results" / "checkpoints") == []


def kill_at_random(folder: Path, moments: random.Random) -> int:
    """Run, and kill once work has begun, after up to a second and a half; return the exit code."""
    process = start(folder)
    leases = folder / "results" / "leases"
    while process.poll() is None and not (leases.is_dir() and os.listdir(leases)):
        time.sleep(0.01)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moments.uniform(0, 1.5))
    process.kill()
    return ended(process).code


def test_kills_at_random_moments_change_no_result(tmp_path: Path, together: Together) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"moments of seed {seed}")
    moments = random.Random(seed)
    codes = [kill_at_random(tmp_path, moments) for _ in range(4)]
    last = subprocess.run(  # an interpreter with other hashes: no order may depend on them
        [*COMMAND, *SWEEP], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert set(codes) <= {-signal.SIGKILL, 0}
    assert last.returncode == 0, last.stderr
    assert outcomes(tmp_path) == outcomes(together.folder)
    assert not list(tmp_path.glob("results/failures/*"))
    assert not list(tmp_path.glob("results/leases/cell-*"))


class TestFinishedRuns:
    def test_a_finished_sweep_computes_nothing_and_imports_nothing_heavy(
        self, together: Together
    ) -> None:
        heavy = ("torch", "torchvision", "sklearn", "matplotlib", "timm")
        watched = (
            "import sys\nfrom bench.cli import main\ntry:\n    main()\nfinally:\n"
            f"    print('heavy:', *[m for m in {heavy} if m in sys.modules], file=sys.stderr)"
        )
        results = together.folder / "results"
        before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
        again = subprocess.run(
            [sys.executable, "-c", watched, *SWEEP],
            cwd=together.folder, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert again.returncode == 0
        assert again.stdout == together.first.out
        assert again.stderr.splitlines()[-1] == "heavy:"
        assert "to compute" not in again.stderr
        assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before


@dataclass(frozen=True)
class Fragile:
    """A sweep with a plugin's method that fails, and the same again with it repaired."""

    folder: Path
    broken: Ended
    failures: list[dict[str, Any]]
    complete: dict[str, tuple[float, str]]
    report: str
    repaired: Ended


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Fragile:
    folder = tmp_path_factory.mktemp("fragile")
    environment = plugins.install(folder / "plugins", "fragile", PLUGIN)

    def run() -> Ended:
        asked = (
            "run", "--methods", "fragile,random", "--no-baselines", "--ratios", "10", "--seeds",
            "1", "--protocol", PROTOCOL,
        )  # fmt: skip
        done = run_command(*asked, cwd=folder, env=environment)
        return Ended(done.returncode, done.stdout, done.stderr)

    (folder / "broken").touch()
    broken = run()
    failures = [read_json(path) for path in folder.glob("results/failures/*.json")]
    complete = outcomes(folder)
    report = (folder / "results" / "report.md").read_text()
    (folder / "broken").unlink()
    return Fragile(folder, broken, failures, complete, report, run())


class TestFailingCells:
    def test_the_others_are_computed_and_the_exit_code_is_1(self, fragile: Fragile) -> None:
        assert fragile.broken.code == 1
        assert fragile.broken.computed == ["random 10 % resnet8 seed 0"]
        assert len(fragile.complete) == 1

    def test_the_cause_is_told_in_one_line(self, fragile: Fragile) -> None:
        assert "Traceback" not in fragile.broken.err
        assert "Failed cells: 1. The same command" in fragile.broken.err
        told = [line for line in fragile.broken.err.splitlines() if "FAILED" in line]
        assert len(told) == 1
        assert "fragile 10 % resnet8 seed 0: FAILED in selection" in told[0]
        assert "RuntimeError: this method is broken" in told[0]

    def test_the_failure_record_says_where_and_why(self, fragile: Fragile) -> None:
        (failure,) = fragile.failures
        assert failure["specs"]["method"] == "fragile"
        assert failure["phase"] == "selection"
        assert failure["type"] == "RuntimeError"
        assert failure["message"] == "this method is broken\nin more lines than one"
        assert "fragile_plugin.py" in failure["traceback"]
        assert failure["peak_memory_bytes"] > 0

    def test_tables_and_report_show_the_failure(self, fragile: Fragile) -> None:
        for shown in (fragile.broken.out, fragile.report):
            assert "Cells that failed" in shown
        assert "RuntimeError: this method is broken" in fragile.report
        # a table in the terminal folds its longest column
        assert all(word in fragile.broken.out for word in ("RuntimeError:", "method", "broken"))

    def test_the_next_run_computes_it_again_and_nothing_else(self, fragile: Fragile) -> None:
        assert fragile.repaired.code == 0, fragile.repaired.err
        assert fragile.repaired.computed == ["fragile 10 % resnet8 seed 0"]
        assert "failed" not in fragile.repaired.out
        assert "failed" not in fragile.repaired.err
        assert list(fragile.folder.glob("results/failures/*.json")) == []
        report = (fragile.folder / "results" / "report.md").read_text()
        assert "Cells that failed" not in report

    def test_a_cell_gives_the_same_in_another_results_folder(
        self, fragile: Fragile, together: Together
    ) -> None:
        (cell,) = fragile.complete
        assert fragile.complete[cell] == outcomes(together.folder)[cell]
