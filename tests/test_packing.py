"""Packed runs of the real command: equal to others, and safe against killed processes."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.resource_tracker import ensure_running
from pathlib import Path
from typing import Any

import plugins
import pytest
from command import Running

from bench import execution, packing
from bench.budgets import Budget
from bench.cells import Plan, Sweep
from bench.contract import METHODS
from bench.datasets import DATASETS, Source
from bench.errors import DataError, ProcessError
from bench.feeding import Feed, Stream
from bench.models import MODELS
from bench.packing import Crew, Setting, packed_cells
from bench.progress import Progress
from bench.protocols import PROTOCOLS
from bench.results import Results
from bench.shielding import shielded
from bench.storage import read_json
from bench.working import State

pytestmark = pytest.mark.usefixtures("one_thread")

PLUGIN = '''
import os, signal
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from bench.contract import CompressedSet, Method, MethodInfo, register

@register("deadly")
@dataclass(frozen=True)
class Deadly(Method):
    """Keep the first images, but kill the process while a file named deadly lies about."""
    info = MethodInfo(title="deadly", paper="none", year=2026, kind="selection", code="none")

    def compress(self, train, budget, ctx):
        if Path("deadly").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return CompressedSet(np.arange(budget.images(len(train))))
'''


def plan_of(seeds: int = 2, protocol: str = "smoke[epochs=2]") -> Plan:
    sweep = Sweep(
        dataset=DATASETS.make_one("digits"),
        fingerprint="f",
        methods=METHODS.make("random"),
        budgets=[Budget.parse("10"), Budget.parse("30")],
        models=[MODELS.make_one("resnet8[width=4]")],
        protocols=[PROTOCOLS.make_one(protocol)],
        seeds=seeds,
    )
    return Plan.of(sweep)


class Watch(Progress):
    """Remembers the events of each cell."""

    def __init__(self) -> None:
        self.events: dict[str, list[str]] = {}
        self._cell = ""

    def about(self, cell: Any) -> None:
        self._cell = cell.id

    def cell_started(self, cell: Any) -> None:
        self.events.setdefault(cell.id, []).append("started")

    def stage(self, stage: str, done: int, total: int) -> None:
        self.events[self._cell].append("stage")

    def cell_finished(self, cell: Any, record: dict[str, Any]) -> None:
        self.events[cell.id].append("finished")


def test_packed_cells_are_bit_for_bit_those_of_a_run_one_after_the_other(tmp_path: Path) -> None:
    plan, watch = plan_of(), Watch()
    packed, plain = Results(tmp_path / "packed"), Results(tmp_path / "plain")
    source = Source(feed=Feed(Stream.ALWAYS))  # each process has workers of its own
    outcome = execution.execute(plan, packed, source, "cpu", watch, pack=3)
    execution.execute(plan, plain, Source(), "cpu")
    assert sorted(outcome.computed) == sorted(cell.id for cell in plan.cells)
    for cell in plan.cells:
        one, other = packed.record(cell.id), plain.record(cell.id)
        assert one is not None
        assert other is not None
        for same in ("weights_digest", "metrics", "compressed", "normalisation", "model"):
            assert one[same] == other[same]
        assert (one["engine"]["packed"], other["engine"]["packed"]) == (3, 1)
        assert one["engine"]["images"] == "streamed"
        assert one["provenance"]["device"] == other["provenance"]["device"]
        events = watch.events[cell.id]
        assert (events[0], events[-1]) == ("started", "finished")
    assert os.listdir(tmp_path / "packed" / "leases") == []


def test_what_stops_a_process_from_starting_stops_the_run(
    tmp_path: Path, image_folder: Callable[..., Path]
) -> None:
    images = image_folder()
    (images / "train" / "cat" / "000.png").write_bytes(b"no image")
    dataset = DATASETS.make_one("imagefolder")
    cells = tuple(dataclasses.replace(cell, dataset=dataset) for cell in plan_of().cells)
    results = Results(tmp_path / "results")
    with pytest.raises(DataError, match=r"000\.png"):
        execution.execute(Plan(cells), results, Source(images), "cpu", pack=2)
    assert not list(results.failures())


def test_a_process_that_dies_while_it_is_idle_is_replaced_and_a_warning_ends_none(
    tmp_path: Path,
) -> None:
    first, second = plan_of(seeds=1).cells
    results = Results(tmp_path)
    setting = Setting(results.folder, Source(), "cpu", threads=1, packed=2)
    with Crew(setting, results, Progress()) as crew:
        for cell in (first, second):
            crew.give(cell, waits=True)
            (member,) = crew._members
            assert member.process.pid is not None
            os.kill(member.process.pid, signal.SIGUSR2)  # as Slurm does with all of a step
            over: list[Any] = []
            while not over:
                over = crew.ended()
            assert over == [(cell, State.COMPUTED)]
            member.process.kill()
            member.process.join()


def test_a_second_signal_leaves_no_process_that_python_would_wait_for(tmp_path: Path) -> None:
    (cell, *_) = plan_of(seeds=1).cells
    results = Results(tmp_path)
    setting = Setting(results.folder, Source(), "cpu", threads=1, packed=2)
    crew = Crew(setting, results, Progress())
    ensure_running()  # it unblocks SIGTERM where it begins
    with shielded(signal.SIGTERM):  # what blocks it answers as little as what is in C code
        crew.give(cell, waits=True)
        crew.give(cell, waits=True)
    stuck = [member.process for member in crew._members]
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with pytest.raises(KeyboardInterrupt):
        crew.__exit__(None, None, None)
    signal.signal(signal.SIGALRM, before)
    for process in stuck:
        process.join()
    assert [process.exitcode for process in stuck] == [-signal.SIGKILL] * 2


class Ended:
    """A process that has ended by itself."""

    exitcode = 0

    def join(self, limit: float | None = None) -> None:
        pass

    def is_alive(self) -> bool:
        return False


def test_a_process_whose_gpu_failed_ends_with_its_cell_and_gets_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell, _) = plan_of(seeds=1).cells
    results = Results(tmp_path)
    setting = Setting(results.folder, Source(), "cuda", threads=1, packed=2)
    ours, theirs = multiprocessing.Pipe()
    outcomes = iter([(State.COMPUTED, False), (State.FAILED, True), (State.COMPUTED, False)])
    monkeypatch.setattr(packing, "_attended", lambda connection, setting: outcomes)
    monkeypatch.setattr(packing.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(packing, "_end_with_parent", lambda: None)
    packing.serve(theirs, setting)
    assert len(list(outcomes)) == 1  # it did not wait for one more cell
    crew = Crew(setting, results, Progress())
    member: Any = packing._Member(Ended(), ours, cell)  # type: ignore[arg-type]
    crew._members.append(member)
    assert crew.ended() == [(cell, State.COMPUTED)]
    assert crew._members == [member]
    member.cell = cell
    assert crew.ended() == [(cell, State.FAILED)]
    assert crew._members == []


@pytest.mark.parametrize(
    ("tells", "state"), [(True, "left by a killed process"), (False, "computed")]
)
def test_a_packed_process_tells_of_killed_ones_only_where_it_is_to(
    tmp_path: Path, tells: bool, state: str
) -> None:
    (cell, _) = plan_of(seeds=1).cells
    results = Results(tmp_path)
    lease = results.leases.try_take(cell.id)
    assert lease is not None
    lease._stop.set()
    content = {**read_json_plainly(lease.path), "started": "another process of this number"}
    lease.path.write_text(json.dumps(content))
    setting = Setting(results.folder, Source(), "cpu", 1, packed=2, tells_killed=tells)
    ours, theirs = multiprocessing.Pipe()
    ours.send((cell.identity(), True))
    assert next(packing._attended(theirs, setting)) == (State(state), False)
    assert len(list(results.failures())) == tells


def read_json_plainly(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.mark.parametrize(
    ("asked", "side", "threads", "cells"), [(7, 8, 1, 7), (None, 8, 10_000, 1), (1, 32, 2, 1)]
)
def test_a_number_is_taken_and_auto_asks_the_machine(
    asked: int | None, side: int, threads: int, cells: int
) -> None:
    assert packed_cells(asked, "cpu", side, threads) == cells


def test_packed_cells_share_the_workers_of_streamed_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.resources.cores", lambda: 8)
    assert Feed().shared_by(4).workers == 2
    assert Feed(workers=3).shared_by(4).workers == 3
    alone = Feed().shared_by(1)
    assert (alone.worker_count(), alone.worker_count(2)) == (8, 4)


def test_auto_gives_every_cell_the_cores_of_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.resources.cores", lambda: 8)
    monkeypatch.setattr("bench.resources.available_memory", lambda: 64e9)
    assert packed_cells(None, "cpu", 8, 1) == 8
    assert packed_cells(None, "cpu", 8, 3) == 2
    monkeypatch.setattr("bench.resources.available_memory", lambda: 3.1e9)
    assert packed_cells(None, "cpu", 8, 1) == 2


@pytest.mark.parametrize(
    ("side", "mps", "free", "cells"),
    [(32, True, 80e9, 5), (32, True, 20e9, 2), (32, False, 80e9, 1), (224, True, 80e9, 1)],
)
def test_auto_packs_a_gpu_where_processes_share_it_and_images_are_small(
    monkeypatch: pytest.MonkeyPatch, side: int, mps: bool, free: float, cells: int
) -> None:
    monkeypatch.setattr("bench.packing.mps_runs", lambda: mps)
    monkeypatch.setattr("bench.resources.available_memory", lambda: 64e9)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free, 80e9))
    assert packed_cells(None, "cuda", side, 2) == cells


# with the real command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a plugin whose method kills its process."""
    plugins.install(tmp_path / "plugins", "deadly", PLUGIN)
    return tmp_path


