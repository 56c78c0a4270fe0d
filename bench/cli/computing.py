"""Showing a plan, and computing its cells on this machine, for the commands that do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import click

from bench.cli import stopping
from bench.cli.codes import INTERRUPTED, SOME_FAILED, TERMINATED
from bench.cli.display import display, tell
from bench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.cells import Cell, Plan
    from bench.datasets import Source
    from bench.results import Results


class Ended(NamedTuple):
    """How computing ended: the exit code, and how many cells failed meanwhile."""

    code: int = 0
    failed: int = 0

    @property
    def is_stopped(self) -> bool:
        """Whether it was ended from outside."""
        return self.code in (INTERRUPTED, TERMINATED)


def show_plan(plan: Plan, results: Results, source: Source, as_json: bool) -> None:
    """Show which cells a plan has, what is done and what the rest costs."""
    from bench.planning import forecast
    from reports import tables
    from reports.plans import plan_table

    results.check()
    expected = forecast(plan, results, source)
    table = plan_table(expected)
    if as_json:
        click.echo(json.dumps(tables.as_json(table) | expected.to_json(), indent=1))
    else:
        click.echo(tables.as_text(table))


def compute(
    plan: Plan,
    results: Results,
    source: Source,
    device: str,
    *,
    threads: int | None,
    pack: int | None,
    gpus_per_cell: int = 1,
) -> Ended:
    """Compute what is pending; return how that ended, which a stop is one way of."""
    from bench.execution import execute, pending_cells
    from bench.planning import require

    pending = pending_cells(plan, results)
    if not pending:
        return Ended()
    results.check()
    used = check_here(pending, source, device, gpus_per_cell)
    require(pending, results, source, tell)  # last, for it may fetch weights
    with results.as_before_if_refused():
        results.prepare()
        results.save_plan(plan)
        _announce(plan, len(pending), used)
        try:
            with display() as progress:
                outcome = execute(
                    plan, results, source, used, progress,
                    threads=threads, pack=pack, gpus_per_cell=gpus_per_cell,
                )  # fmt: skip
        except KeyboardInterrupt as stop:
            total = len(plan.cells)
            kept = total - len(pending_cells(plan, results))
            return Ended(stopping.told(stop, stopping.cells_kept(kept, total)))
    return Ended(SOME_FAILED if outcome.failed else 0, len(outcome.failed))


def check_here(pending: Sequence[Cell], source: Source, device: str, processes: int) -> str:
    """Return the device to use; raise a UsageError where this machine lacks it or the images."""
    from bench.execution import resolve_device
    from bench.launching import check_processes

    if reason := pending[0].dataset.missing(source):
        raise DataError(reason)
    used = resolve_device(device)
    check_processes(used, processes)
    return used


def _announce(plan: Plan, pending: int, device: str) -> None:
    first = plan.cells[0]
    protocols = sorted({cell.protocol.spec for cell in plan.cells})
    models = sorted({cell.model.spec for cell in plan.cells})
    click.echo(
        f"{first.dataset.spec}: {pending} of {len(plan.cells)} cells to compute, "
        f"model {', '.join(models)}, protocol {', '.join(protocols)}, device {device}",
        err=True,
    )
