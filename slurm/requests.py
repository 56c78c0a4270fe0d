"""Requests: what a pending cell needs, and what a job must ask for at least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["common", "artefacts", "cells"]
"""What a job makes: artefacts that several selection seeds share, those of one seed, or cells."""
BLOCKED = "blocked"
"""The phase of the failures of cells whose artefacts could not be made."""


@dataclass(frozen=True)
class Ask:
    """The least that a job must ask for, learnt from one that had too little."""

    memory_gb: float = 0.0
    minutes: int = 0

    def joined(self, other: Ask) -> Ask:
        """Return what satisfies both."""
        return Ask(max(self.memory_gb, other.memory_gb), max(self.minutes, other.minutes))


@dataclass(frozen=True)
class Taught:
    """What earlier attempts at a cell teach the jobs of the next one."""

    cell: Ask = Ask()
    """Of the job that computes it."""
    making: Ask = Ask()
    """Of the jobs that make its artefacts first."""


@dataclass(frozen=True)
class Need:
    """A pending cell, and what is still to be made for its compressed set.

    Parameters
    ----------
    cell : str
        The cell's id.
    seconds : float or None
        Expected time of training and testing.
    missing : mapping
        The ids of artefacts that are not stored, the compressed set included, with their
        expected seconds.
    taught : Taught
        What earlier attempts taught.
    seed : int
        The cell's selection seed.
    """

    cell: str
    seconds: float | None
    missing: Mapping[str, float | None] = field(default_factory=dict)
    taught: Taught = Taught()
    seed: int = 0