def start(folder: Path, *arguments: str) -> Running:
    path = os.pathsep.join([str(folder / "plugins"), os.environ.get("PYTHONPATH", "")])
    return Running(arguments, folder, {**os.environ, "PYTHONPATH": path})


def ended(process: Running) -> tuple[int, str]:
    try:
        _, err = process.communicate()
    finally:
        process.kill()
    return process.wait(), err


SWEEP = (
    "run", "--methods", "deadly,random", "--no-baselines", "--ratios", "10", "--seeds", "1",
    "--protocol", "smoke[epochs=2]",
)  # fmt: skip


def failures(folder: Path) -> list[dict[str, Any]]:
    return [read_json(path) for path in folder.glob("results/failures/*.json")]


def records(folder: Path) -> int:
    return len(list(folder.glob("results/records/*.json")))


def test_a_process_that_is_killed_takes_its_own_cell_alone_and_retry_takes_it_up(
    folder: Path,
) -> None:
    (folder / "deadly").touch()
    code, err = ended(start(folder, *SWEEP, "--pack", "2"))
    assert code == 1, err
    (failure,) = failures(folder)
    assert failure["type"] == "Killed"
    assert failure["specs"]["method"] == "deadly"
    assert "SIGKILL" in failure["message"]
    assert "deadly 10 % resnet8 seed 0: FAILED" in err
    assert records(folder) == 1
    assert list(folder.glob("results/leases/cell-*")) == []
    (folder / "deadly").unlink()
    code, err = ended(start(folder, "retry"))
    assert code == 0, err
    assert (records(folder), failures(folder)) == (2, [])


