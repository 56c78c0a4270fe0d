"""A page that shows parts of a report is kept up to date, and nothing else of it is touched."""

from __future__ import annotations

import pytest

from bench.errors import DataError, UsageError
from reports.collection import Collection
from reports.content import contents
from reports.excerpts import with_excerpts
from reports.report import stale_files, write_report
from reports.tables import Column, Table

TABLE = "accuracy-digits-resnet8-smoke"
PAGE = f"""# A page

<!-- bench report studies/one: table {TABLE}, figure {TABLE} -->
what was there before
<!-- bench report: end -->

Text | that <stays>.

<!-- bench report studies/two: table other -->
of another study
<!-- bench report: end -->
"""


@pytest.fixture
def report(records):
    return contents(Collection.of(records), records)


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_what_stands_between_the_marks_is_made_anew_and_the_rest_stays(report, tmp_path):
    page, folder = tmp_path / "README.md", tmp_path / "studies" / "one"
    made = with_excerpts(PAGE, report, folder, page).text
    before, _, after = PAGE.partition("what was there before\n")
    assert made.startswith(before)
    assert made.endswith(after)
    shown = made[len(before) : -len(after)]
    assert "| dq | 20 | 200 | 95.20 ± 0.86 | 3 |" in shown
    assert f"](studies/one/figures/{TABLE}.svg)" in shown
    assert with_excerpts(made, report, folder, page).text == made


def test_the_rows_of_some_methods_alone_can_be_shown(records, report, tmp_path):
    one = next(table for table in report.tables if table.name == TABLE)
    specs = {row["method"] for row in one.rows}
    page = PAGE.replace(f"table {TABLE}", f"table {TABLE} of dq random")
    made = with_excerpts(page, report, tmp_path / "studies" / "one", tmp_path / "README.md").text
    assert specs > {"dq", "random"}
    for row, text in zip(one.rows, one.texts(), strict=True):
        assert (f"| {text[0]} | {text[1]} |" in made) == (row["method"] in {"dq", "random"})
    kept = [row for row in one.rows if row["method"] in {"dq", "random"}]
    assert f"- {len(kept)} of the report's {len(one.rows)} rows." in made
    assert f"figures/{TABLE}.svg" in made


def test_a_reconstruction_is_named_without_its_mark(records, tmp_path):
    for record in records:
        record["method"]["reconstruction"] = record["specs"]["method"] == "dq"
    page = PAGE.replace(f"table {TABLE}", f"table {TABLE} of dq")
    report = contents(Collection.of(records), records)
    text = with_excerpts(page, report, tmp_path / "studies" / "one", tmp_path / "README.md").text
    assert "| dq (reconstruction) |" in text
    assert "| adq |" not in text


@pytest.mark.parametrize(
    ("methods", "fewer"),
    [("random", ""), ("random dq", "dq at 10 %"),
     ("random adq[alpha=0.7]", "adq[alpha=0.7] at 20 %"),
     ("dq adq[alpha=0.7]", "dq at 10 %, adq[alpha=0.7] at 20 %")],
)  # fmt: skip
def test_notes_are_about_the_rows_that_are_shown(records, tmp_path, methods, fewer):
    made = records[:4] + records[5:-1]  # dq at 10 % and adq at 20 % have two seeds of three
    for record in made:
        name = record["specs"]["method"]
        record["method"]["reconstruction"] = name.startswith("adq") and name not in methods
    page = PAGE.replace(f"table {TABLE}", f"table {TABLE} of {methods}")
    report = contents(Collection.of(made), made)
    text = with_excerpts(page, report, tmp_path / "studies" / "one", tmp_path / "README.md").text
    told = [line.replace("\\", "") for line in text.splitlines() if "Incomplete" in line]
    assert [line.partition("2 seeds: ")[2] for line in told] == ([f"{fewer}."] if fewer else [])
    assert "A reconstruction" not in text


