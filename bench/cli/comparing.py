"""What an output of ``bench compress`` has in common with an index file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import DamagedFileError

if TYPE_CHECKING:
    from bench.arrays import IntArray
    from bench.choices import By
    from bench.compressing.request import ByIndices, ByMethod
    from bench.compressing.source import ImageFiles
    from bench.indices import Joined
    from reports.tables import Table


@dataclass(frozen=True)
class Comparison:
    """An index file that is compared with what is kept.

    Parameters
    ----------
    path : Path
        The index file.
    theirs : Joined
        The images that it names.
    files : ImageFiles
        All images.
    asked : ByMethod or ByIndices
        What is kept of them.
    """

    path: Path
    theirs: Joined
    files: ImageFiles
    asked: ByMethod | ByIndices

    @classmethod
    def of(
        cls, path: Path, by: By | None, files: ImageFiles, asked: ByMethod | ByIndices
    ) -> Comparison:
        """Read an index file and find its images; raise a UsageError where that is unclear."""
        from bench.indices import join, read_indices

        return cls(path, join(read_indices(path), files.named, by), files, asked)

    def table(self, kept: IntArray) -> Table:
        """Return the overlap with the images at these positions, int64 [K]."""
        from reports.overlap import overlap_table

        found, missing = len(self.theirs.positions), len(self.theirs.missing)
        counted = (
            f"{found} of {found + missing} indices of {self.path} have a file (by {self.theirs.by})"
        )
        selections = {self._ours: kept, str(self.path): self.theirs.positions}
        return overlap_table(selections, self.files.labels, (f"{counted}.", *self._shared_draws()))

    def told(self, kept: IntArray) -> dict[str, Any]:
        """Return the table as JSON values, for the output's manifest."""
        from reports.overlap import as_stored

        return as_stored(self.table(kept))

    @property
    def _ours(self) -> str:
        from bench.compressing.request import ByIndices

        if not isinstance(self.asked, ByIndices):
            return self.asked.method.spec
        is_same = self.asked.path == self.path  # its two rows need two names
        return f"kept of {self.path}" if is_same else str(self.asked.path)

    def _shared_draws(self) -> tuple[str, ...]:
        """Return the note on draws that both share, or may share."""
        from bench.compressing.request import ByIndices
        from reports.overlap import PAIRED_DRAWS

        ours: dict[str, Any] | None
        if isinstance(self.asked, ByIndices):
            ours = _origin(self.asked.path, self.files)
        else:
            method, seed = self.asked.method, self.asked.seed
            ours = {"seed": seed if method.seeded else None, "parameters": method.values()}
        theirs = _origin(self.path, self.files)
        known = [one for one in (ours, theirs) if one is not None]
        if not known or not all(map(_may_share, known)):
            return ()
        if ours is None or theirs is None:
            return (f"If both were drawn by bench with one seed: {PAIRED_DRAWS}",)
        if ours["seed"] != theirs["seed"]:
            return ()
        return (
            f"{self.path} was kept with seed {theirs['seed']} as well ({theirs['words']}). "
            f"{PAIRED_DRAWS} Draws of another --seed are independent.",
        )


def _may_share(asked: dict[str, Any]) -> bool:
    draw = asked.get("parameters", {}).get("draw", "paired")
    return asked.get("seed") is not None and draw == "paired"


def _origin(path: Path, files: ImageFiles) -> dict[str, Any] | None:
    """Return what was asked for where an index file lies in an output; None where it is in none.

    What was kept of other images has no seed in common with what is kept of these.
    """
    from bench.compressing.output import MANIFEST, parsed_manifest

    try:
        manifest = parsed_manifest((path.parent / MANIFEST).read_bytes())
    except (OSError, DamagedFileError):
        return None
    asked: dict[str, Any] = manifest["asked"]
    return asked if manifest.get("files") == files.fingerprint else {**asked, "seed": None}
