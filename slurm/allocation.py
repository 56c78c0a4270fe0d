"""Allocation: what of its job each record was given, as the job itself can tell it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.results import Results

if TYPE_CHECKING:
    from bench.cells import Cell

BEGAN = "BENCH_JOB_BEGAN"
"""The variable that tells when the job's script began, in seconds since 1970."""


@dataclass
class Share:
    """Divides a job's time among the cells that it computes.

    Parameters
    ----------
    gpus : int
        GPUs of the job; the seconds of a job without one count once.
    asked_s : float
        The job's time limit for each of its cells.
    counted_to : float
        Until when its time has been told, in seconds since 1970.
    """

    gpus: int
    asked_s: float
    counted_to: float
    _artefacts: set[str] = field(default_factory=set)

    def next(self, cost: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the cell that ends now was given, in seconds times devices.

        What it was given begins where the cell before it ended, the first one's with the job:
        starting Python is part of it. What it used is the training, testing and selection that
        was measured; an artefact that another job made is that job's.
        """
        now = time.time()
        given, self.counted_to = now - self.counted_to, now
        devices = self.gpus or 1
        return {
            "device": "gpu" if self.gpus else "job",
            "gpus": self.gpus,
            "asked_s": self.asked_s * devices,
            "allocated_s": given * devices,
            "used_s": self._used(cost) * devices,
        }

    def _used(self, cost: Mapping[str, Any]) -> float:
        job = os.environ.get("SLURM_JOB_ID")
        made = {
            name: artefact["seconds"]
            for name, artefact in cost["artefacts"].items()
            if name not in self._artefacts and job_of(artefact, "SLURM_JOB_ID") == job
        }
        self._artefacts |= made.keys()
        return float(cost["training_s"] + cost["testing_s"] + sum(made.values()))


def job_of(facts: Mapping[str, Any], *names: str) -> str | None:
    """Return the Slurm job that facts tell of by the first of these names; None outside of one."""
    slurm = facts.get("slurm", {})
    return next((str(slurm[name]) for name in names if name in slurm), None)


class JobResults(Results):
    """Results of a job: its records tell what they were given of it, as ``allocation``."""

    def __init__(self, folder: Path, warn: Callable[[str], None], share: Share) -> None:
        super().__init__(folder, warn)
        self._share = share

    def write_record(self, cell: Cell, content: dict[str, Any]) -> dict[str, Any]:
        """Write a cell's record with what it was given."""
        given = self._share.next(content["cost"])
        return super().write_record(cell, {**content, "allocation": given})


def share_of(gpus: int, minutes: int, cells: int) -> Share:
    """Return the time of the job that this process runs in, none of it told yet."""
    began = float(os.environ.get(BEGAN) or time.time())
    return Share(gpus, 60.0 * minutes / max(1, cells), began)
