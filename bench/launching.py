"""Training a cell in several processes: torchrun starts them, and what became of them.

The order is a file beside the cell's checkpoint. Each process reads it, makes the same training
job from it (the compressed set comes from the store) and trains its part of every batch. The first
one writes the checkpoints; that after the last epoch is the result.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cells import Cell
from bench.datasets import Source
from bench.errors import DamagedFileError, DeviceError, ProcessError
from bench.provenance import continuation_stamp
from bench.recording import KILLED
from bench.results import Results
from bench.shielding import shielded
from bench.storage import read_json, write_json
from bench.team import threads_of_each

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    from bench.checkpoints import Checkpoint, TrainingState

_POLL_S = 0.2
_PATIENCE_S = 40
"""How long the processes may take to end; torchrun itself kills them after 30 s."""
_ENDED = "ended.json"
_LOG = "log.txt"
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Order:
    """What processes that train a cell together are told.

    Parameters
    ----------
    cell : Cell
        What to train.
    results : Path
        The results folder, whose store has the compressed set.
    source : Source
        Where the data set's files are.
    device : {"cpu", "cuda"}
        Each process takes a GPU of its own.
    processes, threads : int
        How many there are, and the CPU threads of each.
    stamp : str
        The checkpoint's: with another one, training begins anew.
    """

    cell: Cell
    results: Path
    source: Source
    device: str
    processes: int
    threads: int
    stamp: str

    @classmethod
    def of(cls, cell: Cell, results: Path, source: Source, device: str, processes: int) -> Order:
        """Return the order to train a cell as this process would, which shares its threads out."""
        import torch

        threads = threads_of_each(torch.get_num_threads(), processes)
        stamp = f"{continuation_stamp(device)} {processes} processes of {threads} threads"
        return cls(cell, results, source, device, processes, threads, stamp)

    @property
    def checkpoint(self) -> Checkpoint:
        """Where the training state is kept."""
        return Results(self.results).checkpoint(self.cell.id, self.stamp)

    def save(self, path: Path) -> None:
        """Write the order."""
        content = {
            "id": path.stem,
            "cell": self.cell.identity(),
            "results": str(self.results.absolute()),
            "stream": self.source.feed.stream.value,
            "workers": self.source.feed.workers,
            "data": None if self.source.path is None else str(self.source.path.absolute()),
            "device": self.device,
            "processes": self.processes,
            "threads": self.threads,
            "stamp": self.stamp,
        }
        write_json(path, content)

    @classmethod
    def read(cls, path: Path) -> Order:
        """Return the order that :meth:`save` wrote."""
        content = read_json(path)
        return cls(
            cell=Cell.from_identity(content["cell"]),
            results=Path(content["results"]),
            source=Source.of(content["data"], stream=content["stream"], workers=content["workers"]),
            device=content["device"],
            processes=content["processes"],
            threads=content["threads"],
            stamp=content["stamp"],
        )


def check_processes(device: str, processes: int) -> None:
    """Raise a DeviceError where there are too few GPUs for the processes of a cell."""
    if processes == 1 or device == "cpu":
        return
    import torch

    if device != "cuda":
        raise DeviceError(
            f"--gpus-per-cell {processes} takes the first GPUs, --device {device} names one. "
            "Choose GPUs with CUDA_VISIBLE_DEVICES, and give --device cuda"
        )
    if processes > torch.cuda.device_count():
        raise DeviceError(
            f"--gpus-per-cell {processes}: torch sees {torch.cuda.device_count()} CUDA devices. "
            "Give at most that many"
        )


def train_together(
    order: Order, progress: Callable[[int, int], None] = lambda done, total: None
) -> TrainingState:
    """Train a cell in several processes and return the state after its last epoch.

    Raises
    ------
    ProcessError
        When one of them failed; the others are ended, and the checkpoint stays.
    """
    folder = order.checkpoint.folder / f"processes-{uuid.uuid4().hex[:8]}"
    path = (folder / "order.json").absolute()
    order.save(path)
    try:
        code = _ended(_started(path), order, progress)
        state = order.checkpoint.load()
        if code == 0 and state is not None and state.epoch == order.cell.protocol.epochs:
            return state
        raise _failure(folder, order, code)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(path: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    with (path.parent / _LOG).open("wb") as log, shielded():
        return subprocess.Popen(
            [sys.executable, "-m", "bench.launching", str(path), str(os.getpid())],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
        )  # fmt: skip


def _ended(
    process: subprocess.Popen[bytes], order: Order, progress: Callable[[int, int], None]
) -> int:
    """Wait for torchrun, telling the epochs that are done; end it when this process is stopped."""
    newest, seen = order.checkpoint.folder / "newest.json", 0.0
    try:
        while process.poll() is None:
            time.sleep(_POLL_S)
            with contextlib.suppress(OSError, DamagedFileError):
                if (changed := newest.stat().st_mtime) != seen:
                    seen = changed
                    progress(read_json(newest)["epoch"], order.cell.protocol.epochs)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
    return process.wait()


def _failure(folder: Path, order: Order, code: int) -> ProcessError:
    """Return what ended the training: a signal from outside, or the first error that was told."""
    codes = {int(rank): one for rank, one in _read(folder / _ENDED).get("codes", {}).items()}
    told = {rank: _read(failure_path(folder, rank)) for rank in range(order.processes)}
    failed = [(one["time"], rank) for rank, one in told.items() if one]
    follows = [-signal.SIGTERM]  # torchrun's own way of ending the others
    if failed:
        follows.append(-signal.SIGABRT)  # and NCCL's, in those that notice first
    for rank, one in sorted(codes.items()):
        if one < 0 and one not in follows:
            name = signal.Signals(-one).name
            return ProcessError(
                KILLED,
                f"process {rank} of {order.processes} was ended by {name}; if nobody did that, the "
                "memory was full. What was trained is kept: the same command goes on from there",
            )
    if not failed:
        log = (folder / _LOG).read_text(encoding="utf-8", errors="replace")
        return ProcessError(KILLED, f"torchrun ended with {code} and told no cause", log[-4000:])
    _, first = min(failed)
    cause = told[first]
    message = f"process {first} of {order.processes}: {cause['message']}"
    return ProcessError(cause["cause"], message, cause["traceback"])


def failure_path(folder: Path, rank: int) -> Path:
    """Return where a process tells why it failed."""
    return folder / f"failed-{rank}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path)
    except (OSError, DamagedFileError):
        return {}


def die_with_parent(parent: int) -> None:
    """Have this process end when its parent does, however that ends (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:
        sys.exit(1)


def main() -> int:
    """Run torchrun for the order of a file; write how its processes ended."""
    path, parent = Path(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    os.environ["BENCH_LAUNCHER"] = str(os.getpid())
    order = read_json(path)
    os.environ["OMP_NUM_THREADS"] = str(order["threads"])

    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    arguments = [
        "--standalone", "--local-addr", "127.0.0.1",
        "--nproc-per-node", str(order["processes"]), "--max-restarts", "0",
        "--monitor-interval", "0.2", "-m", "bench.rank", str(path),
    ]  # fmt: skip
    try:
        run.main(arguments)
    except ChildFailedError as error:
        failures: dict[int, ProcessFailure] = error.failures
        codes = {str(rank): failure.exitcode for rank, failure in failures.items()}
        write_json(path.parent / _ENDED, {"id": "ended", "codes": codes})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
