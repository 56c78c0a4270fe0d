"""The table of a plan: what is done, what is to be computed and what it costs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from reports.durations import duration
from reports.tables import Column, Table, number

if TYPE_CHECKING:
    from bench.planning import CellForecast, Forecast

_COLUMNS = (
    Column("method", "method", left=True),
    Column("percent", "kept %"),
    Column("model", "model", left=True),
    Column("protocol", "protocol", left=True),
    Column("cells", "cells", number),
    Column("done", "done", number),
    Column("images_seen", "images seen", number),
    Column("seconds", "expected", duration),
)


def plan_table(forecast: Forecast) -> Table:
    """Return the table of a forecast: a row for each method, ratio, model and protocol."""
    groups: dict[tuple[str, str, str, str], list[CellForecast]] = defaultdict(list)
    for known in forecast.cells:
        cell = known.cell
        key = (cell.method.spec, cell.budget.label, cell.model.spec, cell.protocol.spec)
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
    if pending and forecast.seconds is None:
        notes.append("Times are told once a cell of the same setting has been measured here.")
    elif pending and forecast.seconds is not None:
        notes.append(f"Expected {duration(forecast.seconds)} of training and testing.")
    if forecast.artefact_seconds:
        notes.append(f"Expected {duration(forecast.artefact_seconds)} of making artefacts.")
    elif forecast.artefact_seconds is None:
        notes.append("The artefacts' times are told once the method has been measured here.")
    for method, looks in forecast.looks.items():
        notes.append(
            f"{method}: {looks:,} images go through its networks to make the sets; its first steps "
            "tell the time."
        )
    kinds: dict[str, list[bool]] = defaultdict(list)
    for artefact in forecast.artefacts:
        kinds[artefact.kind].append(artefact.is_there)
    told = [f"{kind} {sum(there)}/{len(there)}" for kind, there in kinds.items()]
    if told:
        notes.append(f"Shared artefacts already made: {', '.join(told)}.")
    if forecast.missing_weights:
        notes.append(
            f"Weights that are not on this machine: {', '.join(forecast.missing_weights)}; a run "
            "fetches them first."
        )
    return notes
