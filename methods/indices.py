"""Index files that others released: the images that they name, whatever chose them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from bench.choices import By
from bench.contract import CompressedSet, Context, ImageDataset, Keeps, Method, MethodInfo, register
from bench.errors import BenchError, DataError, UsageError
from bench.indices import Joined, Named, join, read_indices
from bench.weights import sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.budgets import Budget
    from bench.indices import Indices

_NAME = "indices"
_DIGITS = 12
"""Hex digits of a sha256 that tell one file from another: 48 bits, against mix-ups."""


class FileName:
    """The rule of a text parameter that names a file without its folder."""

    def accept(self, value: str) -> str:
        """Return the name; raise ValueError where it has a folder or cannot stand in a spec."""
        if value and not re.fullmatch(r"[\w+~-][\w.+~-]*", value):
            raise ValueError(value)
        return value

    def __str__(self) -> str:
        return "without folders: letters, digits and . _ + ~ -"


class Digest:
    """The rule of a text parameter that holds the begin of a file's sha256."""

    def accept(self, value: str) -> str:
        """Return the first twelve hex digits, so that one file has one spelling."""
        if value and not re.fullmatch(rf"[0-9a-fA-F]{{{_DIGITS},64}}", value):
            raise ValueError(value)
        return value[:_DIGITS].lower()

    def __str__(self) -> str:
        return f"of {_DIGITS} to 64 hex digits, of which the first {_DIGITS} count"


@register(_NAME)
@dataclass(frozen=True)
class ReleasedIndices(Method):
    """Keep exactly the images that an index file names, in its order.

    Parameters
    ----------
    file : str
        The index file's name; it is looked for in the folder $BENCH_INDICES, or
        ~/.cache/bench/indices. ``.npy``, ``.csv`` and text as :func:`bench.indices.read_indices`
        reads them.
    sha256 : str
        Its sha256, twelve hex digits or more, of which twelve count: the content takes part in
        a cell's id, the folder does not. Where it is left out, the file's own is told.
    by : {"name-number", "position", "file"}
        An index is the number in an image's name (``00029.jpg`` is 29; in ``cifar10`` the official
        index); its position among the training images sorted by key; or the file lists paths,
        as our own ``kept.csv`` does.

    Notes
    -----
    It keeps its own count whatever the ratio, and is run once. An index without an image is
    refused before anything is computed.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="an index file of others",
        paper="none",
        year=None,
        kind="selection",
        code="not needed",
        seeded=False,
        budgeted=False,
        required=("file", "sha256"),
    )
    file: Annotated[str, FileName()] = ""
    sha256: Annotated[str, Digest()] = ""
    by: Literal["name-number", "position", "file"] = "name-number"

    @property
    def keeps(self) -> Keeps:
        """What of a budget the method keeps to."""
        return Keeps.ITS_OWN_COUNT

    def refuse_unready(self, keys: Callable[[], Sequence[str]]) -> None:
        """Raise a UsageError where the file, or an image that it names, is not here."""
        self._joined(lambda: sorted(keys()))

    def expected_images(self, budget: Budget, available: int) -> int:
        """Return how many images the file names; all that there are where it is not here."""
        try:
            return len(self._indices()[0])
        except BenchError:
            return available

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the images that the file names, in its order.

        Raises
        ------
        UsageError
            When the file is missing or another one, or an index has no image.
        """
        joined, digest = self._joined(lambda: train.keys)
        notes = {
            "file": self.file,
            "sha256": digest,
            "joined_by": joined.by,
            "indices": len(joined.positions),
        }
        return CompressedSet(joined.positions, notes=notes)

    def _joined(self, keys: Callable[[], Sequence[str]]) -> tuple[Joined, str]:
        """Return the positions among sorted keys, and the file's whole sha256."""
        indices, path, digest = self._indices()
        images = Named(tuple(keys()), "the training split", option="by=")
        try:
            joined = join(indices, images, By(self.by))
        except UsageError as error:
            raise UsageError(f"{self.name}: {path}: {error}") from None
        if joined.missing:
            is_number = By(self.by) is By.NAME_NUMBER
            are_positions = is_number and indices.numbers.max() < len(images.paths)
            hint = f". As positions all have one: by={By.POSITION}" if are_positions else ""
            raise UsageError(
                f"{self.name}: {len(joined.missing)} of the {len(indices)} indices in {path} have "
                f"no image among the {len(images.paths)} training images (by={self.by}), first "
                f"{joined.missing[0]}. Name the data set that the file was made for{hint}"
            )
        return joined, digest

    def _indices(self) -> tuple[Indices, Path, str]:
        """Return what the file holds, where it is, and its sha256; raise where it may not be it."""
        path, digest = self._found()
        indices = _read(path, digest)
        if indices.by is not None and By(self.by) is By.NAME_NUMBER:
            means = "lists files" if indices.by is By.FILE else "holds positions"
            raise UsageError(
                f"{self.name}: {path} {means}, by its own word, and no numbers of names. "
                f"Give by={indices.by}"
            )
        return indices, path, digest

    def _found(self) -> tuple[Path, str]:
        """Return the file and its sha256; raise where it is not the one that is asked for."""
        folder = indices_folder()
        if not self.file:
            raise UsageError(
                f"{self.name} needs an index file in {folder} (BENCH_INDICES). "
                f"Give '{self.name}[file=NAME,sha256=DIGEST]'"
            )
        path = folder / self.file
        if not path.is_file():
            raise UsageError(
                f"{self.name}: there is no file {self.file} in {folder}. "
                "Copy it there, or name its folder in BENCH_INDICES"
            )
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}. Copy it again") from None
        found = replace(self, sha256=digest)
        if not self.sha256:
            raise UsageError(
                f"{self.name}: sha256 is missing; {path} has {digest}. "
                f"If it is the right file, give '{found.spec}'"
            )
        if found != self:
            raise UsageError(
                f"{self.name}: {path} has sha256 {found.sha256}..., not {self.sha256}... "
                f"Copy the right file there, or give '{found.spec}'"
            )
        return path, digest


@cache
def _read(path: Path, digest: str) -> Indices:
    """Return what a file of this sha256 holds; read once, since a plan asks for every cell."""
    return read_indices(path)


def indices_folder() -> Path:
    """Return the folder for index files: $BENCH_INDICES, or ~/.cache/bench/indices."""
    folder = os.environ.get("BENCH_INDICES") or Path.home() / ".cache" / "bench" / "indices"
    return Path(folder).expanduser()
