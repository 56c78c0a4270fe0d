from __future__ import annotations

import numpy as np
import pytest

from reports.aggregates import aggregates_table
from reports.collection import Collection
from reports.comparisons import comparisons_table
from reports.contests import contests
from reports.statistics_tables import optimism_table, orders_table, statistics_tables
from reports.tables import as_markdown, as_text


@pytest.fixture
def made(record):
    """Six seeds of four methods under two protocols: dq above random, adq as dq, bright below."""
    records = []
    noise = np.random.default_rng(0).normal(0, 0.2, (3, 6))
    for protocol, turned in (("paper", 1), ("smoke", -1)):
        for seed in range(6):
            for method, gain, k in (("random", 0.0, 0), ("dq", 2.0, 1), ("adq", 2.0, 2)):
                accuracy = 80 + turned * gain + noise[k][seed]
                records.append(record(method, "10", seed, accuracy, specs={"protocol": protocol}))
            bright = record("bright", "10", seed, 70 + noise[0][seed], specs={"protocol": protocol})
            bright["method"]["seeded"] = False
            bright["cell"]["selection_seed"] = 0
            records.append(bright)
            records.append(record("full", "100", seed, 99.0, specs={"protocol": protocol}))
    return records


def found(records):
    return contests(Collection.of(records))


def of(table, **wanted):
    return [
        row
        for row in table.rows
        if all(str(value) in str(row.get(key)) for key, value in wanted.items())
    ]


def test_a_reconstruction_is_called_one_in_every_table(made):
    for one in made:
        one["method"]["reconstruction"] = one["specs"]["method"] == "dq"
    names = {
        row[column]
        for table in statistics_tables(Collection.of(made))
        for row in table.rows
        for column in ("method", "than", "of", "first")
        if column in row
    }
    assert "dq (reconstruction)" in names
    assert "dq" not in names


def test_comparisons_are_paired_and_corrected(made):
    table = comparisons_table(found(made))
    (dq,) = of(table, method="dq", than="random", place="paper")[:1]
    assert dq["n"] == 6
    assert dq["difference"].mean == pytest.approx(2.0, abs=0.4)
    assert dq["p"] < 0.01
    assert dq["detectable"] < 2.0
    (adq,) = [row for row in of(table, than="dq", place="paper") if row["method"] == "adq"]
    assert adq["p"] > 0.05
    assert adq["needed"] is None or adq["needed"] > 6
    (bright,) = of(table, method="bright", than="random", place="paper")
    assert bright["n"] == 6  # its runs stand for every selection seed
    assert bright["detectable"] is None  # the difference is the same for every seed
    assert len(table.rows) == 2 * 5
    assert not of(table, method="full")
    assert "of 10" in table.notes[0]


def test_one_seed_is_compared_without_a_test(made):
    table = comparisons_table(found([one for one in made if one["cell"]["training_seed"] == 0]))
    assert {row["n"] for row in table.rows} == {1}
    assert {row["p"] for row in table.rows} == {None}
    assert "0 of" in table.notes[0]


def test_protocols_that_turn_the_order_round_are_told(made):
    table = orders_table(found(made))
    (between,) = of(table, between="paper / smoke")
    assert between["tau"] < 1
    assert between["methods"] == 4
    (firm,) = of(table, between="paper, other seeds")
    assert firm["n"] == 6
    assert firm["tau"] > 0.5
    assert firm["first"] in ("dq", "adq")


def test_optimism_is_what_the_best_epoch_adds(made):
    table = optimism_table(found(made))
    assert {round(row["gain"].mean, 9) for row in table.rows} == {0.5}  # as the records have it
    assert all(abs(row["spread"]) < 1e-9 for row in table.rows)
    assert all(row["tau"] == 1.0 for row in table.rows)


def with_curve(record, **accuracies):
    """The record, with these accuracies by epoch."""
    curve = {name.removeprefix("epoch_"): value for name, value in accuracies.items()}
    return {**record, "metrics": {**record["metrics"], "curve": {"accuracy": curve}}}


def test_without_a_choice_of_epochs_there_is_no_optimism(made):
    once = [with_curve(one, epoch_30=80.0) for one in made]
    assert optimism_table(found(once)).rows == []
    thrice = [with_curve(one, epoch_10=70.0, epoch_20=80.5, epoch_30=80.0) for one in made]
    assert {row["tested"] for row in optimism_table(found(thrice)).rows} == {"3"}


