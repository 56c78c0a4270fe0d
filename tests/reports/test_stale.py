"""A report is current, or stale and told so."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bench.errors import UsageError
from bench.results import CONFLICTS, PICTURES, RELEASED
from reports import markdown, versions
from reports.pictures import contact_sheet
from reports.report import stale_files, write_report

FIGURE = "accuracy-digits-resnet8-smoke.svg"


@pytest.fixture
def records(records):
    """One method only: its report has one figure, and drawing is what takes time here."""
    return [one for one in records if one["specs"]["method"] == "dq"]


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


def add_sheet(folder):
    (folder / PICTURES).mkdir()
    sheet = contact_sheet({"cat": [np.zeros((16, 16, 3), np.uint8)]}, "what dq keeps")
    (folder / PICTURES / "dq.jpg").write_bytes(sheet)


def add_unusable_index_file(folder):
    (folder / RELEASED / "digits").mkdir(parents=True)
    (folder / RELEASED / "digits" / "dq.txt").write_text("no number", encoding="utf-8")


def add_conflict(folder):
    (folder / CONFLICTS / "cell-2-other").mkdir(parents=True)


@pytest.mark.parametrize("add", [add_sheet, add_unusable_index_file, add_conflict])
def test_what_lies_beside_the_records_is_told_whoever_writes_the_report(records, tmp_path, add):
    write_report(tmp_path, records)
    add(tmp_path)
    assert stale_files(tmp_path, records)
    write_report(tmp_path, records)  # as bench run does
    assert stale_files(tmp_path, records) == {}


def test_a_report_without_figures_gets_them_from_the_next_run(records, tmp_path):
    write_report(tmp_path, records, anew=True, figures=False)
    write_report(tmp_path, records)
    assert stale_files(tmp_path, records) == {}


def test_a_newer_version_that_is_installed_makes_the_report_anew(records, tmp_path, monkeypatch):
    write_report(tmp_path, records, figures=False)
    monkeypatch.setattr(versions, "_installed", lambda kind, name: 99)
    write_report(tmp_path, records, figures=False)
    assert "and 99 is installed" in (tmp_path / "report.md").read_text(encoding="utf-8")
