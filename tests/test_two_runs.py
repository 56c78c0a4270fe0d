"""Two runs in one folder: what one makes, the other waits for only when it has nothing else."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plugins
from command import Running
from some_cells import cell

from bench import execution
from bench.progress import Progress
from bench.results import Results
from bench.storage import read_json
from bench.working import State

PLUGIN = '''
import time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from bench.contract import CompressedSet, Method, MethodInfo, register

@register("slow")
@dataclass(frozen=True)
class Slow(Method):
    """Keep the first images, once a file named go is there."""
    info = MethodInfo(title="slow", paper="none", year=2026, kind="selection", code="none")

    def artefacts(self, train, ctx):
        return [self.order(train, ctx)]

    def order(self, train, ctx):
        def make():
            with Path("made").open("a") as made:
                made.write("made ")
            while not Path("go").exists():
                time.sleep(0.05)
            return {"order": np.arange(len(train))}
        return ctx.artefact("order", make)

    def compress(self, train, budget, ctx):
        return CompressedSet(self.order(train, ctx)["order"][: budget.images(len(train))])
'''
SWEEP = ("--no-baselines", "--seeds", "1", "--protocol", "smoke[epochs=1]")


def wait_until(happened: Callable[[], object], *processes: Running) -> None:
    limit = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < limit
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


def test_a_run_computes_other_cells_while_another_one_makes_what_the_first_needs(
    tmp_path: Path,
) -> None:
    environment = plugins.install(tmp_path / "site", "slow", PLUGIN)
    results = tmp_path / "results"

    def methods_recorded() -> list[str]:
        return [read_json(path)["specs"]["method"] for path in results.glob("records/*.json")]

    first = Running(["run", "--methods", "slow", "--ratios", "10", *SWEEP], tmp_path, environment)
    second = None
    try:
        wait_until((tmp_path / "made").exists, first)
        ratios = ("--ratios", "20,30")
        second = Running(
            ["run", "--methods", "slow,random", *ratios, *SWEEP], tmp_path, environment
        )
        wait_until(lambda: len(methods_recorded()) == 2, first, second)
        assert methods_recorded() == ["random", "random"]
        (tmp_path / "go").touch()
        _, told = second.communicate()
        assert (first.wait(), second.wait()) == (0, 0), told
    finally:
        for process in filter(None, (first, second)):
            process.kill()
    assert sorted(methods_recorded()) == ["random"] * 2 + ["slow"] * 3
    assert (tmp_path / "made").read_text() == "made "
    ended = re.findall(r"\] (\w+ \d+ %) resnet8 seed 0: [\d.]+ %", told)
    assert ended == ["random 20 %", "random 30 %", "slow 20 %", "slow 30 %"]


class Played:
    """A crew of one whose cells fare as a test says; it notes which were given, and how."""

    is_over = False

    def __init__(self, *states: State) -> None:
        self.given: list[tuple[str, bool]] = []
        self._states = iter(states)
        self._cell: Any = None

    @property
    def is_busy(self) -> bool:
        return self._cell is not None

    @property
    def has_room(self) -> bool:
        return self._cell is None

    def give(self, cell: Any, waits: bool) -> None:
        self.given.append((cell.method.name, waits))
        self._cell = cell

    def ended(self) -> list[tuple[Any, State]]:
        cell, self._cell = self._cell, None
        return [(cell, next(self._states))]


def test_a_cell_waits_for_an_artefact_once_a_round_has_completed_nothing(
    tmp_path: Path, monkeypatch: Any
) -> None:
    class Told(Progress):
        def waiting(self, reason: str) -> None:
            told.append(reason)

    told: list[str] = []
    monkeypatch.setattr(execution, "_POLL_S", 0)
    missing, held, done = State.MISSES_ARTEFACT, State.HELD_ELSEWHERE, State.COMPUTED
    crew: Any = Played(missing, done, held, missing, held, done, held, State.FOUND)
    cells = deque([cell("dq"), cell("random"), cell("adq")])
    outcome = execution.Outcome()
    execution._work_through(cells, crew, outcome, Results(tmp_path), Told())
    assert crew.given == [
        ("dq", False), ("random", False),  # which is computed: a new round
        ("adq", False), ("dq", False), ("adq", True), ("dq", True),  # nothing else was left
        ("adq", False), ("adq", True),
    ]  # fmt: skip
    assert told == ["1 cell computed by another bench run"]
    assert (len(outcome.computed), len(outcome.found)) == (2, 1)
