"""The files of a report."""

from __future__ import annotations

import csv
import json
import re
from xml.etree import ElementTree

import pytest

from reports import markdown, summary
from reports.collection import Collection
from reports.content import contents
from reports.figures import drawings
from reports.latex import as_macros
from reports.report import FORMATS, report_files, stale_files, write_report
from reports.runs import series_of

FIGURE = "accuracy-digits-resnet8-smoke.svg"


def test_the_report_has_table_figure_protocol_and_machine(records, failure, tmp_path):
    path = markdown.write_report(tmp_path, records, [failure])
    text = path.read_text(encoding="utf-8")
    for wanted in ("| dq | 10 |", f"figures/{FIGURE}", "epochs 30", "a processor",
                   "0123456789ab", "Cells that failed", "failed: 1"):  # fmt: skip
        assert wanted in text
    ElementTree.parse(tmp_path / "figures" / FIGURE)


def test_an_empty_and_an_all_failed_folder_give_a_useful_report(failure, tmp_path):
    empty = markdown.write_report(tmp_path / "empty", []).read_text(encoding="utf-8")
    assert "bench run" in empty
    failed = markdown.write_report(tmp_path / "failed", [], [failure]).read_text(encoding="utf-8")
    assert "Failed cells: 1" in failed
    assert "the pool" in failed


def files(records, failures=(), formats=("md",)):
    results = Collection.of(records, failures)
    return report_files(contents(results, list(records), figures=False), formats)


def test_the_whole_report_is_as_committed(records, failure, golden):
    golden("report.md", files(records, [failure])["report.md"].decode())


def test_settings_stand_by_their_complete_cells_wherever_they_are_listed(detailed):
    made = [
        detailed(method, seed=seed, model=model)
        for model, seeds in (("convnet3", 1), ("resnet18", 3), ("resnet50", 1))
        for method in ("random", "dq")
        for seed in range(seeds)
    ]
    failed = [
        {**detailed("dq", seed=seed, model="resnet50"), "phase": "p", "type": "E", "message": "m"}
        for seed in range(1, 9)
    ]
    expected = ["resnet18", "convnet3", "resnet50"]
    results = Collection.of(reversed(made), failed)
    assert [one.model for one in results.settings()] == expected
    assert list(dict.fromkeys(one.setting.model for one in series_of(made))) == expected
    assert [one.name.split("-")[2] for one in drawings(made, (), ["accuracy"])] == expected
    report = contents(results, made, figures=False)
    of = {section.name: section.tables for section in report.sections}
    for name in ("accuracy", "cost"):
        assert [table.title.split(", ")[1] for table in of[name]] == expected
    (comparisons,) = (table for table in of["statistics"] if table.name == "comparisons")
    assert [row["place"].split(", ")[1] for row in comparisons.rows] == expected
    told = as_macros(report.tables).splitlines()[0]
    assert [name.split("-")[1] for name in told.rpartition(": ")[2].split(", ")] == expected


def test_each_number_names_its_cells(records):
    results = Collection.of(records)
    (setting,) = results.settings()
    table = summary.accuracy_table(results, setting)
    (place,) = [
        k for k, row in enumerate(table.rows) if (row["method"], row["percent"]) == ("dq", 10.0)
    ]
    ours = [f"cell-2-dq-10-{seed}" for seed in range(3)]
    assert table.links[place, "accuracy"] == ours
    assert table.links[place, "to_random"] == [*ours, *(i.replace("dq", "random") for i in ours)]


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
    paths = write_report(tmp_path, made, [failure], list(FORMATS), figures=False)
    assert [path.name for path in paths[:5]] == list(FORMATS.values())
    assert not stale_files(tmp_path, made, [failure], figures=False)
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {row["method"] for row in content["tables"][0]["rows"]} == {*nasty, "dq"}


def test_csv_and_json_have_all_digits_that_mean_something(records):
    made = files(records, formats=("csv", "json"))
    lines = list(csv.DictReader(made[f"tables/{FIGURE[:-4]}.csv"].decode().splitlines()))
    dq = next(line for line in lines if (line["method"], line["percent"]) == ("dq", "10.0"))
    assert float(dq["accuracy"]) == pytest.approx((89.8 + 90.4 + 90.4) / 3, abs=1e-8)
    assert (dq["accuracy_n"], dq["to_random_n"]) == ("3", "3")
    assert lines[0]["to_random"] == ""
    table = json.loads(made["report.json"])["tables"][0]
    place = next(k for k, row in enumerate(table["rows"]) if row["method"] == "dq")
    ids = table["cell_lists"][table["cells"][place]["accuracy"]]
    assert ids == [f"cell-2-dq-10-{seed}" for seed in range(3)]


def test_last_bits_are_not_told(records):
    """They depend on the processor, and a report that is looked at elsewhere is still current."""

    def told():
        made = files(records, formats=("csv", "json"))
        accuracy = made[f"tables/{FIGURE[:-4]}.csv"]
        return accuracy, [t["rows"] for t in json.loads(made["report.json"])["tables"]]

    before = told()
    for record in records:
        record["metrics"]["accuracy"] *= 1 + 1e-15
    assert told() == before


def test_no_two_tables_share_a_file(record):
    other = record("dq", "10", 1, 50.0)
    other["cell"]["dataset"]["fingerprint"] = "other"
    made = files([record("dq", "10", 0, 90.0), other], formats=("csv", "json"))
    tables_made = json.loads(made["report.json"])["tables"]
    assert len({table["name"] for table in tables_made}) == len(tables_made)
    assert sum(name.endswith(".csv") for name in made) == len(tables_made)


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
