"""A plugin for the cluster's tests, installed into the jobs; no test itself.

It writes down every record that is written, has jobs nap after each epoch, and methods that nap as
long, or fail as often, as files in the test's folder say.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.contract import CompressedSet, Method, MethodInfo, register
from bench.results import Results
from slurm.log import Log

PLACE = Path(os.environ.get("BENCH_TALLY", "."))
INFO = MethodInfo(title="toy", paper="none", year=2026, kind="selection", code="here")


def note(kind: str, what: str) -> None:
    with (PLACE / kind).open("a") as file:
        file.write(what + "\n")


def noted(self: Results, cell: Any, content: dict[str, Any]) -> dict[str, Any]:
    record = write_record(self, cell, content)
    note("written", f"{cell.id} {os.environ.get('SLURMD_NODENAME', 'here')}")
    return record


write_record = Results.write_record
Results.write_record = noted  # type: ignore[method-assign]


def paced(self: Log, stage: str, done: int, total: int) -> None:
    tell_stage(self, stage, done, total)
    if stage == "training" and done:
        nap("pace")


tell_stage = Log.stage
Log.stage = paced  # type: ignore[method-assign]


def nap(name: str = "nap") -> None:
    """Nap for the seconds that a file says, which may say otherwise meanwhile."""
    began, asked = time.monotonic(), PLACE / name
    while asked.exists() and time.monotonic() - began < float(asked.read_text() or 0):
        time.sleep(0.1)
    if (PLACE / "broken").exists():
        raise RuntimeError("the toy is broken")


@register("nap")
@dataclass(frozen=True)
class Nap(Method):
    """Keep the first images of a draw, after a nap of its own."""

    info = INFO

    def compress(self, train: Any, budget: Any, ctx: Any) -> CompressedSet:
        nap()
        note("naps", "own")
        order = ctx.generator("toy").permutation(len(train))
        return CompressedSet(np.sort(order[: budget.images(len(train))]))


@register("shared-nap")
@dataclass(frozen=True)
class SharedNap(Method):
    """Keep the first images of a draw that all cells share, made after a nap."""

    info = INFO

    def artefacts(self, train: Any, ctx: Any) -> list[Any]:
        def make() -> dict[str, Any]:
            nap()
            note("naps", "shared")
            return {"order": np.random.default_rng(0).permutation(1437)}

        return [ctx.artefact("order", make, seeded=False)]

    def compress(self, train: Any, budget: Any, ctx: Any) -> CompressedSet:
        (order,) = self.artefacts(train, ctx)
        return CompressedSet(np.sort(order["order"][: budget.images(len(train))]))
