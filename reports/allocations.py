"""The table of a cluster's time: what jobs asked for, were given and used, and what was wasted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import DamagedFileError
from bench.results import ACCOUNTS
from bench.storage import read_json
from reports.tables import Column, Table, number

Record = Mapping[str, Any]
_SHARES = ("asked_s", "allocated_s", "used_s")
_NOTES = (
    "Hours of GPUs, or of jobs where these have none. Asked: time limits. Used: selection, "
    "training and testing that the records measured. Wasted: allocated and not used.",
    "Allocated by sacct: elapsed time of all runs of the jobs, of those that failed and those that "
    "made artefacts too (bench report asks for it). Allocated by records: from the end of one cell "
    "to that of the next, as the job saw it.",
)


def allocation_tables(
    records: Iterable[Record], folder: Path | None, leave_out: Callable[[str], None]
) -> list[Table]:
    """Return the table of all Slurm jobs that records or stored accounts tell of; none without.

    Parameters
    ----------
    folder : Path, optional
        The results folder, whose ``accounting`` holds what sacct told.
    leave_out : callable
        Told of each account that cannot be used, and why.
    """
    shares = _shares(records)
    accounts = _accounts(folder, leave_out) if folder is not None else {}
    jobs = sorted({*shares, *accounts}, key=lambda job: (len(job), job))
    rows = [_row(job, shares.get(job, []), accounts.get(job)) for job in jobs]
    if len(rows) > 1:
        rows += [_total(kind, rows) for kind in sorted({row["device"] for row in rows})]
    return (
        [Table("Time of Slurm's jobs", _COLUMNS, rows, _NOTES, name="slurm-jobs")] if rows else []
    )


def _shares(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if "allocation" in record:
            slurm = record["provenance"]["slurm"]
            found[slurm.get("SLURM_ARRAY_JOB_ID") or slurm["SLURM_JOB_ID"]].append(record)
    return dict(found)


def _accounts(folder: Path, leave_out: Callable[[str], None]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted((folder / ACCOUNTS).glob("*.json")):
        try:
            found[path.stem] = read_json(path)
        except (DamagedFileError, OSError) as error:
            leave_out(f"{error}. bench report asks sacct for it again, where Slurm is")
    return found


def _row(job: str, records: Sequence[Record], account: Record | None) -> dict[str, Any]:
    told = {key: sum(record["allocation"][key] for record in records) / 3600 for key in _SHARES}
    row: dict[str, Any] = {
        "job": job,
        "cells": len(records),
        "recorded": told["allocated_s"] if records else None,
        "accounted": None,
    }
    if account is None:
        return row | {
            "device": records[0]["allocation"]["device"],
            "asked": told["asked_s"],
            "used": told["used_s"],
            "wasted": max(0.0, told["allocated_s"] - told["used_s"]),
        }
    return row | {
        "device": account["device"],
        "asked": account["asked_s"] / 3600,
        "accounted": account["allocated_s"] / 3600,
        "used": account["used_s"] / 3600,
        "wasted": account["wasted_s"] / 3600,
    }


def _total(kind: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    summed = [row for row in rows if row["device"] == kind]
    totals = {
        key: sum(values) if (values := [r[key] for r in summed if r[key] is not None]) else None
        for key in ("cells", "asked", "accounted", "recorded", "used", "wasted")
    }
    return {"job": "all", "device": kind, **totals}


def _hours(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


_COLUMNS = (
    Column("job", "job", left=True),
    Column("device", "of", left=True),
    Column("cells", "cells", number),
    Column("asked", "asked h", _hours),
    Column("accounted", "allocated h (sacct)", _hours),
    Column("recorded", "allocated h (records)", _hours),
    Column("used", "used h", _hours),
    Column("wasted", "wasted h", _hours),
)
