"""Checkpoints of training runs: weights, optimizer and curve, without pickle."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.storage import file_checksum, read_json, replacing, told_as_storage_error, write_json

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
    """The curve and the seconds so far (JSON values)."""


@dataclass(frozen=True)
class Checkpoint:
    """The place of one training run's newest state; an unreadable one counts as none."""

    folder: Path

    def save(self, state: TrainingState) -> None:
        """Write the state; the one before stays until this one is complete."""
        from safetensors.torch import save

        data = self.folder / f"epoch-{state.epoch:05d}.safetensors"
        with replacing(data) as temporary:
            temporary.write_bytes(save(state.tensors))
        manifest = {
            "epoch": state.epoch,
            "data": data.name,
            "data_checksum": file_checksum(data),
            "progress": state.progress,
        }
        write_json(self.folder / "newest.json", manifest)
        for older in self.folder.glob("epoch-*.safetensors"):
            if older != data:
                older.unlink(missing_ok=True)

    def load(self) -> TrainingState | None:
        """Return the newest whole state, or None."""
        from safetensors.torch import load_file

        from bench.errors import DamagedFileError

        try:
            manifest = read_json(self.folder / "newest.json")
            data = self.folder / manifest["data"]
            if file_checksum(data) != manifest["data_checksum"]:
                return None
        except (OSError, DamagedFileError, json.JSONDecodeError):
            return None
        return TrainingState(manifest["epoch"], load_file(data), manifest["progress"])

    def clear(self) -> None:
        """Remove the checkpoint of a run that is recorded."""
        with told_as_storage_error(self.folder):
            if self.folder.exists():
                shutil.rmtree(self.folder)
