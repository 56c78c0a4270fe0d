"""Allocation: what each record was given of the cluster's job that computed it.

The job tells its facts in the environment, so that processes which it starts know them too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from bench.provenance import slurm_facts

BEGAN = "BENCH_JOB_BEGAN"
"""When the job's script began, in seconds since 1970."""
_GPUS, _ASKED = "BENCH_JOB_GPUS", "BENCH_JOB_ASKED_S"


def tell_job(gpus: int, asked_s: float) -> None:
    """Tell this process, and those that it starts, what job they are of.

    Parameters
    ----------
    gpus : int
        GPUs of the job.
    asked_s : float
        The job's time limit for each of its cells.
    """
    os.environ.setdefault(BEGAN, str(time.time()))
    os.environ |= {_GPUS: str(gpus), _ASKED: str(asked_s)}


@dataclass
class Share:
    """Divides a job's time among the cells that a process of it computes.

    Parameters
    ----------
    gpus : int
        GPUs of the job; the seconds of a job without one count once.
    asked_s : float
        The job's time limit for each of its cells.
    packed, processes : int
        Cells that are computed at a time, each given a part of a device; and how many train one
        cell, each on a GPU of its own.
    counted_to : float
        Until when the process's time has been told, in seconds since 1970.
    """

    gpus: int
    asked_s: float
    packed: int
    processes: int
    counted_to: float
    _artefacts: set[str] = field(default_factory=set)

    @classmethod
    def of_this_job(cls, packed: int, processes: int = 1) -> Self | None:
        """Return the time of the job that this process is of, none of it told; None outside."""
        if _GPUS not in os.environ:
            return None
        told = os.environ
        gpus, asked_s, began = int(told[_GPUS]), float(told[_ASKED]), float(told[BEGAN])
        return cls(gpus, asked_s, packed, processes, began)

    def next(self, cost: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the cell that ends now was given, in seconds times devices.

        What it was given begins where the cell before it ended, the first one's with the job:
        starting Python is part of it. What it used is the training, testing and selection that
        was measured, less what was measured before an interruption; an artefact that another job
        made is that job's.
        """
        now = time.time()
        given, self.counted_to = now - self.counted_to, now
        devices = self.gpus or 1
        training = (self.processes if self.gpus else 1) / self.packed
        return {
            "device": "gpu" if self.gpus else "job",
            "gpus": self.gpus,
            "asked_s": self.asked_s * devices,
            "allocated_s": given * devices / self.packed,
            "used_s": self._used(cost, training),
            "training_devices": training,
        }

    def _used(self, cost: Mapping[str, Any], training: float) -> float:
        job = os.environ.get("SLURM_JOB_ID")
        made = {
            name: artefact["seconds"] - artefact.get("before_s", 0.0)
            for name, artefact in cost["artefacts"].items()
            if name not in self._artefacts and job_of(artefact, "SLURM_JOB_ID") == job
        }
        self._artefacts |= made.keys()
        trained = (cost["training_s"] + cost["testing_s"] - cost["before_s"]) * training
        return float(trained + sum(made.values()) / self.packed)


def this_job() -> str | None:
    """Return the Slurm job or array that this process belongs to; a restarted one keeps it."""
    return accounted_job(slurm_facts())


def accounted_job(facts: Mapping[str, Any]) -> str | None:
    """Return the job or array that facts tell of, as Slurm's accounting names it."""
    return job_of(facts, "SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID")


def job_of(facts: Mapping[str, Any], *names: str) -> str | None:
    """Return the Slurm job that facts tell of by the first of these names; None outside of one."""
    slurm = facts.get("slurm", {})
    return next((str(slurm[name]) for name in names if name in slurm), None)
