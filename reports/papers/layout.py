"""What the layouts of the papers' tables share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from reports.statistics import Estimate, interval_over_seeds
from reports.tables import plus_minus, signed

if TYPE_CHECKING:
    from reports.runs import Series
    from reports.statistics import Runs

Cells = dict[tuple[int, str], Sequence[str]]
"""The cells behind a table's numbers."""
_DECIMAL = "{:.1f}".format
Method = tuple[str, str]
"""A method's spec and the id of its identity."""
ARITHMETIC = {
    "adq-table1": "In the paper's own Table 1 two differences are not those of its numbers: ViT at "
    "20 % is printed (+3.1), its numbers give +3.0; the average at 30 % is printed (+3.3), the "
    "mean of the five differences is +3.36.",
    "adq-table3": "The paper's text gives mean gains of 1.41 (+ RS), 1.53 (+ DS) and 2.57 (+ IS); "
    "its own Table 3 gives 1.40, 1.53 and 2.70.",
}
"""Where the paper's print does not follow from its numbers (methods.md A23, recomputed)."""


def arithmetic_note(table: str, dataset: str, is_main: bool = True) -> list[str]:
    """Return the note on a paper's table, for the main table of the paper's own data set only."""
    return [ARITHMETIC[table]] if is_main and dataset == "cifar10" else []


def as_printed(estimate: Estimate) -> str:
    """Show an accuracy with one decimal, as ADQ prints it."""
    return f"{estimate.mean:.1f}{plus_minus(estimate, _DECIMAL)}"


def gain_as_printed(estimate: Estimate) -> str:
    """Show a difference in brackets, as ADQ prints it."""
    return f"({signed(estimate.mean, 1)}{plus_minus(estimate, _DECIMAL)})"


def of_images(series: Iterable[Series]) -> list[Series]:
    """Return the series with budgets of images: no paper counts bytes."""
    return [one for one in series if one.of == "images"]


def runs_of(series: Iterable[Series]) -> str:
    """Return the number of runs of each series in words."""
    counts = sorted({len(one.records) for one in series})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def mean_over(members: Sequence[Runs]) -> Estimate:
    """Return the mean of several means; its interval is over the seeds, where all have the same.

    The interval tells what other seeds would give, not what other architectures or ratios would.
    """
    if any(runs.keys() != members[0].keys() for runs in members):
        return Estimate(fmean(fmean(runs.values()) for runs in members), None, len(members))
    return interval_over_seeds({key: fmean(runs[key] for runs in members) for key in members[0]})


def specs_note(called: Mapping[Method, str], methods: Sequence[Method]) -> list[str]:
    """Return a note with the full specs of methods that are called otherwise."""
    told = [f"{called[m]} is {m[0]}" for m in methods if called[m] != m[0]]
    return [f"In full: {'; '.join(told)}."] if told else []
