"""The main tables: accuracy, cost, machine, failures, variants."""

from __future__ import annotations

import json
import random

import pytest

from bench.protocols import PROTOCOLS
from reports import spending, summary, tables
from reports.collection import Collection
from reports.content import contents
from reports.contests import contests
from reports.report import report_files
from reports.tables import Column, Table


def everything(records, failures=()):
    results = Collection.of(records, failures)
    (setting,) = results.settings()
    return results, setting


def test_the_tables_are_as_committed(records, failure, golden):
    results, setting = everything(records, [failure])
    shown = [
        summary.accuracy_table(results, setting),
        spending.cost_table(results, setting),
        summary.failure_table(results),
    ]
    golden("tables.txt", "\n\n".join(map(tables.as_text, shown)) + "\n")
    golden("tables.md", "\n\n".join(map(tables.as_markdown, shown)) + "\n")


def test_the_accuracy_tables_lines_fit_a_terminal(records):
    text = tables.as_text(summary.accuracy_table(*everything(records)))
    lines = text.split("\n")
    assert max(map(len, lines)) <= 80


def test_numbers_are_those_of_the_records(records):
    rows = summary.accuracy_table(*everything(records)).rows
    by_key = {(row["method"], row["percent"]): row for row in rows}
    dq = by_key["dq", 10.0]
    assert dq["accuracy"].mean == pytest.approx((89.8 + 90.4 + 90.4) / 3)
    assert dq["to_random"].mean == pytest.approx(0.2)
    assert dq["to_random"].half_width == pytest.approx(0.2484, abs=1e-3)
    assert by_key["random", 10.0]["to_random"] is None
    assert by_key["full", 100.0]["images"] == 1000


def test_a_best_epoch_is_told_where_several_were_tested(records):
    def shown(*epochs):
        curve = {"curve": {"accuracy": dict.fromkeys(epochs, 90.0)}}
        made = [{**one, "metrics": {**one["metrics"], **curve}} for one in records]
        return tables.as_text(summary.accuracy_table(*everything(made)))

    assert "est epoch" not in shown("30")
    assert "Best epoch: of the 3 tested, chosen on the test split" in shown("10", "20", "30")


def test_a_difference_uses_common_seeds_only(records):
    kept = [r for r in records if not (r["specs"]["method"] == "random" and r["id"].endswith("-2"))]
    rows = summary.accuracy_table(*everything(kept)).rows
    (dq,) = [row for row in rows if (row["method"], row["percent"]) == ("dq", 10.0)]
    assert dq["accuracy"].n == 3
    assert dq["to_random"].n == 2


def test_a_method_that_no_budget_changes_is_told_by_what_it_kept(record):
    runs = [record("dq", "30", 0, 90.0)]
    for seed, images in enumerate((727, 733)):
        literal = record("adq[edition=literal]", "100", seed, 91.0)
        literal["compressed"]["images"] = images
        literal["method"]["budgeted"] = False
        runs.append(literal)
    results = Collection.of(runs)
    (setting,) = results.settings()
    for table in (summary.accuracy_table, spending.cost_table):
        shares = {row["method"]: row["percent"] for row in table(results, setting).rows}
        assert shares == {"dq": 30, "adq[edition=literal]": 73.0}


def test_a_single_run_shows_no_interval(record):
    text = tables.as_text(summary.accuracy_table(*everything([record("dq", "10", 0, 91.234)])))
    assert "91.23  1" in text
    assert "±" not in text.split("Accuracy:")[0]


def test_failed_cells_stay_visible(records, failure):
    results, setting = everything(records, [failure])
    table = summary.accuracy_table(results, setting)
    (row,) = [row for row in table.rows if row["percent"] == 30.0]
    assert row["accuracy"] is None
    assert (row["n"], row["failed"]) == (0, 1)


def test_no_empty_table_of_costs_is_shown_where_every_cell_failed(failure):
    titles = [table.title for table in summary.all_tables(Collection.of([], [failure]))]
    assert titles == ["digits, resnet8, protocol smoke", "Cells that failed"]


def test_a_ratio_that_counts_bytes_is_told_under_tables_of_images(records, record):
    def notes(*more):
        collection = Collection.of([*records, *more])
        (setting,) = collection.settings()
        made = [f(collection, setting) for f in (summary.accuracy_table, spending.cost_table)]
        return [[n for n in table.notes if "the ratio counts bytes" in n] for table in made]

    smaller = [record("jpeg", "10", 0, 80.0), record("jpeg", "20", 0, 85.0)]
    of_bytes = record("jpeg", "10", 1, 80.0, of="bytes")
    for one in (*smaller, of_bytes):
        one["method"]["keeps"] = "bytes"
    assert notes() == notes(of_bytes) == [[], []]
    for (told,) in notes(*smaller):
        assert told.startswith("jpeg: the ratio counts bytes here, not images.")


