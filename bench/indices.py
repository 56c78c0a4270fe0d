"""Released selections: index files, and how they are joined with images by their names."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bench.choices import By
from bench.errors import DataError, UsageError

if TYPE_CHECKING:
    from bench.arrays import IntArray

INDEX = "kept.csv"
"""Our own list of what was kept, beside the images that ``bench compress`` writes."""
_TRAIN = "train"
_COLUMNS = (By.POSITION, "index", "indices")
_T = TypeVar("_T", int, str)
_UNREADABLE = (ValueError, OverflowError, IndexError, EOFError, csv.Error)


def _no_numbers() -> IntArray:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Indices:
    """What an index file holds, in its order.

    Parameters
    ----------
    numbers : int64 [K]
        Its whole numbers; empty where it has none.
    names : tuple of str
        The paths of files that it lists; empty where it lists none.
    by : By, optional
        What it means by itself; None where its numbers may be either.
    """

    numbers: IntArray = field(default_factory=_no_numbers)
    names: tuple[str, ...] = ()
    by: By | None = None

    @property
    def listed(self) -> Sequence[int | str]:
        """The names, or the numbers where there are no names."""
        return self.names or self.numbers.tolist()

    def __len__(self) -> int:
        return len(self.listed)


@dataclass(frozen=True)
class Named:
    """Images by their names, which indices are joined with.

    Parameters
    ----------
    paths : tuple of str
        Paths of files with slashes, or other keys, in the order that positions mean.
    place : str
        Where they are, for messages.
    option : str
        What a user writes before a way of joining, ``--by `` or ``by=``.
    """

    paths: tuple[str, ...]
    place: str
    option: str = "--by "


@dataclass(frozen=True)
class Joined:
    """Indices joined with images.

    Parameters
    ----------
    positions : int64 [K]
        Positions of the images found, in the order of the indices.
    missing : tuple of int or str
        The indices, or names, without an image.
    by : By
        How they were joined.
    """

    positions: IntArray
    missing: tuple[int | str, ...]
    by: By


def read_indices(path: Path) -> Indices:
    """Return what an index file holds.

    ``.npy`` holds whole numbers [K]; ``.csv`` a column called file, position, index or indices, or
    one alone; any other file one number a line. Numbers are known to be positions where their
    column says so, or where our own list of the same positions, ``kept.csv``, lies beside them.

    Raises
    ------
    DataError
        When the file cannot be read, or holds something else, a negative or a repeated number.
    """
    try:
        indices = _READERS.get(path.suffix.lower(), _from_lines)(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. Name an index file") from None
    except _UNREADABLE as error:
        raise DataError(
            f"{path} is no index file ({str(error).splitlines()[0]}). Give whole numbers: .npy, "
            ".csv with one column or one called file or position, or .txt with one a line"
        ) from None
    if not len(indices):
        raise DataError(f"{path} holds no index. Give one at least")
    if min(indices.numbers, default=0) < 0:
        raise DataError(f"{path} holds the index {indices.numbers.min()}. Indices are 0 or more")
    repeated = [one for one, count in Counter(indices.listed).items() if count > 1]
    if repeated:
        raise DataError(
            f"{path} holds {repeated[0]} twice ({len(repeated)} such indices). Give each once"
        )
    if indices.by is None and np.array_equal(indices.numbers, _positions_beside(path)):
        return replace(indices, by=By.POSITION)
    return indices


def join(indices: Indices, images: Named, by: By | None = None) -> Joined:
    """Return which images indices stand for.

    Parameters
    ----------
    by : By, optional
        None takes what the index file means by itself, else the number in the name where
        positions cannot be meant, or mean the same.

    Raises
    ------
    UsageError
        When it is not clear which image an index means.
    """
    by = by or indices.by
    if by is None:
        return _only_reading(indices, images)
    if by is By.FILE:
        return _joined_by_file(indices, images)
    if not len(indices.numbers):
        raise UsageError(
            f"{images.option}{by}: the index file lists files, without numbers. "
            f"Give {images.option}{By.FILE}"
        )
    if by is By.POSITION:
        places = {place: place for place in range(len(images.paths))}
        return _joined(indices.numbers.tolist(), places, by)
    numbers = _numbers(images, is_whole_name=False)
    if numbers is None:
        raise UsageError(
            f"{images.option}{By.NAME_NUMBER}: {_ambiguity(images)}. Rename the files, or give "
            f"{images.option}{By.POSITION}"
        )
    places = {number: place for place, number in enumerate(numbers)}
    return _joined(indices.numbers.tolist(), places, by)


def _joined(listed: Sequence[_T], places: Mapping[_T, int], by: By) -> Joined:
    positions = np.array([places[one] for one in listed if one in places], dtype=np.int64)
    return Joined(positions, tuple(one for one in listed if one not in places), by)


def _joined_by_file(indices: Indices, images: Named) -> Joined:
    if not indices.names:
        raise UsageError(
            f"{images.option}{By.FILE}: the index file lists numbers, no files. Give "
            f"{images.option}{By.NAME_NUMBER}, or {images.option}{By.POSITION}"
        )
    places = {path: place for place, path in enumerate(images.paths)}
    below = _by_place_below_train(images.paths)
    there = [one if one in places else below.get(_below_train(one), one) for one in indices.names]
    joined = _joined(there, places, By.FILE)
    if len(np.unique(joined.positions)) < len(joined.positions):
        raise UsageError("the index file lists an image by two paths. Give each image once")
    return joined


def _below_train(name: str) -> str:
    """Return what of a path stands below its folder ``train``; all of it where it has none."""
    parts = PurePosixPath(name).parts
    return "/".join(parts[parts.index(_TRAIN) + 1 :]) if _TRAIN in parts[:-1] else name


def _by_place_below_train(paths: Sequence[str]) -> dict[str, str]:
    """Return the paths by what stands below ``train``, but for those that two share."""
    counts = Counter(_below_train(path) for path in paths)
    return {_below_train(path): path for path in paths if counts[_below_train(path)] == 1}


def _only_reading(indices: Indices, images: Named) -> Joined:
    """Return numbers joined by names; raise a UsageError where positions may be meant."""
    if _numbers(images, is_whole_name=True) is None:
        raise UsageError(
            f"the file names in {images.place} are not all numbers, each once, so it is not "
            f"clear what the indices mean. Give {images.option}{By.POSITION}, or "
            f"{images.option}{By.NAME_NUMBER}"
        )
    named, placed = (join(indices, images, by) for by in (By.NAME_NUMBER, By.POSITION))
    is_only = not len(placed.positions) or (placed.missing and not named.missing)
    if is_only or np.array_equal(named.positions, placed.positions):
        return named
    raise UsageError(
        f"it is not clear what the indices mean: as numbers in file names {len(named.positions)} "
        f"of {len(indices)} have a file, as positions {len(placed.positions)}, and not the same. "
        f"Give {images.option}{By.NAME_NUMBER} (released files, e.g. DQ's), or "
        f"{images.option}{By.POSITION} (a kept.npy)"
    )


def _positions_beside(path: Path) -> IntArray:
    """Return the positions in our own list beside an index file, if there is one."""
    with suppress(OSError, *_UNREADABLE):
        return _from_csv(path.with_name(INDEX)).numbers
    return _no_numbers()


def _numbers(images: Named, is_whole_name: bool) -> list[int] | None:
    """Return the number in each file's name; None where one has none or two have the same."""
    found = [_number(path, is_whole_name) for path in images.paths]
    numbers = [number for number in found if number is not None]
    return numbers if len(set(numbers)) == len(found) else None


