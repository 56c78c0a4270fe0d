"""Released selections: index files, and how they are joined with image files."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import DataError, UsageError

if TYPE_CHECKING:
    from bench.arrays import IntArray
    from bench.compressing.source import ImageFiles

NAME_NUMBER = "name-number"
POSITION = "position"
_COLUMNS = ("position", "index", "indices")


@dataclass(frozen=True)
class Joined:
    """Indices joined with files.

    Parameters
    ----------
    positions : int64 [K]
        Positions of the files found, in the order of the indices.
    missing : int64 [M]
        The indices without a file.
    by : str
        How they were joined.
    """

    positions: IntArray
    missing: IntArray
    by: str


def read_indices(path: Path) -> IntArray:
    """Return the indices of a file, int64 [K] in its order.

    ``.npy`` holds whole numbers [K]; ``.csv`` one column, or one called position, index or
    indices; any other file one number a line.

    Raises
    ------
    DataError
        When the file cannot be read, or holds something else, a negative or a repeated number.
    """
    try:
        indices = _READERS.get(path.suffix.lower(), _from_lines)(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. Name an index file") from None
    except (ValueError, OverflowError, IndexError, EOFError) as error:
        raise DataError(
            f"{path} is no index file ({str(error).splitlines()[0]}). Give whole numbers: .npy, "
            ".csv with one column or one called position, or .txt with one a line"
        ) from None
    if not len(indices):
        raise DataError(f"{path} holds no index. Give one at least")
    if indices.min() < 0:
        raise DataError(f"{path} holds the index {indices.min()}. Indices are 0 or more")
    values, counts = np.unique(indices, return_counts=True)
    if counts.max() > 1:
        raise DataError(
            f"{path} holds {values[counts.argmax()]} twice ({int((counts > 1).sum())} such "
            "indices). Give each once"
        )
    return indices


def join(indices: IntArray, files: ImageFiles, by: str | None = None) -> Joined:
    """Return which files indices stand for.

    Parameters
    ----------
    by : {"name-number", "position"}, optional
        ``name-number``: an index is the number in a file's name, ``00029.jpg`` is 29.
        ``position``: it is the position in the sorted list of files. None takes the first where
        every name is a number and no two are equal.

    Raises
    ------
    UsageError
        When it is not clear which file an index means.
    """
    if by is None and _numbers(files, is_whole_name=True) is None:
        raise UsageError(
            f"the file names in {files.tree.place} are not all numbers, each once, so it is not "
            f"clear what the indices mean. Give --by {POSITION}, or --by {NAME_NUMBER}"
        )
    by = by or NAME_NUMBER
    if by == POSITION:
        is_there = indices < len(files)
        return Joined(indices[is_there], indices[~is_there], by)
    numbers = _numbers(files, is_whole_name=False)
    if numbers is None:
        raise UsageError(
            f"--by {NAME_NUMBER}: {_ambiguity(files)}. Rename the files, or give --by {POSITION}"
        )
    position = {number: place for place, number in enumerate(numbers)}
    found = [position.get(index, -1) for index in indices.tolist()]
    positions = np.array(found, dtype=np.int64)
    return Joined(positions[positions >= 0], indices[positions < 0], by)


def _numbers(files: ImageFiles, is_whole_name: bool) -> list[int] | None:
    """Return the number in each file's name; None where one has none or two have the same."""
    found = [_number(entry.path.stem, is_whole_name) for entry in files.entries]
    numbers = [number for number in found if number is not None]
    return numbers if len(set(numbers)) == len(found) else None


def _number(name: str, is_whole_name: bool) -> int | None:
    if is_whole_name:
        return int(name) if re.fullmatch("[0-9]+", name) else None
    groups = re.findall("[0-9]+", name)
    return int(groups[0]) if len(groups) == 1 else None


def _ambiguity(files: ImageFiles) -> str:
    """Return what makes the numbers in the files' names ambiguous."""
    numbers = [_number(entry.path.stem, is_whole_name=False) for entry in files.entries]
    if None in numbers:
        return f"the name of {files.entries[numbers.index(None)].path} does not hold one number"
    (number, count), *_ = Counter(numbers).most_common(1)
    return f"{count} files have the number {number}"


def _from_npy(path: Path) -> IntArray:
    try:
        values = np.load(path, allow_pickle=False)
    except ValueError:  # its text advises to load what others pickled
        raise ValueError("it is no array of numbers") from None
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError("it is not one array of whole numbers")
    return values.astype(np.int64)


def _from_csv(path: Path) -> IntArray:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    head, *body = rows or [[""]]
    named = [name.strip().lower() for name in head]
    column = next((named.index(name) for name in _COLUMNS if name in named), None)
    if column is None and len(head) > 1:
        raise ValueError(f"none of its {len(head)} columns is called position or index")
    if column is None and named[0].isdigit():
        body = rows
    return np.array([int(row[column or 0]) for row in body], dtype=np.int64)


def _from_lines(path: Path) -> IntArray:
    lines = path.read_text(encoding="utf-8").split()
    return np.array([int(line) for line in lines], dtype=np.int64)


_READERS = {".npy": _from_npy, ".csv": _from_csv}
