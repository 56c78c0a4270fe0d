"""What a run tells without a terminal: at once what it does, seldom after, and the time left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from bench.cli import counting, display
from bench.cli.display import PlainDisplay
from bench.progress import Ahead


@dataclass(frozen=True)
class ACell:
    id: str

    @property
    def label(self) -> str:
        return f"label of {self.id}"

    def label_of(self, kept: dict[str, int]) -> str:
        return self.label


class Clock:
    """Time that a test lets pass."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


CELLS = [ACell(f"cell-{number}") for number in range(10)]
RECORD: dict[str, Any] = {"metrics": {"accuracy": 90.0}, "compressed": {}}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (counting, display):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def recorded() -> set[str]:
    """What is in the folder, by whoever put it there."""
    return set()


@pytest.fixture
def shown(clock: Clock, recorded: set[str]) -> Any:
    shown: Any = PlainDisplay()
    shown.begin(Ahead({cell.id: 100 for cell in CELLS}, 2, lambda: recorded))
    return shown


def test_the_first_thing_that_is_done_is_told_at_once_and_the_next_after_a_while(
    shown: Any, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    shown.cell_started(CELLS[0])
    shown.stage("making embeddings", 0, 0)
    shown.stage("training", 1, 10)
    clock.now += 29
    shown.stage("training", 2, 10)
    told = "[ 2/12] label of cell-0: making embeddings\n[ 2/12] label of cell-0: training 1/10\n"
    assert capsys.readouterr().err == told
    clock.now += 2
    shown.stage("training", 3, 10)
    shown.waiting("bins made by another bench run (process 7 on here)")
    assert capsys.readouterr().err == "[ 2/12] label of cell-0: training 3/10\n"


def test_a_line_is_not_left_standing_when_its_stage_is_over(
    shown: Any, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    shown.cell_started(CELLS[0])
    shown.stage("choosing images", 0, 0)
    shown.stage("training", 0, 0)  # an epoch of full data takes minutes
    shown.cell_finished(CELLS[0], RECORD)
    for cell in CELLS[1:4]:  # quick ones are told by their results alone
        shown.cell_started(cell)
        shown.stage("choosing images", 0, 0)
        shown.stage("training", 0, 0)
        shown.cell_finished(cell, RECORD)
    lines = [line.split(": ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert lines[:2] == ["choosing images", "training"]
    assert len(lines) == 2 + 4
    assert all("90.00 %" in line for line in lines[2:])


def test_packed_cells_in_turn_do_not_tell_each_stage(
    shown: Any, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    for cell in CELLS[:2]:
        shown.cell_started(cell)
    for _ in range(5):
        for cell, stage in ((CELLS[0], "choosing images"), (CELLS[1], "training")):
            shown.about(cell)
            shown.stage(stage, 0, 0)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_waiting_is_told_at_once_where_nothing_else_is_done(
    shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shown.cell_started(CELLS[0])
    shown.waiting("bins made by another bench run (process 7 on here)")
    told = "[ 2/12] waiting for bins made by another bench run (process 7 on here)\n"
    assert capsys.readouterr().err == told


def test_alone_the_time_left_follows_from_what_was_done_here(shown: Any, clock: Clock) -> None:
    for cell in CELLS[:2]:
        shown.cell_started(cell)
        clock.now += 10
        shown.cell_finished(cell, RECORD)
    assert shown.share_done == pytest.approx(0.2)
    assert shown.left == "1:20 left"


def test_what_another_run_completes_meanwhile_counts(
    shown: Any, clock: Clock, recorded: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for cell, others in ((CELLS[0], CELLS[9]), (CELLS[1], CELLS[8])):
        shown.cell_started(cell)
        clock.now += 10
        recorded |= {cell.id, others.id, "cell-of-another-plan"}
        shown.cell_finished(cell, RECORD)
    assert (shown.done, shown.failed) == (2 + 4, 0)
    assert shown.left == "0:30 left"
    shown.cell_elsewhere(CELLS[9])  # its turn has come: it is counted already
    assert shown.left == "0:30 left"
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "[ 6/12] label of cell-9: computed by another bench run"


def test_a_cell_that_failed_here_and_not_elsewhere_is_complete(
    shown: Any, clock: Clock, recorded: set[str]
) -> None:
    shown.cell_started(CELLS[0])
    shown.cell_failed(CELLS[0], {"phase": "training", "type": "E", "message": "m"})
    assert (shown.done, shown.failed) == (2, 1)
    clock.now += 10
    recorded.add(CELLS[0].id)
    shown.cell_started(CELLS[1])
    shown.stage("training", 5, 10)
    assert (shown.done, shown.failed) == (3, 0)
    assert shown.share_done == pytest.approx(0.15)


def test_a_folder_that_takes_long_to_list_is_looked_at_seldom(clock: Clock) -> None:
    looks = []

    def slow() -> set[str]:
        looks.append(clock.now)
        clock.now += 1
        return set()

    shown: Any = PlainDisplay()
    shown.begin(Ahead({cell.id: 100 for cell in CELLS}, 0, slow))
    for _ in range(30):
        clock.now += 5
        shown.stage("training", 1, 10)
    assert looks == [1005.0, 1106.0]


def test_artefacts_that_cells_share_are_no_part_of_the_time_left(shown: Any, clock: Clock) -> None:
    clock.now += 60  # images are loaded
    shown.cell_started(CELLS[0])
    shown.shared_begins()
    clock.now += 300
    shown.stage("extractor", 9, 10)
    assert shown.left == "time left unknown"
    shown.shared_ends()
    clock.now += 10
    shown.stage("training", 10, 10)
    assert shown.left == "1:30 of training left"
    shown.cell_finished(CELLS[0], RECORD)
    shown.cell_started(CELLS[1])
    shown.shared_begins()
    clock.now += 300
    assert shown.left == "1:30 of training left"


def test_once_all_cells_have_their_artefacts_the_time_left_is_all(shown: Any, clock: Clock) -> None:
    shown.cell_started(CELLS[0])
    shown.shared_begins()
    clock.now += 300
    shown.shared_ends()
    for cell in CELLS[:-1]:
        shown.cell_started(cell)
        clock.now += 10
        shown.cell_finished(cell, RECORD)
    assert shown.left == "0:10 of training left"
    shown.cell_started(CELLS[-1])
    assert shown.left == "0:10 left"


def test_of_packed_cells_one_that_is_trained_lets_the_time_count(shown: Any, clock: Clock) -> None:
    for cell in CELLS[:3]:
        shown.cell_started(cell)
    for cell in CELLS[:2]:
        shown.about(cell)
        shown.shared_begins()
    shown.cell_postponed(CELLS[1])
    clock.now += 10  # the first one's artefact is made, the third one is trained
    shown.cell_finished(CELLS[2], RECORD)
    clock.now += 300  # nothing is trained
    assert shown.left == "1:30 of training left"
