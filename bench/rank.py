"""One of the processes that train a cell together; torchrun starts it: ``-m bench.rank FILE``."""

from __future__ import annotations

import contextlib
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
    from collections.abc import Iterator

    from bench.jobs import Job


def main() -> int:
    """Train the cell of an order with the other processes; a failure is written beside it."""
    die_with_parent(int(os.environ["BENCH_LAUNCHER"]))
    path = Path(sys.argv[1])
    team = Team(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    told = failure_path(path.parent, team.rank)
    try:
        with _telling(told, "cpu"):
            _train(Order.read(path), team, told)
    except Exception:  # it is told
        return 1
    return 0


@contextlib.contextmanager
def _telling(path: Path, device: str) -> Iterator[None]:
    """Write down what fails within the block, once; the cell's failure record shall tell it."""
    try:
        yield
    except Exception as error:
        if not path.exists():
            write_json(path, _told(error, device))
        raise


def _train(order: Order, team: Team, told: Path) -> None:
    import torch

    from bench import training
    from bench.cooperation import joined
    from bench.execution import prepare_torch

    device = f"cuda:{os.environ['LOCAL_RANK']}" if order.device == "cuda" else order.device
    with _telling(told, device):
        prepare_torch(order.threads)
        job = replace(_job(order, device), team=team)
        # The first failure is the cause: it is told before the others lose their connection.
        with joined(team, torch.device(device)), _telling(told, device):
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


def _leave(code: int) -> None:
    """End this process; one that failed waits for none of the others, as torch would at exit."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        os._exit(code)


if __name__ == "__main__":
    _leave(main())
