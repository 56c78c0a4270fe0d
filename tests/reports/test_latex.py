from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import BenchError
from reports import latex
from reports.collection import Collection
from reports.content import Report, Section, contents
from reports.latex.parts import fitting
from reports.pdf import compile_pdf
from reports.report import write_report
from reports.statistics import Estimate
from reports.summary import accuracy_table
from reports.tables import Column, Table, percent

needs_pdflatex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex is not there (texlive-latex-recommended)"
)
PAPER = r"""\documentclass{article}
\usepackage{array,booktabs,graphicx,longtable,pdflscape,rotating}
\input{bench-macros}
\begin{document}
BODY
\end{document}
"""


def macros(records, failures=()):
    results = Collection.of(records, failures)
    return latex.as_macros(contents(results, list(records), figures=False).tables)


def compiled(folder: Path, body: str, definitions: str = "") -> str:
    """Compile a paper and return the text of its PDF, without spaces."""
    (folder / "bench-macros.tex").write_text(definitions, encoding="utf-8")
    (folder / "paper.tex").write_text(PAPER.replace("BODY", body), encoding="utf-8")
    return "".join(text_of(compile_pdf(folder / "paper.tex")).split())


def text_of(pdf: Path | None) -> str:
    """Return the text of a PDF, a form feed after each page."""
    assert pdf is not None
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not there (poppler-utils)")
    told = subprocess.run(
        ["pdftotext", "-layout", str(pdf), "-"], capture_output=True, text=True, check=True
    )
    return told.stdout


def test_tables_and_macros_are_as_committed(records, failure, golden):
    results = Collection.of(records, [failure])
    (setting,) = results.settings()
    golden("accuracy.tex", latex.as_latex(accuracy_table(results, setting)))
    golden("bench-macros.tex", macros(records, [failure]))
    report = contents(results, records, figures=False)
    golden("report.tex", latex.as_document(report, "% made from records"))


@given(st.text())
def test_no_text_leaves_a_character_that_latex_minds(text):
    found = latex.escaped(text, breaks=True)
    bare = re.sub(
        r"\\[a-z]+(\{\})?|\\[{}$&#%_]|\\[\^~]\{\}|\$\^?\\[a-z]+\$|\$-\$|\{\\char18\}", "", found
    )
    bare = re.sub(r"\{[\[\]*]\}|-\{\}-", "", bare)
    assert not set(bare) & set('\\{}$&#%^~_<>|[]"')
    assert all(character.isprintable() for character in found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+0.20 ± 0.10", r"+0.20 $\pm$ 0.10"),
        ("-0.20", "$-$0.20"),
        ("a-b top-1", "a-b top-1"),
        ("a--b", "a-{}-b"),
        ("–", "--"),
        ("adq[α=0.7]", r"adq{[}$\alpha$=0.7{]}"),
        ("中", "{[}U+4E2D{]}"),
    ],
)
def test_texts_look_as_they_should(text, shown):
    assert latex.escaped(text) == shown


@needs_pdflatex
def test_a_paper_has_one_macro_a_number(records, failure, tmp_path):
    body = r"\bench{dq}{10}{acc}+-\bench{dq}{10}{acc-pm}, \bench{adq[alpha=0.7]}{20}{bytes}, " + (
        r"\bench[digits-resnet8-smoke]{full}{100}{acc-runs}, \bench{dq}{30}{failed}"
    )
    text = compiled(tmp_path, body, macros(records, [failure]))
    assert text.startswith("90.20+-0.86,13kB,3,1")


@needs_pdflatex
def test_a_macro_of_no_number_is_an_error(records, tmp_path):
    with pytest.raises(BenchError, match="no number 'digits-resnet8-smoke/dq/99/acc'"):
        compiled(tmp_path, r"\bench{dq}{99}{acc}", macros(records))


@needs_pdflatex
def test_with_several_settings_a_paper_says_which_it_means(record, tmp_path):
    other = record("dq", "10", 0, 50.0, specs={"protocol": "paper"})
    definitions = macros([record("dq", "10", 0, 90.0), other])
    with pytest.raises(BenchError, match="no number '/dq/10/acc'"):
        compiled(tmp_path, r"\bench{dq}{10}{acc}", definitions)
    body = r"\benchsetting{digits-resnet8-paper}\bench{dq}{10}{acc}, "
    body += r"\bench[digits-resnet8-smoke]{dq}{10}{acc}"
    assert compiled(tmp_path, body, definitions).startswith("50.00,90.00")


@needs_pdflatex
def test_names_that_become_the_same_word_keep_numbers_of_their_own(record, tmp_path):
    made = [
        record("a_b", "10", 0, 91.0),
        record("a#b", "10", 0, 92.0),
        record("a-b", "10", 0, 93.0),
    ]
    text = compiled(
        tmp_path,
        r"\bench{a-b}{10}{acc} \bench{a-b-2}{10}{acc} \bench{a-b-3}{10}{acc}",
        macros(made),
    )
    assert {text[k : k + 5] for k in (0, 5, 10)} == {"91.00", "92.00", "93.00"}


NASTY = [
    *"\\{}$&#%_^~<>|\"'`[]*-+=/:;,.!?@()", "--", "---", "``", "''", "?`", "<<", "\\\\[2cm]", "%x",
    "$a_b$", "\\end{table}", "\\input{/etc/passwd}", "^^41", "äöüßéçñøå", "  ",
    "ĦŁ中🙂\u0000\u200b", "0.1±0.2 × – — … ≤ α θ ρ", "x" * 200,
]  # fmt: skip