def test_runs_without_a_choice_of_epochs_are_left_out_of_optimism(made):
    mixed = [
        with_curve(one, epoch_30=80.0) if one["cell"]["training_seed"] == 0 else one for one in made
    ]
    assert {row["n"] for row in optimism_table(found(mixed)).rows} == {5}


def test_over_all_ratios_methods_are_compared_with_random_at_the_same_tasks(record):
    records = []
    for seed in range(5):
        for percent, base in (("10", 80.0), ("20", 90.0)):
            noise = 0.1 * seed
            records.append(record("random", percent, seed, base + noise))
            records.append(record("dq", percent, seed, base + 1 + noise))
        records.append(record("adq", "10", seed, 85.0))  # one ratio only
        records.append(record("dq", "20", seed, 99.0, of="bytes"))
    table = aggregates_table(found(records))
    (row,) = table.rows
    assert table.texts()[0][4] == "+1.00 (5 equal)"
    assert (row["method"], row["tasks"], row["n"], row["pairs"]) == ("dq", 2, 10, 5)
    gain, better = row["gain"], row["better"]
    assert (gain.value, gain.low, gain.high) == pytest.approx((1.0, 1.0, 1.0))
    assert (better.value, better.low, better.high) == (1.0, 1.0, 1.0)
    assert row["iqm"].value - row["control_iqm"] == pytest.approx(1.0)
    assert row["iqm"].low < row["iqm"].value < row["iqm"].high
    alone = aggregates_table(found([one for one in records if one["cell"]["training_seed"] == 0]))
    assert alone.texts()[0][4:] == ["+1.00", "1", "86.00", "85.00", "100%"]
    assert aggregates_table([]).rows == []


def test_over_all_ratios_a_row_pools_one_identity_and_tells_what_is_left_out(record):
    def of_version(versions):
        return [
            record(method, percent, seed, 80 + gain, version=version)
            for percent, version, gain in zip(("10", "20"), versions, (5, -1), strict=True)
            for method, gain in (("random", 0), ("dq", gain))
            for seed in range(5)
        ]

    assert [r["n"] for r in aggregates_table(found(of_version((1, 1)))).rows] == [10]
    mixed = [one for one in of_version((1, 2)) if one["specs"]["method"] == "dq"]
    mixed += [one for one in of_version((1, 1)) if one["specs"]["method"] == "random"]
    assert aggregates_table(found(mixed)).rows == []
    (table, *_) = statistics_tables(Collection.of(mixed))
    assert {row["method"] for row in table.rows} == {"dq"}
    assert len(table.rows) == 1
    assert "dq #" in table.notes[-1]
    assert "(5)" in table.notes[-1]


def test_over_all_networks_a_row_pools_one_identity_of_a_protocol(record):
    records = []
    for model, epochs in (("resnet8", 30), ("vit", 60)):
        for method, accuracy in (("random", 80.0), ("dq", 81.0)):
            made = record(method, "10", 0, accuracy, specs={"model": model})
            made["cell"]["protocol"]["parameters"]["epochs"] = epochs
            records.append(made)
    assert len(found(records)) == 1
    for made in records:
        made["cell"]["protocol"]["parameters"]["epochs"] = 30
    assert len(found(records)) == 2
    assert len(aggregates_table(found(records)).rows) == 1


def test_the_tables_render_and_none_needs_rows(made):
    for make in (comparisons_table, aggregates_table, orders_table, optimism_table):
        table = make(found(made))
        assert table.name.isascii()
        assert table.name
        assert "|" in as_markdown(table)
        assert make([]).rows == []
        assert as_text(make([]))


def test_a_method_that_no_budget_changes_meets_those_that_keep_its_share(record):
    """Two index files of other sizes are never compared, and random is where it keeps as many."""
    records = []
    for seed in range(3):
        records += [record("random", "5", seed, 60 + seed), record("random", "50", seed, 70 + seed)]
        for name, images in (("few", 50), ("many", 500)):
            listed = record(name, "100", seed, 65 + seed)
            listed["method"] |= {"budgeted": False, "seeded": False}
            listed["cell"]["selection_seed"] = 0
            listed["compressed"] |= {"images": images}
            records.append(listed)
    places = {(contest.place.percent, *contest.keys) for contest in found(records)}
    assert places == {(5.0, "few", "random"), (50.0, "many", "random")}
    rows = comparisons_table(found(records)).rows
    assert {(row["method"], row["than"], round(row["difference"].mean)) for row in rows} == {
        ("few", "random", 5), ("many", "random", -5),
    }  # fmt: skip
