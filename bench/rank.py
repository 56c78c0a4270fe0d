"""One of the processes that train a cell together; torchrun starts it: ``-m bench.rank FILE``."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.launching import Order, die_with_parent, failure_path
from bench.storage import write_json
from bench.team import Team

if TYPE_CHECKING:
    from bench.training import Job


def main() -> int:
    """Train the cell of an order with the other processes; a failure is written beside it."""
    die_with_parent(int(os.environ["BENCH_LAUNCHER"]))
    path = Path(sys.argv[1])
    order = Order.read(path)
    team = Team(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    device = f"cuda:{os.environ['LOCAL_RANK']}" if order.device == "cuda" else order.device
    try:
        _train(order, team, device)
    except Exception as error:  # whatever it is, the cell's failure record shall tell it
        write_json(failure_path(path.parent, team.rank), _told(error, device))
        return 1
    return 0


def _train(order: Order, team: Team, device: str) -> None:
    import torch

    from bench import training
    from bench.cooperation import joined
    from bench.execution import prepare_torch

    prepare_torch(order.threads)
    job = replace(_job(order, device), team=team)
    with joined(team, torch.device(device)):
        training.run(job, order.checkpoint)


def _job(order: Order, device: str) -> Job:
    from bench.progress import Progress
    from bench.results import Results
    from bench.working import Worker

    cell = order.cell
    splits = cell.dataset.load(order.source)
    worker = Worker(Results(order.results), splits, device, Progress())
    return worker.prepare(cell).job


def _told(error: Exception, device: str) -> dict[str, Any]:
    import time

    from bench.recording import cause_of

    cause, message = cause_of(error, device)
    told = "" if isinstance(error, BenchError) else traceback.format_exc()
    return {"cause": cause, "message": message, "traceback": told, "time": time.time()}


if __name__ == "__main__":
    sys.exit(main())