@needs_pdflatex
def test_every_text_compiles_in_every_place_of_a_table(tmp_path):
    rows = [{"name": text, "value": text} for text in NASTY]
    columns = [Column("name", "n_m & 100%", left=True), Column("value", "#$^")]
    short = Table("50% of $x_y$ & #1", columns, rows, NASTY, bold=frozenset({(1, "value")}))
    words = Table("long", columns[:1], [{"name": "a_b, c " * 40}] * 60, ["a note"])
    wide = Table("wide", [Column(f"c{k}", f"column {k}") for k in range(15)], [{"c1": "value 12"}])
    both = Table("wide and long", wide.columns, list(wide.rows) * 60)
    body = "\n".join(latex.as_latex(table) for table in (short, words, wide, both))
    assert r"\begin{longtable}" in body
    assert r"\begin{sidewaystable}" in body
    assert r"\begin{landscape}" in body
    text = compiled(tmp_path, body)
    # An underscore is a rule there, not a letter.
    for told in ("50%of$xy$&", r"\input{/etc/passwd}", "[U+4E2D]", r"\end{table}", "\\\\[2cm]"):
        assert told in text


def paper_table(rows, methods=20):
    """A table in ADQ's layout: a row an architecture and ratio, two columns a method."""
    columns = [Column("architecture", "architecture", left=True), Column("percent", "kept %")]
    for k in range(methods):
        columns += [Column(f"m{k}", f"method[parameter={k}]", percent), Column(f"g{k}", "gain")]
    numbers = {f"m{k}": Estimate(60.0 + k, 0.5, 3) for k in range(methods)}
    gains = {f"g{k}": f"(+{k}.5)" for k in range(methods)}
    return Table(
        "Architectures", columns,
        [{"architecture": f"net{r}", "percent": 10 + r, **numbers, **gains} for r in range(rows)],
        ["the note"], bold=frozenset({(1, "m3")}),
    )  # fmt: skip


@needs_pdflatex
@pytest.mark.parametrize("rows", [2, 30])
def test_many_methods_are_as_large_as_any_text(tmp_path, rows):
    """Few rows become columns; many are told in parts, each of which names them again."""
    table = paper_table(rows)
    made = latex.as_latex(table)
    assert r"\resizebox" not in made
    assert made.count("the note") == 1
    assert made.count(r"\textbf{63.00 $\pm$ 0.50}") == 1
    parts = made.count(r"\caption")
    assert (parts > 1) == (rows > 2)
    assert f"part {parts} of {parts}" in made or parts == 1
    text = compiled(tmp_path, made)
    numbers = [f"{60 + k}.00±0.50" for k in range(20)]
    assert [text.count(number) for number in numbers] == [rows] * 20
    assert [text.count(f"net{row}") for row in range(1, rows)] >= [parts] * (rows - 1)


def test_a_table_with_rows_as_columns_has_bold_and_cells_where_their_numbers_are():
    table = replace(paper_table(2), links={(0, "m2"): ["cell-a"], (0, "percent"): ["cell-b"]})
    (turned,) = fitting(table, lambda one: len(one.columns) < 10, lambda one: False)
    texts = turned.texts()
    shown = {
        (row, column.key): texts[row][place]
        for row in range(len(texts))
        for place, column in enumerate(turned.columns)
    }
    assert [shown[place] for place in turned.bold] == ["63.00 ± 0.50"]
    assert {shown[place]: ids for place, ids in turned.links.items()} == {
        "62.00 ± 0.50": ["cell-a"]
    }


@needs_pdflatex
@pytest.mark.parametrize("rows", [2, 60])
def test_a_heading_stands_on_the_page_of_its_sideways_table(tmp_path, rows):
    wide = Table("Numbers", [Column(f"c{k}", f"column {k}") for k in range(15)],
                 [{"c1": "value 12"}] * rows, name="wide")  # fmt: skip
    told = Report([], [Section("a", "Before", ["text"]), Section("b", "After", tables=[wide])])
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "wide.tex").write_text(latex.as_latex(wide))
    (tmp_path / "bench-macros.tex").write_text("")
    (tmp_path / "report.tex").write_text(latex.as_document(told, "%"))
    pages = text_of(compile_pdf(tmp_path / "report.tex")).split("\f")
    assert "Before" in pages[0]
    assert "After" not in pages[0]
    assert "After" in pages[1]
    assert "Numbers" in pages[1]


@needs_pdflatex
def test_the_document_compiles_the_same_each_time(records, failure, tmp_path):
    found = []
    for name in ("a", "b"):
        paths = write_report(tmp_path / name, records, [failure], ["latex"], figures=False)
        assert [path.suffix for path in paths] == [".tex", ".pdf"]
        found.append(paths[1].read_bytes())
    assert found[0] == found[1]


@needs_pdflatex
def test_a_document_that_does_not_compile_is_told_in_one_line(tmp_path):
    (tmp_path / "paper.tex").write_text(r"\documentclass{article}\begin{document}\nothing")
    with pytest.raises(BenchError, match=r"Undefined control sequence") as told:
        compile_pdf(tmp_path / "paper.tex")
    assert "\n" not in str(told.value)


def test_without_pdflatex_the_source_is_still_written(records, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    paths = write_report(tmp_path, records, (), ["latex"], figures=False)
    assert [path.name for path in paths] == ["report.tex"]
