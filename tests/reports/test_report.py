from __future__ import annotations

import csv
import json
import random
import re
from xml.etree import ElementTree

import pytest

from bench.errors import UsageError
from bench.metering import told_bytes
from reports import durations, markdown, summary, tables
from reports.collection import Collection
from reports.content import contents
from reports.report import FORMATS, report_files, stale_files, write_report
from reports.tables import Column, Table

FIGURE = "accuracy-digits-resnet8-smoke.svg"


def everything(records, failures=()):
    results = summary.Collection.of(records, failures)
    (setting,) = results.settings()
    return results, setting


def test_the_tables_are_as_committed(records, failure, golden):
    results, setting = everything(records, [failure])
    shown = [
        summary.accuracy_table(results, setting),
        summary.cost_table(results, setting),
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
    for table in (summary.accuracy_table, summary.cost_table):
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
    results = summary.Collection.of([record("dq", "10", 0, 90.0), other])
    tables_made = [summary.accuracy_table(results, setting) for setting in results.settings()]
    assert [len(table.rows) for table in tables_made] == [1, 1]
    assert [table.rows[0]["accuracy"].mean for table in tables_made] == [50.0, 90.0]


def test_the_report_has_table_figure_protocol_and_machine(records, failure, tmp_path):
    path = markdown.write_report(tmp_path, records, [failure])
    text = path.read_text(encoding="utf-8")
    for wanted in ("| dq | 10 |", f"figures/{FIGURE}", "epochs 30", "a processor",
                   "0123456789ab", "Cells that failed", "failed: 1"):  # fmt: skip
        assert wanted in text
    ElementTree.parse(tmp_path / "figures" / FIGURE)


def test_the_same_records_give_the_same_bytes_and_are_not_drawn_again(records, tmp_path):
    first = markdown.write_report(tmp_path / "a", records)
    second = markdown.write_report(tmp_path / "b", records)
    assert first.read_bytes() == second.read_bytes()
    figures = [folder / "figures" / FIGURE for folder in (first.parent, second.parent)]
    assert figures[0].read_bytes() == figures[1].read_bytes()
    before = figures[0].stat().st_mtime_ns
    markdown.write_report(tmp_path / "a", records)
    assert figures[0].stat().st_mtime_ns == before
    markdown.write_report(tmp_path / "a", records[:-1])
    assert figures[0].stat().st_mtime_ns != before


def test_an_empty_and_an_all_failed_folder_give_a_useful_report(failure, tmp_path):
    empty = markdown.write_report(tmp_path / "empty", []).read_text(encoding="utf-8")
    assert "bench run" in empty
    failed = markdown.write_report(tmp_path / "failed", [], [failure]).read_text(encoding="utf-8")
    assert "Failed cells: 1" in failed
    assert "the pool" in failed


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.004, "4 ms"), (0.5, "0.5 s"), (42.3, "42 s"), (300, "5 min"), (9000, "2.5 h")],
)
def test_durations_are_told_in_fitting_units(value, shown):
    assert durations.duration(value) == shown


def test_an_interval_of_a_time_has_the_times_unit():
    assert durations.duration(131.0, 69.0) == "131 s"
    assert durations.duration(0.004, 1.5) == "0.0 s"
    assert durations.duration(20.0, 600.0) == "0.3 min"
    assert durations.duration(1800.0, 9000.0) == "0.5 h"


