"""What a user asks to be compressed: the part that decides what is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.choices import By
from bench.compressing.looking import DECODING
from bench.identity import IDENTITY_VERSION, identifier

if TYPE_CHECKING:
    from bench.budgets import Budget
    from bench.choices import Link
    from bench.contract import Method
    from bench.indices import Indices


@dataclass(frozen=True, kw_only=True)
class ByMethod:
    """Keep what a method chooses.

    Parameters
    ----------
    method, budget
        What chooses, and how much.
    seed : int
        The selection seed.
    size : int
        Side in pixels at which the method looks at the images.
    skip_broken : bool
        Go on without images that cannot be read.
    is_lossless : bool
        Write made images as PNG, not in the format of the input's files.
    """

    method: Method
    budget: Budget
    seed: int
    size: int
    skip_broken: bool
    is_lossless: bool = False

    def identity(self) -> dict[str, Any]:
        """Return what decides the result, as JSON values."""
        return {
            "method": self.method.identity(),
            "budget": self.budget.identity(),
            "seed": self.seed if self.method.seeded else None,
            "size": self.size,
            "decoding": DECODING,
            "skip_broken": self.skip_broken,
            "is_lossless": self.is_lossless,
        }


@dataclass(frozen=True, kw_only=True)
class ByIndices:
    """Keep what a released index file names.

    Parameters
    ----------
    path : Path
        The index file.
    indices : Indices
        What it holds.
    by : By or None
        How indices and files are joined; None where the index file and the names decide.
    allow_missing : bool
        Go on where an index has no file.
    """

    path: Path
    indices: Indices
    by: By | None
    allow_missing: bool

    @property
    def is_lossless(self) -> bool:
        """Files of the input are never changed."""
        return True

    def identity(self) -> dict[str, Any]:
        """Return what decides the result, as JSON values."""
        by, indices = self.by or self.indices.by, self.indices
        return {
            "indices": list(indices.listed) if by is By.FILE else indices.numbers.tolist(),
            "by": by,
            "allow_missing": self.allow_missing,
        }


def request_id(asked: ByMethod | ByIndices, fingerprint: str, link: Link) -> str:
    """Return the id of a request on these files: the same id means the same output."""
    identity = {
        "identity_version": IDENTITY_VERSION,
        "files": fingerprint,
        "asked": asked.identity(),
        "link": link,
    }
    return identifier("compression", identity)
