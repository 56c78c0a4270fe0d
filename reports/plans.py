"""The table of a plan: what is done, what is to be computed and what it costs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from reports.durations import duration
from reports.tables import Column, Table, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.planning import CellForecast, Forecast

_COLUMNS = (
    Column("method", "method", left=True),
    Column("percent", "kept %"),
    Column("model", "model", left=True),
    Column("protocol", "protocol", left=True),
    Column("cells", "cells", number),
    Column("done", "done", number),
    Column("images_seen", "images seen", number),
    Column("seconds", "expected", lambda seconds: duration(seconds) if seconds else ""),
)


def plan_table(forecast: Forecast) -> Table:
    """Return the table of a forecast: a row for each method, ratio, model and protocol."""
    groups: dict[tuple[str, str, str, str], list[CellForecast]] = defaultdict(list)
    for known in forecast.cells:
        cell = known.cell
        kept = cell.budget.label if cell.method.budgeted else f"{100 * known.share:.4g}"
        key = (cell.method.called, kept, cell.model.spec, cell.protocol.spec)
        groups[key].append(known)
    rows = []
    for (method, ratio, model, protocol), cells in groups.items():
        pending = [cell for cell in cells if not cell.is_done]
        times = [cell.seconds for cell in pending if cell.seconds is not None]
        rows.append(
            {
                "method": method,
                "percent": ratio,
                "model": model,
                "protocol": protocol,
                "cells": len(cells),
                "done": len(cells) - len(pending),
                "images_seen": sum(cell.images_seen for cell in pending),
                "seconds": sum(times) if len(times) == len(pending) else None,
            }
        )
    return Table(f"Plan {forecast.plan_id}", _COLUMNS, rows, _notes(forecast))


def _notes(forecast: Forecast) -> list[str]:
    pending = forecast.pending
    images = sum(cell.images_seen for cell in pending)
    notes = [f"{len(pending)} of {len(forecast.cells)} cells to compute, {images:,} images in all."]
    if forecast.missing_data:
        notes.append(f"The data are not here, and a run here is refused: {forecast.missing_data}.")
    if forecast.missing_weights:
        notes.append(
            f"Weights that are not on this machine: {', '.join(forecast.missing_weights)}. A run "
            "fetches them first, and refuses to start where they cannot be fetched."
        )
    if pending:
        notes += _expected(
            [cell.seconds for cell in pending], "training and testing", "cells",
            "a cell of the same data set, model and protocol",
        )  # fmt: skip
    notes += _expected(
        [artefact.seconds for artefact in forecast.artefacts if not artefact.is_there],
        "making artefacts", "artefacts", "one of its kind for the same method",
    )  # fmt: skip
    for method, looks in forecast.looks.items():
        notes.append(
            f"{method}: {looks:,} images go through its networks to make the sets; its first steps "
            "tell the time, which is in none of those here."
        )
    kinds: dict[str, list[bool]] = defaultdict(list)
    for artefact in forecast.artefacts:
        kinds[artefact.kind].append(artefact.is_there)
    told = [f"{kind} {sum(there)}/{len(there)}" for kind, there in kinds.items()]
    if told:
        notes.append(f"Shared artefacts already made: {', '.join(told)}.")
    return notes


def _expected(
    seconds: Sequence[float | None], what: str, things: str, measured: str
) -> Iterator[str]:
    """Yield what is known of a time and of how many things, and then what is not."""
    known = [time for time in seconds if time is not None]
    unknown = len(seconds) - len(known)
    partly = f" {len(known)} of {len(seconds)} {things}; this is no total" if unknown else ""
    if known:
        yield f"Expected {duration(sum(known))} of {what}{partly and ' for' + partly}."
    if unknown:
        yield (
            f"Not known yet: the time of {what} for {unknown} of {len(seconds)} {things}; told "
            f"once {measured} has been measured here."
        )