def test_what_belongs_to_a_row_stays_with_it_where_some_are_shown():
    table = Table(
        "T", [Column("method", "method")], [{"method": name} for name in "abc"], ["note"],
        frozenset({(0, "method"), (2, "method")}), {(2, "method"): ["cell"]}, "t",
        [("all", name) for name in "abc"],
    )  # fmt: skip
    some = table.of_rows([1, 2], "told")
    assert [row["method"] for row in some.rows] == ["b", "c"]
    assert some.bold == {(1, "method")}
    assert some.links == {(1, "method"): ["cell"]}
    assert some.keys == [("all", "b"), ("all", "c")]
    assert some.notes == ["note", "told"]


def test_a_page_is_written_and_then_current_until_the_records_change(records, page, tmp_path):
    folder = tmp_path / "studies" / "one"
    write_report(folder, records)
    pages = [page]
    assert stale_files(folder, records, pages=pages) == {str(page): "is not what the records give"}
    write_report(folder, records, (), ["csv"], pages=pages)
    assert stale_files(folder, records, (), ["csv"], pages=pages) == {}
    figure = page.parent / "studies" / "one" / "figures" / f"{TABLE}.svg"
    figure.unlink()
    missing = {f"figures/{TABLE}.svg": "is missing"}
    assert stale_files(folder, records, (), ["csv"], pages=pages) == missing
    write_report(folder, records, (), ["csv"], pages=pages)
    assert figure.is_file()  # though no other format asks for it
    write_report(folder, records[:-1])
    assert list(stale_files(folder, records[:-1], (), ["md"], pages=pages)) == [str(page)]


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        (f"table {TABLE}", "table accuracy-digits-resnet8", UsageError, f"Did you mean '{TABLE}'?"),
        (f"figure {TABLE}", "figure curves", UsageError, "unknown figure of the report 'curves'"),
        (f"table {TABLE}", f"plot {TABLE}", UsageError, "unknown kind of excerpt 'plot'"),
        (f"table {TABLE}", f"table {TABLE} of dq none", UsageError, "unknown method of the table"),
        (f"table {TABLE}", f"table {TABLE} of", UsageError, "Write: table NAME, table NAME of"),
        (f"table {TABLE}", f"table {TABLE} dq", UsageError, "Write: table NAME, table NAME of"),
        (f"figure {TABLE}", f"figure {TABLE} of dq", UsageError, "Write: table NAME, table NAME"),
        ("studies/one", "studies/three", DataError, "asks for nothing of"),
        ("<!-- bench report: end -->", "", DataError, "line 3: no end to this excerpt"),
    ],
)
def test_a_page_that_cannot_be_made_is_told_and_left(
    records, page, tmp_path, old, new, error, message
):
    page.write_text(PAGE.replace(old, new, 1), encoding="utf-8")
    before = page.read_bytes()
    with pytest.raises(error) as raised:
        write_report(tmp_path / "studies" / "one", records, pages=[page])
    assert message in str(raised.value)
    assert page.read_bytes() == before
    assert not (tmp_path / "studies").exists()


def test_a_page_that_is_not_there_is_told(records, tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        write_report(tmp_path, records, pages=[tmp_path / "none.md"])


def test_a_page_keeps_its_line_ends_its_permissions_and_its_place(records, page, tmp_path):
    target = tmp_path / "kept.md"
    target.write_bytes(PAGE.replace("\n", "\r\n").encode())
    target.chmod(0o600)
    page.unlink()
    page.symlink_to(target)
    write_report(tmp_path / "studies" / "one", records, pages=[page])
    assert page.is_symlink()
    text = target.read_bytes()
    assert b"| dq | 20 |" in text
    assert text.count(b"\n") == text.count(b"\r\n")
    assert target.stat().st_mode & 0o777 == 0o600


def test_marks_within_fenced_code_stand_for_themselves(report, tmp_path):
    fenced = f"```\n{PAGE}```\n"
    made = with_excerpts(fenced + PAGE, report, tmp_path / "studies/one", tmp_path / "README.md")
    assert made.text.startswith(fenced)
    assert "| dq | 20 |" in made.text[len(fenced) :]


def test_without_figures_a_page_cannot_have_one(records, page, tmp_path):
    with pytest.raises(UsageError, match="has no figures"):
        write_report(tmp_path / "studies" / "one", records, figures=False, pages=[page])