@pytest.mark.parametrize(
    ("value", "shown"), [(9, "9 B"), (9360, "9.36 kB"), (153_650_000, "154 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes_are_told_in_fitting_units(value, shown):
    assert told_bytes(value) == shown


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


def test_the_whole_report_is_as_committed(records, failure, golden):
    golden("report.md", files(records, [failure])["report.md"].decode())


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


def test_each_number_names_its_cells(records):
    table = summary.accuracy_table(*everything(records))
    (place,) = [
        k for k, row in enumerate(table.rows) if (row["method"], row["percent"]) == ("dq", 10.0)
    ]
    ours = [f"cell-2-dq-10-{seed}" for seed in range(3)]
    assert table.links[place, "accuracy"] == ours
    assert table.links[place, "to_random"] == [*ours, *(i.replace("dq", "random") for i in ours)]


def test_rows_with_fewer_seeds_are_told(records):
    notes = summary.accuracy_table(*everything(records[:-1])).notes
    (told,) = [note for note in notes if note.startswith("Incomplete")]
    assert "(3): adq[alpha=0.7] at 20 %" in told


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
    assert "| adq\\[alpha=0\\] | 10 | 88.10 ± 0.25 | 3 | -1.90 ± 0.25 |" in text


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


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_a_partial_and_an_all_failed_sweep_have_a_report_in_each_format(
    records, failure, name, tmp_path
):
    for case, (done, failed) in {
        "empty": ([], []), "partial": (records[:4], [failure]), "failed": ([], [failure]),
    }.items():  # fmt: skip
        (path,) = write_report(tmp_path / case, done, failed, [name], figures=False)[:1]
        written = "".join(
            file.read_text(encoding="utf-8")
            for file in (tmp_path / case).rglob("*")
            if file.suffix != ".pdf" and file.is_file()
        )
        if name != "csv" or case != "empty":
            assert path.exists()
        assert ("the pool" in written) == (case != "empty")
        if name not in ("csv", "json"):
            assert ("Run bench run" in written) == (case == "empty")
            assert ("Every cell failed" in written) == (case == "failed")


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_with_special_characters_harm_no_format(record, failure, tmp_path):
    nasty = ["<script>alert(1)</script>", "a_b&50%#1$x^2~\\{y}", "naïve中|`*", "--'\"--", "$a_$"]
    made = [record(name, "10", seed, 90.0 + seed) for name in nasty for seed in range(2)]
    failure["message"] = "</script><b>&amp; \\end{document} %"
    paths = write_report(tmp_path, made, [failure], list(FORMATS))
    assert [path.name for path in paths[:5]] == list(FORMATS.values())
    assert not stale_files(tmp_path, made, [failure])
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {row["method"] for row in content["tables"][0]["rows"]} == {*nasty, "dq"}


def test_csv_and_json_have_full_numbers(records):
    made = files(records, formats=("csv", "json"))
    lines = list(csv.DictReader(made[f"tables/{FIGURE[:-4]}.csv"].decode().splitlines()))
    dq = next(line for line in lines if (line["method"], line["percent"]) == ("dq", "10.0"))
    assert float(dq["accuracy"]) == pytest.approx((89.8 + 90.4 + 90.4) / 3, abs=1e-12)
    assert (dq["accuracy_n"], dq["to_random_n"]) == ("3", "3")
    assert lines[0]["to_random"] == ""
    table = json.loads(made["report.json"])["tables"][0]
    place = next(k for k, row in enumerate(table["rows"]) if row["method"] == "dq")
    ids = table["cell_lists"][table["cells"][place]["accuracy"]]
    assert ids == [f"cell-2-dq-10-{seed}" for seed in range(3)]


def test_no_two_tables_share_a_file(record):
    other = record("dq", "10", 1, 50.0)
    other["cell"]["dataset"]["fingerprint"] = "other"
    made = files([record("dq", "10", 0, 90.0), other], formats=("csv", "json"))
    tables_made = json.loads(made["report.json"])["tables"]
    assert len({table["name"] for table in tables_made}) == len(tables_made)
    assert sum(name.endswith(".csv") for name in made) == len(tables_made)


def test_check_finds_what_is_stale_and_writes_nothing(records, failure, tmp_path):
    with pytest.raises(UsageError, match="no report"):
        stale_files(tmp_path, records)
    write_report(tmp_path, records, [failure], ["md", "html", "csv", "json"])
    assert stale_files(tmp_path, records, [failure]) == {}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    changed = [dict(one) for one in records]
    changed[-1] = {**changed[-1], "metrics": {"accuracy": 1.0, "best_accuracy": 1.0}}
    stale = stale_files(tmp_path, changed, [failure])
    assert {"report.md", "report.html", "report.json", f"tables/{FIGURE[:-4]}.csv"} <= set(stale)
    (tmp_path / "figures" / FIGURE).unlink()
    assert stale_files(tmp_path, records, [failure]) == {f"figures/{FIGURE}": "is missing"}
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == {path: text for path, text in before.items() if path.name != FIGURE}


def test_figures_of_another_matplotlib_are_not_stale(records, tmp_path):
    write_report(tmp_path, records, (), ["md", "html"])
    for path in (tmp_path / "figures" / FIGURE, tmp_path / "report.html"):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"Matplotlib v[\w.]+", "Matplotlib v1.0", text), encoding="utf-8")
    assert stale_files(tmp_path, records) == {}
    page = tmp_path / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace("90.20", "90.21"), encoding="utf-8")
    assert list(stale_files(tmp_path, records)) == ["report.html"]