def test_json_keeps_full_numbers(records):
    content = json.dumps(tables.as_json(summary.accuracy_table(*everything(records))))
    accuracy = json.loads(content)["rows"][0]["accuracy"]
    assert accuracy["mean"] == pytest.approx(99.1)
    assert set(accuracy) == {"mean", "half_width", "n"}


def test_results_of_different_code_are_told(record):
    mixed = [record("dq", "10", 0, 90.0), record("dq", "10", 1, 91.0, digest="d2")]
    notes = summary.accuracy_table(*everything(mixed)).notes
    assert any("different versions of the code" in note for note in notes)


def test_settings_are_never_mixed_in_one_table(record):
    other = record("dq", "10", 1, 50.0, specs={"protocol": "paper"})
    results = Collection.of([record("dq", "10", 0, 90.0), other])
    tables_made = [summary.accuracy_table(results, setting) for setting in results.settings()]
    assert [len(table.rows) for table in tables_made] == [1, 1]
    assert [table.rows[0]["accuracy"].mean for table in tables_made] == [50.0, 90.0]


def test_the_same_name_with_another_version_is_another_row(record):
    records = [record("dq", "10", 0, 90.0), record("dq", "10", 1, 95.0, version=2)]
    table = summary.accuracy_table(*everything(records))
    assert [row["n"] for row in table.rows] == [1, 1]
    assert all(row["method"].startswith("dq #") for row in table.rows)
    assert any("marked #" in note for note in table.notes)


def test_a_method_without_selection_seeds_is_paired_by_its_training_seeds(record):
    unseeded = [record("bright", "10", seed, 91.0 + seed) for seed in range(3)]
    for made in unseeded:
        made["method"]["seeded"] = False
        made["cell"]["selection_seed"] = 0
    control = [record("random", "10", seed, 90.0 + seed) for seed in range(3)]
    rows = summary.accuracy_table(*everything(unseeded + control)).rows
    (bright,) = [row for row in rows if row["method"] == "bright"]
    assert (bright["to_random"].mean, bright["to_random"].n) == (1.0, 3)


def files(records, failures=(), formats=("md",)):
    results = Collection.of(records, failures)
    return report_files(contents(results, list(records), figures=False), formats)


def test_the_best_is_bold_only_where_it_beats_every_other(record):
    noise = (0.0, 0.4, -0.4, 0.2, -0.2)
    made = []
    for seed in range(5):
        made += [
            record("random", "10", seed, 80 + noise[seed]),
            record("dq", "10", seed, 85 + noise[seed] + 0.01 * seed),
            record("adq", "10", seed, 90 + noise[seed] - 0.02 * seed),
            record("random", "20", seed, 80 + noise[seed]),
            record("dq", "20", seed, 90 + noise[seed]),
            record("adq", "20", seed, 90.1 + noise[-seed]),
            record("dq", "30", seed, 95 + noise[seed]),
        ]
    table = summary.accuracy_table(*everything(made))
    bold = [(table.rows[k]["method"], table.rows[k]["percent"], c) for k, c in table.bold]
    assert bold == [("adq", 10.0, "accuracy")]
    assert "| **89.96 ± 0." in tables.as_markdown(table)
    assert "Holm" in tables.as_markdown(table)
    assert "**" not in tables.as_text(table)


def test_one_run_is_never_bold(record):
    made = [record("random", "10", 0, 50.0), record("dq", "10", 0, 99.0)]
    assert not summary.accuracy_table(*everything(made)).bold


def test_what_no_budget_changes_stands_beside_the_share_that_it_kept(record):
    made = [record("full", "100", 0, 99.0)]
    made += [record("random", percent, 0, 90.0) for percent in ("10", "20", "30")]
    made += [record("indices", "100", 0, 90.0)]
    made[-1]["method"]["budgeted"] = False
    made[-1]["compressed"] |= {"images": 150, "full_images": 1000}
    table = summary.accuracy_table(*everything(made))
    told = [(row["method"], row["percent"]) for row in table.rows]
    random = [("random", ratio) for ratio in (10, 20, 30)]
    assert told == [("full", 100), random[0], ("indices", 15), *random[1:]]


