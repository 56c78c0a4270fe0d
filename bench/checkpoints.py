"""Checkpoints of training runs: weights, optimizer and curve, without pickle."""

from __future__ import annotations

import hashlib
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.allocation import this_job
from bench.errors import DamagedFileError, StorageError
from bench.storage import file_checksum, read_json, replacing, write_json

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class TrainingState:
    """Everything that a training run needs to go on after an epoch.

    Random choices are drawn anew for each epoch from the seed and the epoch's number, so that no
    generator's state is needed.
    """

    epoch: int
    """Epochs that are complete."""
    tensors: dict[str, Tensor]
    """Weights, buffers and momenta, by name."""
    progress: dict[str, Any] = field(default_factory=dict)
    """The curve so far (JSON values)."""
    seconds: float = 0.0
    """What the run has taken so far."""
    elsewhere_s: float = 0.0
    """How much of that other Slurm jobs have spent."""


@dataclass(frozen=True)
class Checkpoint:
    """The place of one training run's newest state.

    Parameters
    ----------
    folder : Path
        Where the state is kept.
    stamp : str
        What must be equal for going on to give the same bytes: code, packages, device, threads.
        A state with another stamp, or an unreadable one, counts as none.
    share : float
        The most that saving may take of the time; 1 saves every state (see :class:`Pace`).
    """

    folder: Path
    stamp: str = ""
    share: float = 1.0

    def save(self, state: TrainingState) -> None:
        """Write the state; the one before stays until this one is complete."""
        from safetensors.torch import save

        content = save(state.tensors)
        # A name of its own: should two workers ever hold one cell, neither breaks the other's.
        data = self.folder / f"epoch-{state.epoch:05d}-{uuid.uuid4().hex[:8]}.safetensors"
        older = list(self.folder.glob("epoch-*.safetensors"))
        with replacing(data) as temporary:
            temporary.write_bytes(content)
        manifest = {
            "stamp": self.stamp,
            "epoch": state.epoch,
            "data": data.name,
            "data_checksum": hashlib.blake2b(content, digest_size=16).hexdigest(),
            "progress": state.progress,
            "seconds": state.seconds,
            "elsewhere_s": state.elsewhere_s,
            "job": this_job(),
        }
        write_json(self.folder / "newest.json", manifest)
        for path in older:
            path.unlink(missing_ok=True)

    def load(self) -> TrainingState | None:
        """Return the newest whole state, or None."""
        from safetensors.torch import load_file

        try:
            manifest = read_json(self.folder / "newest.json")
            data = self.folder / manifest["data"]
            if manifest["stamp"] != self.stamp or file_checksum(data) != manifest["data_checksum"]:
                return None
            seconds, is_own = manifest["seconds"], manifest["job"] == this_job()
            return TrainingState(
                epoch=manifest["epoch"],
                tensors=load_file(data),
                progress=manifest["progress"],
                seconds=seconds,
                elsewhere_s=manifest["elsewhere_s"] if is_own else seconds,
            )
        except (OSError, DamagedFileError, KeyError):
            return None

    def clear(self) -> None:
        """Remove the checkpoint of a run that is complete."""
        shutil.rmtree(self.folder, ignore_errors=True)


def saved_if_possible(checkpoint: Checkpoint, state: TrainingState) -> str:
    """Save a state; return why that could not be, or an empty text.

    Work goes on without it: an interruption would cost more, no result.
    """
    try:
        checkpoint.save(state)
    except StorageError as error:
        return str(error)
    return ""


class Pace:
    """When a state is worth saving: as soon as what would be lost outweighs what saving costs.

    A large network's state takes longer to write than an epoch on a small set takes to train. The
    first state is always due.

    Parameters
    ----------
    share : float
        The most that saving may take of the time, in 0 ... 1.
    clock : callable
        Tells the seconds.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._saved_at = clock()
        self._cost_s = 0.0
        self.problem = ""
        """Why a state could not be saved, if one could not."""

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last state."""
        return self._share * (self._clock() - self._saved_at + self._cost_s) >= self._cost_s

    def save(self, checkpoint: Checkpoint, state: TrainingState) -> None:
        """Save a state, if that can be, and remember what it took."""
        start = self._clock()
        self.problem = saved_if_possible(checkpoint, state) or self.problem
        self._saved_at = self._clock()
        self._cost_s = self._saved_at - start
