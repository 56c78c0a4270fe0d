"""How far a stage is and how long it will take, told in lines."""

from __future__ import annotations

import pytest

from bench.cli import stages


@pytest.fixture
def told(monkeypatch, capsys):
    """Return a function that gives a stage's signs of life, a second each, and the lines told."""
    now = [100.0]
    monkeypatch.setattr(stages.time, "monotonic", lambda: now[0])
    lines = stages.Lines()

    def run(stage, counts, total, second=1.0):
        for done in counts:
            lines.stage(stage, done, total)
            now[0] += second
        return capsys.readouterr().err.splitlines()

    return run


def test_a_long_stage_tells_its_time_left_first_and_then_now_and_then(told):
    lines = told("matching", range(60), 20_000)
    assert lines[0] == "matching 0/20,000"
    assert lines[1] == "matching 4/20,000, about 5:33:16 left"
    assert 4 <= len(lines) <= 8


def test_the_first_step_is_not_taken_for_a_usual_one(told):
    told("matching", [0], 1000, second=500.0)
    assert told("matching", range(1, 8), 1000)[-1].endswith("/1,000, about 16:36 left")


def test_what_an_earlier_process_did_does_not_count(told):
    lines = told("matching", range(900, 1000), 10_000)
    assert lines[1].endswith("left")
    assert ", about 2:31:" in lines[1]


def test_a_short_stage_is_told_once(told):
    assert told("bins", range(1, 8), 8) == ["bins 1/8"]


def test_a_stage_of_unknown_length_has_no_estimate(told):
    assert told("extractor", [0] * 5, 0) == ["extractor"]


def test_the_end_of_a_stage_is_told_once(told):
    counts = [256, 512, 768, 1000, 1000]
    assert told("reading images", counts, 1000) == [
        "reading images 256/1,000",
        "reading images 1,000/1,000",
    ]
