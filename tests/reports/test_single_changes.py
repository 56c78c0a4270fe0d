"""What one change is worth: the right pairs are compared, and paired over seeds."""

from __future__ import annotations

import pytest

from reports.collection import Collection
from reports.contests import contests
from reports.single_changes import protocol_table, single_change_table

GAINS = {
    "random": 0.0,
    "dq": 1.0,
    "adq": 2.0,
    "adq[alpha=0.3]": 2.5,
    "adq[alpha=1]": 3.0,
    "adq[scores=rs]": 1.5,
    "adq[alpha=1,scores=rs]": 1.0,
    "dq[edition=released,extractor=resnet8]": 0.5,
    "dq[edition=released,extractor=resnet8,loss=cross-entropy]": 0.75,
    "adq[edition=released,extractor=resnet8]": 0.25,
    "adq[edition=released-intended,extractor=resnet8]": 0.5,
    "classwise[base=dq,learners=1]": 4.0,
    "classwise[base=herding]": 4.0,
}


@pytest.fixture
def records(record):
    """Four seeds of every method under two protocols; the second adds a point and a half."""
    wobble = (0.0, 0.25, -0.25, 0.125)
    return [
        record(method, "10", seed, 80 + gain + added + wobble[seed] * (place + 1) / 8,
               specs={"protocol": protocol})
        for place, (method, gain) in enumerate(GAINS.items())
        for protocol, added in (("cpu", 0.0), ("cpu[epochs=60]", 1.5))
        for seed in range(4)
    ]  # fmt: skip


def found(records):
    return contests(Collection.of(records))


def test_methods_that_differ_in_one_parameter_are_compared_with_the_one_without_it(records):
    table = single_change_table(found(records))
    rows = [row for row in table.rows if row["place"].endswith(", cpu")]
    assert {(row["of"], row["change"]) for row in rows} == {
        ("adq", "alpha=0.3"),
        ("adq", "alpha=1"),
        ("adq", "scores=rs"),
        ("adq[scores=rs]", "alpha=1"),
        ("adq[alpha=1]", "scores=rs"),
        ("dq[edition=released,extractor=resnet8]", "loss=cross-entropy"),
        ("adq[edition=released,extractor=resnet8]", "edition=released-intended"),
        ("dq", "classwise[base=dq,learners=1]"),
    }


def test_differences_are_paired_over_seeds_and_corrected(records):
    table = single_change_table(found(records))
    (row,) = [r for r in table.rows if r["change"] == "alpha=1" and r["of"] == "adq"][:1]
    assert row["n"] == 4
    assert row["difference"].mean == pytest.approx(1.0, abs=0.05)
    assert row["difference"].half_width < 0.2  # what seeds share is gone
    assert 0 < row["p"] < 0.05


def test_the_same_cells_are_compared_between_protocols(records):
    table = protocol_table(found(records))
    assert len(table.rows) == len(GAINS)
    assert {row["change"] for row in table.rows} == {"cpu → cpu[epochs=60]"}
    for row in table.rows:
        assert row["difference"].mean == pytest.approx(1.5)
        assert row["n"] == 4


def test_one_seed_has_no_p(records):
    table = single_change_table(
        found([one for one in records if one["cell"]["training_seed"] == 0])
    )
    assert {row["p"] for row in table.rows} == {None}
    assert protocol_table(found([])).rows == []
