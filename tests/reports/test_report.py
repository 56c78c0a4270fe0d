from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reports import markdown, summary, tables

GOLDEN = Path(__file__).parent / "golden"


def check_golden(name: str, text: str) -> None:
    """Compare with a committed text; BENCH_UPDATE_GOLDEN=1 writes it anew."""
    path = GOLDEN / name
    if os.environ.get("BENCH_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def everything(records, failures=()):
    results = summary.Collection.of(records, failures)
    (setting,) = results.settings()
    return results, setting


def test_the_tables_are_as_committed(records, failure):
    results, setting = everything(records, [failure])
    shown = [
        summary.accuracy_table(results, setting),
        summary.cost_table(results, setting),
        summary.failure_table(results),
    ]
    check_golden("tables.txt", "\n\n".join(map(tables.as_text, shown)) + "\n")
    check_golden("tables.md", "\n\n".join(map(tables.as_markdown, shown)) + "\n")


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
    for wanted in ("| dq | 10 |", "figures/accuracy-1.svg", "epochs 30", "a processor",
                   "0123456789ab", "Cells that failed", "failed: 1"):  # fmt: skip
        assert wanted in text
    ElementTree.parse(tmp_path / "figures" / "accuracy-1.svg")


def test_the_same_records_give_the_same_bytes_and_are_not_drawn_again(records, tmp_path):
    first = markdown.write_report(tmp_path / "a", records)
    second = markdown.write_report(tmp_path / "b", records)
    assert first.read_bytes() == second.read_bytes()
    figures = [folder / "figures" / "accuracy-1.svg" for folder in (first.parent, second.parent)]
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
    assert tables.duration(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(9, "9 B"), (9360, "9.36 kB"), (153_650_000, "154 MB"), (2.5e12, "2.5 TB")]
)
def test_sizes_are_told_in_fitting_units(value, shown):
    assert tables.size(value) == shown


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
