"""The files of a report: made from records, written, and compared with what is there."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.errors import DataError, UsageError
from bench.memory import uncollected
from bench.storage import replacing
from reports import markdown
from reports.collection import Collection
from reports.content import Figure, Report, contents
from reports.excerpts import Page, with_excerpts
from reports.stamps import stamp_of

FORMATS = {
    "md": "report.md",
    "latex": "report.tex",
    "html": "report.html",
    "csv": "tables",
    "json": "report.json",
}
"""The formats, each with its main file or folder."""
_STAMP = "bench report, made from "
_STALE = "is not what the records give"
_HEAD = 300
_EMBEDDED = re.compile(rb"data:image/svg\+xml;base64,[A-Za-z0-9+/=]*")
_DRAWN_BY = re.compile(rb"Matplotlib (?:pdf backend )?v[\w.+]+")
_PICTURES = (".svg", ".pdf")


def write_report(
    folder: Path,
    records: Iterable[Mapping[str, Any]],
    failures: Iterable[Mapping[str, Any]] = (),
    formats: Sequence[str] = ("md",),
    anew: bool = False,
    figures: bool = True,
    pages: Sequence[Path] = (),
) -> list[Path]:
    """Write a report into a results folder; return the main file of each format.

    Parameters
    ----------
    folder : Path
        The results folder; stored selections are read from it where they are there.
    records, failures : iterable of mapping
        As stored.
    formats : sequence of str
        Of :data:`FORMATS`.
    anew : bool
        Write also what was made from the same records and files already.
    figures : bool
        Draw figures.
    pages : sequence of Path
        Pages that get the tables and figures that they ask for.

    Raises
    ------
    BenchError
        As :func:`reports.excerpts.with_excerpts`, or when a page cannot be read; before anything
        is written.
    """
    with uncollected():
        kept = list(records)
        results = Collection.of(kept, failures)
        stamp = stamp_of(results, folder, figures)
        due = [name for name in formats if anew or not _is_current(folder / FORMATS[name], stamp)]
        report = contents(results, kept, folder, figures) if due or pages else None
    if report is not None:
        excerpts = _excerpts(folder, report, pages)
        for name, content in report_files(report, due, _shown(excerpts)).items():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(content)
        for page, made in excerpts.items():
            _write(page, made.text)
    paths = [folder / FORMATS[name] for name in formats]
    if "latex" in due:
        from reports.pdf import compile_pdf

        pdf = compile_pdf(folder / FORMATS["latex"])
        paths += [pdf] if pdf else []
    return paths


def _excerpts(folder: Path, report: Report, pages: Sequence[Path]) -> dict[Path, Page]:
    return {page: with_excerpts(_read(page), report, folder, page) for page in pages}


def _read(page: Path) -> str:
    try:
        with page.open(encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {page}: {error}. Name a Markdown file") from None


def _write(page: Path, text: str) -> None:
    """Write a page whole or not at all, with its permissions; a link stays one."""
    place = page.resolve()
    with replacing(place) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        shutil.copymode(place, temporary)


def _shown(excerpts: Mapping[Path, Page]) -> frozenset[str]:
    return frozenset(name for page in excerpts.values() for name in page.figures)


def stale_files(
    folder: Path,
    records: Iterable[Mapping[str, Any]],
    failures: Iterable[Mapping[str, Any]] = (),
    formats: Sequence[str] = (),
    figures: bool = True,
    pages: Sequence[Path] = (),
) -> dict[str, str]:
    """Return which files of a report, and pages, are not what the records say, with the reason.

    Figures that another version of matplotlib drew are not compared; nothing is written.

    Parameters
    ----------
    formats : sequence of str
        What to look at; empty: every format that is there.
    pages : sequence of Path
        Pages with excerpts, also to be looked at.

    Raises
    ------
    UsageError
        When there is no report to look at.
    """
    there = [name for name in FORMATS if _is_there(folder, name)]
    if not there and not formats:
        raise UsageError(f"{folder} has no report to check. Write one with: bench report")
    kept = list(records)
    report = contents(Collection.of(kept, failures), kept, folder, figures)
    excerpts = _excerpts(folder, report, pages)
    files = report_files(report, formats or there, _shown(excerpts))
    found = {str(page): _STALE for page, made in excerpts.items() if made.text != _read(page)}
    for name, content in files.items():
        path = folder / name
        if not path.is_file():
            found[name] = "is missing"
        elif not _is_same(path.suffix, path.read_bytes(), content):
            found[name] = _STALE
    return found


def report_files(
    report: Report, formats: Sequence[str], shown: Container[str] = frozenset()
) -> dict[str, bytes]:
    """Return the files of a report in these formats, by path in the results folder.

    Parameters
    ----------
    shown : container of str
        Figures that pages show: their SVG is there whatever the formats.
    """
    pictures = _Pictures(report.figures)
    files: dict[str, str | bytes] = {
        f"{markdown.FIGURES}/{one.name}.svg": pictures.svg[one.name]
        for one in report.figures
        if one.name in shown
    }
    for name in formats:
        files |= _MAKERS[name](report, pictures)
    return {
        name: content if isinstance(content, bytes) else content.encode("utf-8", "replace")
        for name, content in files.items()
    }


class _Pictures:
    """The files of figures, drawn when they are first asked for."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self._figures = figures

    @cached_property
    def svg(self) -> dict[str, bytes]:
        """The figures' SVG, by name."""
        return self._drawn("svg")

    @cached_property
    def pdf(self) -> dict[str, bytes]:
        """The figures' PDF, by name; after the SVG, since saving a figure settles its layout."""
        return self._drawn("pdf") if self.svg else {}

    def _drawn(self, suffix: str) -> dict[str, bytes]:
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            for figure in self._figures:
                path = Path(folder) / f"{figure.name}.{suffix}"
                figure.draw(path)
                found[figure.name] = path.read_bytes()
        return found