def test_the_best_is_that_of_the_methods_that_keep_as_much(record):
    made = []
    for seed in range(5):
        noise = (0.0, 0.4, -0.4, 0.2, -0.2)[seed]
        made.append(record("random", "15", seed, 80 + noise))
        for name, images in (("few", 150), ("many", 500)):
            listed = record(name, "100", seed, 85 + images / 100 + noise + 0.01 * seed)
            listed["method"]["budgeted"] = False
            listed["compressed"]["images"] = images + seed - 2
            made.append(listed)
    table = summary.accuracy_table(*everything(made))
    assert [table.rows[place]["method"] for place, _ in table.bold] == ["few"]
    assert [row["images"] for row in table.rows if row["method"] == "many"] == [500]


def test_many_equal_methods_are_rarely_bold(record):
    rng = random.Random(0)
    marked = 0
    for _ in range(100):
        made = [
            record(f"method{m}", "10", seed, 90 + rng.gauss(0, 1))
            for m in range(6)
            for seed in range(5)
        ]
        marked += bool(summary.accuracy_table(*everything(made)).bold)
    assert marked <= 5


def test_rows_with_fewer_seeds_are_told(records):
    notes = summary.accuracy_table(*everything(records[:-1])).notes
    (told,) = [note for note in notes if note.startswith("Incomplete")]
    assert told.endswith("seeds. 3 seeds: the other 6 rows; 2 seeds: adq[alpha=0.7] at 20 %.")


def test_the_number_of_seeds_that_most_rows_have_is_told_without_their_names(record):
    made = [record(name, "10", seed, 90.0) for seed in range(3) for name in ("random", "dq")]
    made += [record("dq", "20", 0, 90.0)]
    made += [record(f"method{number}", "10", 0, 90.0) for number in range(20)]
    made += [record(f"other{number}", "10", seed, 90.0) for number in range(9) for seed in (0, 1)]
    (told,) = [
        note for note in summary.accuracy_table(*everything(made)).notes if "Incomplete" in note
    ]
    assert told == (
        "Incomplete: rows differ in their number of training seeds. "
        "3 seeds: random, dq at 10 %; 2 seeds: 9 rows; 1 seed: the other 21 rows."
    )


def test_variants_of_a_method_are_compared_with_its_default(record):
    made = [
        record(spec, "10", seed, accuracy + 0.1 * seed * k)
        for k, (spec, accuracy) in enumerate({"adq": 90.0, "adq[alpha=0]": 88.0}.items())
        for seed in range(3)
    ]
    for one in made:
        one["cell"]["method"]["name"] = "adq"
        one["cell"]["method"]["parameters"] = {"alpha": one["specs"]["method"]}
    text = files(made)["report.md"].decode()
    assert "### Variants of adq: digits, resnet8, protocol smoke" in text
    assert "| adq\\[alpha=0\\] | 10 | 88.10 ± 0.25 | 3 | −1.90 ± 0.25 |" in text
    for one in made:
        one["method"]["reconstruction"] = True
    text = files(made)["report.md"].decode()
    assert "### Variants of adq (reconstruction): digits, resnet8, protocol smoke" in text


def measured(made, **cost):
    made["model"] = {
        "parameters": 77754, "operations_per_image": 4.1e6, "our_choice": "narrower",
    }  # fmt: skip
    made["cost"] |= {
        "training_operations": 1.2e11, "operations_per_s": 3.3e9, "share_of_peak": 0.23,
        "process_peak_memory_bytes": 9e8, "device_peak_memory_bytes": None, **cost,
    }  # fmt: skip
    return made


def test_how_the_machine_was_used_is_told_where_it_was_measured(record):
    text = files([measured(record("dq", "10", 0, 90.0)), record("dq", "20", 0, 91.0)])
    told = text["report.md"].decode()
    assert "| dq | 10 | 120 G | 3.3 G | 23.0% | 900 MB |" in told
    assert "77,754 parameters, 4.1 M operations" in told
    assert "The network is our choice: narrower." in told
    assert "GPU memory" not in told


def test_runs_without_a_measured_peak_leave_the_share_to_the_others(record):
    made = [measured(record("dq", "10", seed, 90.0)) for seed in range(2)]
    made[0]["cost"]["share_of_peak"] = None
    assert "| dq | 10 | 120 G | 3.3 G | 23.0% |" in files(made)["report.md"].decode()
    made[1]["cost"]["share_of_peak"] = None
    assert "| dq | 10 | 120 G | 3.3 G | – |" in files(made)["report.md"].decode()


