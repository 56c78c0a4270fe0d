"""A LaTeX macro for each number of a report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reports.latex.escaping import escaped
from reports.statistics import Estimate

if TYPE_CHECKING:
    from reports.tables import Column, Table


def as_macros(tables: Sequence[Table]) -> str:
    r"""Return the definitions of one macro for each number of these tables.

    ``\bench{adq}{10}{acc}`` is the accuracy of ``adq`` at 10 %; ``acc-pm`` is half of its
    interval and ``acc-runs`` the number of values in it. Where there are several settings, the
    one that is meant is named: ``\bench[digits-resnet8-smoke]{adq}{10}{acc}``, or once by
    ``\benchsetting{digits-resnet8-smoke}``. What is not there is a LaTeX error.
    """
    words = _words(list(dict.fromkeys(key for table in tables for key in table.keys)))
    numbers: dict[tuple[str, ...], str] = {}
    for table in tables:
        for key, row in zip(table.keys, table.rows, strict=False):
            for column in table.columns:
                if column.word:
                    for word, text in _numbers(column, row.get(column.key)):
                        numbers[*words[key], word] = text
    scopes = list(dict.fromkeys(key[0] for key in numbers))
    lines = [_MACROS.replace("SETTINGS", ", ".join(scopes) or "none")]
    lines += [
        rf"\bench@define{{{'}{'.join(key)}}}{{{escaped(text)}}}" for key, text in numbers.items()
    ]
    if len(scopes) == 1:
        lines.append(rf"\benchsetting{{{scopes[0]}}}")
    return "\n".join([*lines, r"\makeatother"]) + "\n"


def _numbers(column: Column, value: Any) -> list[tuple[str, str]]:
    if value is None:
        return []
    if not isinstance(value, Estimate):
        return [(column.word, column.show(value))]
    found = [(column.word, column.show(Estimate(value.mean, None, value.n)))]
    if value.half_width is not None:
        found.append((f"{column.word}-pm", _half_width(column, value)))
    return [*found, (f"{column.word}-runs", str(value.n))]


def _half_width(column: Column, value: Estimate) -> str:
    _, sign, width = column.show(value).rpartition(" ± ")
    return width if sign else "0"  # of equal values


def _words(keys: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return what each key is called in macros; no two are called the same."""
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    taken: set[tuple[str, ...]] = set()
    for key in keys:
        scope, name, *rest = map(_word, key)
        words, number = (scope, name, *rest), 1
        while words in taken:
            number += 1
            words = (scope, f"{name}-{number}", *rest)
        taken.add(words)
        found[key] = words
    return found


def _word(text: str) -> str:
    """Return a text that may stand in a macro's argument, and means the same there."""
    plain = text.encode("ascii", "replace").decode()
    return re.sub(r"\s*[\\{}%#$&~^_\"?]|\s+", "-", plain)


_MACROS = r"""% One macro a number, of the settings: SETTINGS.
% \bench{METHOD}{RATIO}{WORD} or \bench[SETTING]{METHOD}{RATIO}{WORD}; \benchsetting{SETTING}
% says which is meant without one.
% Words: acc, acc-pm (half of the 95 % interval; -pm for each that has one), acc-runs,
% vs-random, best-epoch, n, images,
% failed, bytes, steps, selection, training, testing, total, speed, of-peak, memory, gpu-memory.
% Characters of names that LaTeX minds, such as _ and #, are hyphens here.
\makeatletter
\newcommand{\bench@define}[5]{\expandafter\gdef\csname bench/#1/#2/#3/#4\endcsname{#5}}
\newcommand{\bench@setting}{}
\newcommand{\benchsetting}[1]{\gdef\bench@setting{#1}}
\newcommand{\bench}[4][\bench@setting]{%
  \ifcsname bench/#1/#2/#3/#4\endcsname\csname bench/#1/#2/#3/#4\endcsname
  \else\@latex@error{bench: no number '#1/#2/#3/#4'; see bench-macros.tex}\@eha\textbf{??}\fi}"""