def test_a_cell_that_kills_the_run_itself_does_not_sink_the_sweep(folder: Path) -> None:
    (folder / "deadly").touch()
    code, _ = ended(start(folder, *SWEEP))
    assert code == -signal.SIGKILL
    assert records(folder) == 0
    code, _ = ended(start(folder, *SWEEP))  # killed again, but after the other cell
    assert code == -signal.SIGKILL
    assert records(folder) == 1
    assert [failure["type"] for failure in failures(folder)] == ["Killed"]


LONG = (
    "run", "--methods", "random", "--no-baselines", "--ratios", "50,60", "--seeds", "1",
    "--protocol", "smoke[epochs=100000]", "--pack", "2",
)  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_ends_takes_its_processes_with_it(folder: Path, number: signal.Signals) -> None:
    process = start(folder, *LONG)
    results = folder / "results"
    while len(list(results.glob("checkpoints/*/newest.json"))) < 2:
        assert process.poll() is None, ended(process)
        time.sleep(0.1)
    process.send_signal(number)
    code, err = ended(process)
    assert code == (130 if number == signal.SIGINT else -signal.SIGKILL)
    limit = time.monotonic() + 60
    while os.listdir(results / "leases"):  # given back by processes that end
        assert time.monotonic() < limit
        time.sleep(0.1)
    if number == signal.SIGINT:
        assert "The same command goes on" in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (DataError("a.png is no image"), DataError, "a.png is no image"),
        (KeyError("classes"), ProcessError, "KeyError: 'classes'"),
    ],
)
def test_what_breaks_a_process_is_told_with_its_type_and_traceback(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], told: str
) -> None:
    def fail(connection: Any, setting: Any) -> None:
        raise error

    monkeypatch.setattr(packing, "_attended", fail)
    monkeypatch.setattr(packing.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(packing, "_end_with_parent", lambda: None)
    ours, theirs = multiprocessing.Pipe()
    packing.serve(theirs, Setting(Path("results"), Source(), "cpu", 1, 2))
    event, *rest = ours.recv()
    assert event == "broken"
    broken = packing._broken(*rest)
    assert (type(broken), str(broken)) == (kind, told)
    if isinstance(broken, ProcessError):
        assert broken.cause == "KeyError"
        assert "raise error" in broken.traceback


def test_a_process_that_is_stopped_while_it_tells_what_broke_it_says_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Closing:
        def send(self, told: object) -> None:
            raise packing._Stopped  # the crew ends: another process told the same before

        def recv(self) -> None:
            raise DataError("a.png is no image")

    monkeypatch.setattr(packing.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(packing, "_end_with_parent", lambda: None)
    connection: Any = Closing()
    packing.serve(connection, Setting(Path("results"), Source(), "cpu", 1, 2))
