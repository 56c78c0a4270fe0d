"""Submitting a sweep: once, however often it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from slurm import commands, watch
from slurm.dispatch import Prepared, prepare, submit
from slurm.turns import alone

if TYPE_CHECKING:
    from bench.cells import Plan
    from bench.datasets import Source
    from bench.results import Results
    from slurm.profiles import Profile
    from slurm.requests import Taught


def submit_once(
    plan: Plan,
    results: Results,
    source: Source,
    profile: Profile,
    device: str = "auto",
    taught: Mapping[str, Taught] | None = None,
    without: frozenset[str] = frozenset(),
) -> Prepared | None:
    """Submit a plan's cells that have neither a record nor a job; None when there are none.

    Cells in ``without`` are left out.

    Raises
    ------
    UsageError
        Where there is no Slurm, or another process is submitting into this folder.
    NotSubmittedError
        When Slurm does not tell which jobs there are, or refuses the first one.
    ClusterError
        When Slurm refuses a later one; those before it stay submitted.
    """
    commands.require()
    with results.as_before_if_refused():
        results.prepare()
        with alone(results):
            left = without | _live_cells(results)
            prepared = prepare(
                plan, results, source, profile, device=device, left=left, taught=taught
            )
            if not prepared.arrays:
                return None
            return prepared.with_submission(submit(prepared, results))


def _live_cells(results: Results) -> frozenset[str]:
    try:
        return watch.live_cells(results.folder)
    except commands.ClusterError as error:
        raise commands.NotSubmittedError(f"{error}. Nothing was submitted") from error
