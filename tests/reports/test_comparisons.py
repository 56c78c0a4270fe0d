"""Comparisons with the baselines: the whole table, and short ones where it has many rows."""

from __future__ import annotations

import copy

import pytest

from reports.collection import Collection
from reports.content import contents
from reports.report import report_files

METHODS = ("random", "dq", *(f"dq[bins={k}]" for k in range(2, 11)))


@pytest.fixture
def report(record):
    """Return a function that makes the report of many methods, and of one budget of bytes."""

    def make(percents=("10", "20", "30"), data=()):
        made = [
            record(method, percent, seed, 80 + len(method) + 0.1 * seed * number, of=of)
            for number, method in enumerate(METHODS)
            for percent, of in (*((one, "images") for one in percents), ("5", "bytes"))
            for seed in range(3)
            if of == "images" or method in ("random", "dq")
        ]
        records = [on(record, *one) for one in data for record in made] if data else made
        return contents(Collection.of(records), records, figures=False)

    return make


def on(record, dataset, fingerprint, name):
    """Return a record as one on another data set."""
    moved = copy.deepcopy(record) | {"data_name": name, "id": record["id"] + dataset + fingerprint}
    moved["specs"]["dataset"] = dataset
    moved["cell"]["dataset"] |= {"name": "imagefolder", "fingerprint": fingerprint}
    return moved


def whole(report):
    return next(table for table in report.tables if table.name == "comparisons")


def test_data_sets_of_one_label_keep_their_rows_apart(report):
    """Two folders of images, both ``imagefolder``, and two sizes of a folder that has a name."""
    (plain,) = whole(report()).brief
    for data in (
        (("imagefolder", "files-aa11", ""), ("imagefolder", "files-bb22", "")),
        (("imagefolder", "files-aa11", "Mine"), ("imagefolder[size=9]", "files-aa11", "Mine")),
    ):
        table = whole(report(data=data))
        assert [len(one.rows) for one in table.brief] == [len(plain.rows)] * 2
        titles = {one.title for one in table.brief}
        assert len(titles) == len({one.name for one in table.brief}) == 2
        assert len({row["place"].split(", ")[0] for row in table.rows}) == 2
    assert any("Mine (imagefolder[size=9])" in title for title in titles)


def test_many_comparisons_are_told_in_a_row_a_method_and_lose_no_number(report):
    table = whole(report())
    (brief,) = table.brief
    assert len(table.rows) > 40
    assert len(brief.rows) == 3 * (len(METHODS) - 1) + 1
    told = {
        (row["method"], row["percent"], row["of"], than): tuple(
            row[f"{key} {than}"] for key in ("difference", "n", "p")
        )
        for row in brief.rows
        for than in ("random", "dq")
        if f"n {than}" in row
    }
    assert told == {
        (row["method"], row["percent"], row["of"], row["than"]): (
            row["difference"],
            row["n"],
            row["p"],
        )
        for row in table.rows
    }
    detectable = [row["detectable"] for row in table.rows if row["detectable"] is not None]
    assert f"{min(detectable):.2f} to {max(detectable):.2f} points, median" in brief.notes[0]
    assert "Shown at the 5% level" in brief.notes[1]


def test_pages_show_the_short_tables_and_other_formats_the_whole(report):
    files = {
        name: content.decode()
        for name, content in report_files(report(), ["md", "latex", "csv", "json"]).items()
    }
    name = "comparisons-digits-resnet8-smoke"
    assert "### Comparisons: digits, resnet8, smoke" in files["report.md"]
    assert "### Comparisons\n" not in files["report.md"]
    assert rf"\input{{tables/{name}}}" in files["report.tex"]
    assert r"\input{tables/comparisons}" not in files["report.tex"]
    assert {f"tables/{name}.tex", "tables/comparisons.tex"} <= set(files)
    assert "detectable" in files["tables/comparisons.csv"].splitlines()[0]
    assert f"tables/{name}.csv" not in files
    assert '"needed"' in files["report.json"]


def test_few_comparisons_are_told_in_full(report):
    few = report(percents=("10",))
    assert whole(few).brief == []
    assert "### Comparisons\n" in report_files(few, ["md"])["report.md"].decode()