Files = dict[str, str | bytes]


def _markdown(report: Report, pictures: _Pictures) -> Files:
    return {
        "report.md": markdown.as_page(report, f"{_STAMP}{report.stamp}"),
        **{f"figures/{name}.svg": content for name, content in pictures.svg.items()},
    }


def _latex(report: Report, pictures: _Pictures) -> Files:
    from reports import latex

    return {
        "report.tex": latex.as_document(report, f"% {_STAMP}{report.stamp}"),
        "bench-macros.tex": latex.as_macros(report.tables),
        **{f"tables/{t.name}.tex": latex.as_latex(t) for t in (*report.tables, *report.pages)},
        **{f"figures/{name}.pdf": content for name, content in pictures.pdf.items()},
    }


def _html(report: Report, pictures: _Pictures) -> Files:
    from reports import html

    return {"report.html": html.as_page(report, pictures.svg, f"{_STAMP}{report.stamp}")}


def _csv(report: Report, pictures: _Pictures) -> Files:
    from reports.values import as_csv

    return {f"tables/{table.name}.csv": as_csv(table) for table in report.tables}


def _json(report: Report, pictures: _Pictures) -> Files:
    from reports.values import as_full_json, spread

    content = {
        "made_from": f"{_STAMP}{report.stamp}",
        "tables": [as_full_json(table) for table in report.tables],
        "protocols": dict(report.protocols),
        "origins": list(report.origins),
    }
    return {"report.json": spread(content, depth=4) + "\n"}


_MAKERS: Mapping[str, Callable[[Report, _Pictures], Files]] = {
    "md": _markdown,
    "latex": _latex,
    "html": _html,
    "csv": _csv,
    "json": _json,
}


def _is_there(folder: Path, name: str) -> bool:
    if name == "csv":
        return any((folder / FORMATS[name]).glob("*.csv"))
    return (folder / FORMATS[name]).is_file()


def _is_current(path: Path, stamp: str) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return f"{_STAMP}{stamp}" in file.read(_HEAD)
    except OSError:
        return False


def _is_same(suffix: str, there: bytes, made: bytes) -> bool:
    """Return whether a file is as it would be made; figures of other makers are not compared."""
    makers = [set(_DRAWN_BY.findall(content)) for content in (there, made)]
    if makers[0] == makers[1]:
        return there == made
    if suffix in _PICTURES:
        return True
    return _without_figures(there) == _without_figures(made)


def _without_figures(content: bytes) -> bytes:
    return _DRAWN_BY.sub(b"", _EMBEDDED.sub(b"", content))
