"""What each shipped sweep is for: the tables and figures of the papers that its records make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.storage import write_text
from reports.collection import Collection
from reports.figures import Figure, figures, read_studies
from reports.papers import budget_tables, table_one, table_three, table_two
from reports.runs import Record, series_of
from reports.tables import Table, as_markdown

FOLDER = "reproduced"
SWEEPS = Path(__file__).with_name("sweeps")
"""The shipped sweeps: ``SCALE/NAME.toml``, and further parts as ``SCALE/NAME.PART.toml``."""


@dataclass(frozen=True)
class Experiment:
    """What stands for a table or a figure of a paper.

    Parameters
    ----------
    title : str
        What is shown, in words.
    tables : callable
        From records to tables.
    figures : tuple of str
        Kinds of :data:`reports.figures.KINDS`.
    """

    title: str
    tables: Callable[[Sequence[Record]], list[Table]]
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Written:
    """What was made of an experiment, and the Markdown file that holds it."""

    tables: list[Table]
    figures: list[Figure]
    path: Path


def write_experiment(name: str, records: Sequence[Mapping[str, Any]], results: Path) -> Written:
    """Write an experiment's tables and figures into ``reproduced/NAME`` of a results folder."""
    experiment, folder = EXPERIMENTS[name], results / FOLDER / name
    left_out: list[str] = []
    studies = read_studies(results, left_out.append) if "trajectory" in experiment.figures else ()
    drawn = figures(records, folder, studies, only=experiment.figures)
    tables = experiment.tables(records)
    parts = [f"# {experiment.title}"]
    if not tables and not drawn:
        parts.append("The records do not suffice yet.")
    parts += [f"Left out: {reason}." for reason in left_out]
    parts += [as_markdown(table) for table in tables]
    parts += [f"![{one.title}]({one.path_svg.name})\n\n{one.caption}" for one in drawn]
    path = folder / f"{name}.md"
    write_text(path, "\n\n".join(parts) + "\n")
    return Written(tables, drawn, path)


def _none(records: Sequence[Record]) -> list[Table]:
    return []


def _architectures(records: Sequence[Record]) -> list[Table]:
    series = series_of(records)
    return [*table_one(series), *table_one(series, "random")]


def _costs(records: Sequence[Record]) -> list[Table]:
    return table_two(series_of(records))


def _modules(records: Sequence[Record]) -> list[Table]:
    return table_three(series_of(records))


def _accuracies(records: Sequence[Record]) -> list[Table]:
    from reports.summary import accuracy_table

    collection = Collection.of(records)
    return [accuracy_table(collection, setting) for setting in collection.settings()]


def _accuracies_and_budgets(records: Sequence[Record]) -> list[Table]:
    return [*_accuracies(records), *budget_tables(series_of(records))]


EXPERIMENTS = {
    "adq-table1": Experiment("ADQ, Table 1: architectures and ratios", _architectures),
    "adq-table2": Experiment("ADQ, Table 2: runs, error bars, GPU-hours", _costs, ("cost",)),
    "adq-table3": Experiment("ADQ, Table 3: its scores one by one", _modules),
    "adq-fig2": Experiment("ADQ, Fig. 2: scores by bin", _none, ("bins",)),
    "adq-fig4": Experiment("ADQ, Fig. 4: texture and trajectory", _none, ("trajectory",)),
    "adq-fig5": Experiment("ADQ, Fig. 5: usual and low ratios", _accuracies, ("bars",)),
    "adq-fig6": Experiment("ADQ, Fig. 6: alpha", _accuracies, ("alpha",)),
    "dq-lossless": Experiment(
        "DQ: lossless with 60 % of the data", _accuracies_and_budgets,
        ("accuracy", "cost", "break-even"),
    ),
    "dqas-classwise": Experiment(
        "DQAS: classes that miss images more than others", _accuracies, ("classes", "bars")
    ),
    "dqas-pipeline": Experiment(
        "DQAS, reconstructed: active rounds, and bins of reconstructed images",
        _accuracies_and_budgets, ("bars", "classes", "curves"),
    ),
}  # fmt: skip
