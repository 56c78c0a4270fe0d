"""Files with weights that others trained: where they lie, how they come, and their checksums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bench.errors import DamagedFileError, UsageError
from bench.storage import replacing, without_empty, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

_TIMEOUT_S = 30
_CHUNK = 1 << 20


class Weights(Protocol):
    """Weights that were learned elsewhere."""

    @property
    def name(self) -> str:
        """What they are called, on every machine."""

    @property
    def side(self) -> int | None:
        """Side in pixels of the images that they were trained on; None where it is not known."""

    def find(self) -> Path | None:
        """Return their file; None where it is not here. Imports nothing heavy."""

    def obtain(self) -> Path:
        """Return their file, fetched where it is missing; raise a UsageError where it cannot be."""


def require(needed: Iterable[Weights], tell: Callable[[str], None]) -> None:
    """Fetch the weights that are not here, each once.

    Parameters
    ----------
    tell : callable
        Is told what is fetched, since that takes time.

    Raises
    ------
    UsageError
        When weights are missing and cannot be fetched.
    """
    for weights in dict.fromkeys(needed):
        if weights.find() is None:
            tell(f"looking for the weights {weights.name}, which may have to be fetched")
            weights.obtain()


def weights_folder() -> Path:
    """Return the folder for weights' files: $BENCH_WEIGHTS, or ~/.cache/bench/weights."""
    folder = os.environ.get("BENCH_WEIGHTS") or Path.home() / ".cache" / "bench" / "weights"
    return Path(folder).expanduser()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file; one that has not changed is read once."""
    state = path.stat()
    return _sha256(path, state.st_mtime_ns, state.st_size)


@cache
def _sha256(path: Path, changed: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class WeightsFile:
    """A published file of weights.

    Parameters
    ----------
    name : str
        The file's name in the folder $BENCH_WEIGHTS, or ~/.cache/bench/weights.
    url : str
        Where it is fetched from when it is not there.
    side : int or None
        Side in pixels of the images that they were trained on.
    sha256 : str
        What a download must have; empty where none is known.
    sha256_from : str
        Whose file has that sum, for the message when a download has another.

    Notes
    -----
    A file ``NAME.sha256`` beside it pins its contents, as ``sha256sum`` writes it. Whoever trusts
    another sum can put it there, and it alone decides; otherwise a download writes the sum of
    what came, so that later damage is noticed. A file that the user put there is not compared
    with ``sha256``: the record tells its sum.
    """

    name: str
    url: str
    side: int | None = None
    sha256: str = ""
    sha256_from: str = "the published file"

    @property
    def path(self) -> Path:
        """Where the file is, or is put."""
        return weights_folder() / self.name

    @property
    def _pin(self) -> Path:
        return self.path.with_name(self.path.name + ".sha256")

    def find(self) -> Path | None:
        """Return the file's path; None where it is missing."""
        return self.path if self.path.is_file() else None

    def obtain(self) -> Path:
        """Fetch the file where it is missing, compare it with its pin, and return its path.

        Raises
        ------
        UsageError
            When it is missing and cannot be fetched.
        DamagedFileError
            When its sum is not the pinned one, or what was fetched has another than expected.
        """
        if not self.path.is_file():
            self._fetch()
        if not self._pin.is_file():
            return self.path
        found = sha256_of(self.path)
        words = self._pin.read_text(encoding="utf-8", errors="replace").split()
        if not words or words[0].lower() != found:
            raise DamagedFileError(
                f"{self.path} has sha256 {found[:16]}..., its pin says otherwise.\n"
                f"Remove the file to fetch it again, or {self._pin.name} to accept it"
            )
        return self.path

    def state(self) -> dict[str, Tensor]:
        """Return the tensors under ``model``, by name; nothing in the file is executed.

        Raises
        ------
        DamagedFileError
            When the file is no checkpoint of this form.
        """
        import argparse
        import pickle

        import torch

        try:
            # Checkpoints of facebookresearch/mae may hold the arguments of their training.
            with torch.serialization.safe_globals([argparse.Namespace]):
                content: Any = torch.load(self.path, map_location="cpu", weights_only=True)
            model: dict[str, Tensor] = content["model"]
            if all(isinstance(value, torch.Tensor) for value in model.values()):
                return model
            reason = "it holds other things than tensors"
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        except (KeyError, TypeError, AttributeError):
            reason = "it has no tensors under 'model'"
        raise DamagedFileError(
            f"{self.path} is no readable checkpoint: {reason}.\n"
            "Remove it to fetch it again, or put the published file there"
        ) from None

    def _fetch(self) -> None:
        total = hashlib.sha256()
        with without_empty(self.path.parent), replacing(self.path) as temporary:
            with temporary.open("wb") as file:
                for chunk in self._chunks():
                    file.write(chunk)
                    total.update(chunk)
            self._require_expected(total.hexdigest())
        if not self._pin.is_file():
            write_text(self._pin, f"{total.hexdigest()}  {self.name}\n")

    def _require_expected(self, found: str) -> None:
        if self.sha256 and found != self.sha256 and not self._pin.is_file():
            raise DamagedFileError(
                f"{self.url} gave sha256 {found}, not {self.sha256[:16]}... of {self.sha256_from}."
                f"\nTry again, or write the sum that you trust into {self._pin}"
            )

    def _chunks(self) -> Iterator[bytes]:
        """Yield the file's bytes as they come over the network."""
        import http.client
        import urllib.error
        import urllib.request

        done = 0
        try:
            with urllib.request.urlopen(self.url, timeout=_TIMEOUT_S) as source:
                while chunk := source.read(_CHUNK):
                    done += len(chunk)
                    yield chunk
                announced = int(source.headers.get("Content-Length", done))
            if done != announced:
                raise urllib.error.URLError(f"{done} of {announced} bytes came")
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise UsageError(
                f"{self.path} is missing, and {self.url} cannot be fetched: {reason}.\n"
                "Copy the file there by hand, or name its folder in BENCH_WEIGHTS"
            ) from None