def test_what_is_current_is_left_as_it_is(records, tmp_path):
    page = tmp_path / "report.html"
    write_report(tmp_path, records, (), ["html"], figures=False)
    page.write_text(page.read_text(encoding="utf-8") + " ", encoding="utf-8")
    write_report(tmp_path, records, (), ["html"], figures=False)
    assert page.read_text(encoding="utf-8").endswith(" ")
    write_report(tmp_path, records, (), ["html"], anew=True, figures=False)
    assert not page.read_text(encoding="utf-8").endswith(" ")


def test_a_ledger_stands_where_a_published_number_can_be_tested(records, detailed):
    assert "None of the 172 published numbers" in files(records)["report.md"].decode()
    made = [
        detailed(method, percent, accuracy, seed=seed)
        for method, accuracy in {"dq": 84.1, "adq": 86.2, "random": 80.0}.items()
        for percent in (10, 20)
        for seed in range(3)
    ]
    text = files(made)["report.md"].decode()
    assert "### Published numbers and ours" in text
    assert "### Published numbers that were not run" in text
    assert "reproduced" in text


def test_under_every_table_stand_n_interval_and_protocol(records, detailed):
    made = [*records, detailed("full", 100, 95.6)]
    for seed in range(3):
        made += [
            detailed(method, ratio, 60.0 + seed + ratio, seed=seed, protocol=protocol)
            for method in ("random", "dq", "adq", "adq[scores=rs]", "adq[scores=ds]")
            for ratio in (10, 20)
            for protocol in ("paper", "matched-steps")
        ]
    shown = contents(Collection.of(made), made, figures=False).tables
    sections = {table.name.split("-")[0] for table in shown}
    assert {"accuracy", "table1", "table2", "table3", "cost", "ablation", "comparisons",
            "aggregates", "orders", "optimism", "budgets", "ledger"} <= sections  # fmt: skip
    for table in shown:
        if table.name in ("arithmetic", "ledger-not-run"):
            continue  # no numbers of ours
        told = f"{table.title} {' '.join(table.notes)} {[c.heading for c in table.columns]}"
        assert "interval" in told, table.name
        assert re.search(r"protocol", told, re.IGNORECASE), table.name
        assert {"n", "runs"} & {c.key for c in table.columns} or re.search(
            "Runs of each cell|n = 1", told
        ), table.name


def test_cells_in_conflict_are_told_until_one_version_is_the_result(records, tmp_path):
    (tmp_path / "conflicts" / "cell-2-x").mkdir(parents=True)
    write_report(tmp_path, records, figures=False)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Cells in conflict, in no table: 1 (cell-2-x)" in text
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "cell-2-x.json").write_text("{}")
    write_report(tmp_path, records, anew=True, figures=False)
    assert "conflict" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_existing_tables_need_no_new_fields():
    table = Table("plain", [Column("a", "a")], [{"a": "x"}], ["note"])
    assert (table.bold, dict(table.links), table.name, table.all_notes) == (
        frozenset(), {}, "", ["note"],
    )  # fmt: skip
    assert tables.as_json(table) == {"title": "plain", "rows": [{"a": "x"}], "notes": ["note"]}


@pytest.mark.parametrize(
    ("text", "name"),
    [("adq[alpha=0.7], ResNet 18", "adq-alpha-0.7-ResNet-18"), ("naïve", "naive"),
     ("../../x", "x"), ("中", "unnamed"), ("", "unnamed")],
)  # fmt: skip
def test_names_of_files_are_ascii(text, name):
    assert tables.ascii_name(text) == name


def test_what_reconstructing_needs_once_stands_beside_the_bytes(record):
    records = [record("dq", "10", seed, 90.0 + seed) for seed in range(2)]
    for made in records:
        made["compressed"]["shared_bytes"] = 676_288
    notes = summary.cost_table(*everything(records)).notes
    assert any("dq needs 676 kB more, once" in note for note in notes)