def _number(path: str, is_whole_name: bool) -> int | None:
    name = PurePosixPath(path).stem
    if is_whole_name:
        return int(name) if re.fullmatch("[0-9]+", name) else None
    groups = re.findall("[0-9]+", name)
    return int(groups[0]) if len(groups) == 1 else None


def _ambiguity(images: Named) -> str:
    """Return what makes the numbers in the files' names ambiguous."""
    numbers = [_number(path, is_whole_name=False) for path in images.paths]
    if None in numbers:
        return f"the name of {images.paths[numbers.index(None)]} does not hold one number"
    (number, count), *_ = Counter(numbers).most_common(1)
    return f"{count} files have the number {number}"


def _from_npy(path: Path) -> Indices:
    try:
        values = np.load(path, allow_pickle=False)
    except ValueError:  # its text advises to load what others pickled
        raise ValueError("it is no array of numbers") from None
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError("it is not one array of whole numbers")
    return Indices(values.astype(np.int64))


def _from_csv(path: Path) -> Indices:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    head, *body = rows or [[""]]
    named = [name.strip().lower() for name in head]
    column = next((named.index(name) for name in _COLUMNS if name in named), None)
    if By.FILE in named:
        names = tuple(row[named.index(By.FILE)] for row in body)
        written = [] if column is None else [row[column] for row in body]
        # synthetic images have no position
        numbers = _whole(written) if all(written) else _no_numbers()
        return Indices(numbers, names, by=By.FILE)
    if column is None and len(head) > 1:
        raise ValueError(f"none of its {len(head)} columns is called file, position or index")
    if column is None and named[0].isdigit():
        body = rows
    numbers = _whole([row[column or 0] for row in body])
    is_told = column is not None and named[column] == By.POSITION
    return Indices(numbers, by=By.POSITION if is_told else None)


def _from_lines(path: Path) -> Indices:
    return Indices(_whole(path.read_text(encoding="utf-8").split()))


def _whole(written: list[str]) -> IntArray:
    return np.array([int(one) for one in written], dtype=np.int64)


_READERS = {".npy": _from_npy, ".csv": _from_csv}