def test_times_of_a_busy_machine_are_told_as_such(record):
    def notes(**times):
        records = [record("dq", "10", seed, 90.0 + seed) for seed in range(3)]
        for made, (key, value) in zip(records, times.items(), strict=False):
            made["cost"][key.rstrip("_")] = value
        return " ".join(spending.cost_table(*everything(records)).notes)

    assert "busy" not in notes()
    assert "busy" not in notes(processor_share=0.9, processor_share_=None)
    told = notes(processor_share=0.4, processor_share_=0.95)
    assert "in 1 of 2 cells training had a processor for less than half of its time" in told
    assert "In 1 of 1 rows with several runs, a step" in notes(training_s=3.0)
    assert "rows with several runs" not in notes(training_s=1.9)  # as long as twice


def test_existing_tables_need_no_new_fields():
    table = Table("plain", [Column("a", "a")], [{"a": "x"}], ["note"])
    assert (table.bold, dict(table.links), table.name, table.all_notes) == (
        frozenset(), {}, "", ["note"],
    )  # fmt: skip
    assert tables.as_json(table) == {"title": "plain", "rows": [{"a": "x"}], "notes": ["note"]}


def test_what_reconstructing_needs_once_stands_beside_the_bytes(record):
    records = [record("dq", "10", seed, 90.0 + seed) for seed in range(2)]
    for made in records:
        made["compressed"]["shared_bytes"] = 676_288
    notes = spending.cost_table(*everything(records)).notes
    assert any("dq needs 676 kB more, once" in note for note in notes)
    assert not any("stands in" in note for note in notes)
    for made in records:
        made["compressed"]["notes"] = {"pixels": {"mae": "small"}}
    notes = spending.cost_table(*everything(records)).notes
    assert any("small autoencoder, trained here, which stands in for" in note for note in notes)


def test_an_older_version_of_a_protocol_is_a_protocol_of_its_own(record):
    made = []
    for version, seeds, gain in ((1, 5, 9.0), (2, 3, 1.0)):
        for seed in range(seeds):
            for method, accuracy in (("dq", 80.0 + gain + seed), ("random", 80.0 + seed / 2)):
                one = record(method, "10", seed, accuracy)
                one["cell"]["protocol"]["version"] = version
                made.append(one)
    results = Collection.of(made)
    settings = {setting.older: setting for setting in results.settings()}
    older, newest = settings[" (protocol version 1)"], settings[""]
    assert older.title == f"{newest.title} (protocol version 1)"
    alone = Collection.of(made[-6:])
    assert results.slug(newest) == alone.slug(*alone.settings())
    runs = {contest.protocol: contest.runs()["dq"] for contest in contests(results)}
    assert runs == {
        older.training: {(seed, seed): 89.0 + seed for seed in range(5)},
        newest.training: {(seed, seed): 81.0 + seed for seed in range(3)},
    }


def test_records_that_are_all_older_than_the_installed_protocol_are_told_so(record):
    installed = PROTOCOLS.get("cpu").version

    def notes(protocol, version):
        one = record("dq", "10", 0, 90.0, specs={"protocol": protocol})
        one["cell"]["protocol"] |= {"name": protocol.partition("[")[0], "version": version}
        return " ".join(summary.accuracy_table(*everything([one])).notes)

    told = f"version {installed - 1} of the protocol cpu, and {installed} is installed"
    assert told in notes("cpu", installed - 1)
    assert told in notes("cpu[epochs=3]", installed - 1)
    for protocol, version in (("cpu", installed), ("cpu", installed + 1), ("a-plugin-s", 1)):
        assert "is installed" not in notes(protocol, version)


def test_an_older_version_is_told_beside_a_newer_one_with_other_parameters(record):
    made = [record("dq", "10", 0, 90.0), record("dq", "10", 0, 91.0)]
    made[1]["specs"] = {**made[1]["specs"], "protocol": "cpu[epochs=3]"}
    made[0]["cell"]["protocol"]["version"] = 2
    made[0]["specs"] = {**made[0]["specs"], "protocol": "cpu"}
    titles = [setting.title for setting in Collection.of(made).settings()]
    assert sum(title.endswith("cpu[epochs=3] (protocol version 1)") for title in titles) == 1


def test_the_newest_version_of_one_method_leaves_the_others_where_they_are(record):
    made = [record(method, "10", 0, 90.0) for method in ("random", "dq")]
    made += [record("adq", "10", 0, 91.0, version=version) for version in (1, 2)]
    (contest,) = contests(Collection.of(made))
    assert sorted(contest.keys) == ["adq", "dq", "random"]
    assert len(contest.runs()["adq"]) == 1
