"""The errors that a user may see: what happened, with which value, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED = 30


class BenchError(Exception):
    """An error that is told in one or two lines, without a traceback."""


class UsageError(BenchError):
    """The request itself is wrong; nothing was run."""


class DataError(UsageError):
    """A data set is missing, broken or does not fit the request."""


class MissingClassError(DataError):
    """A class has no image to train on."""


class DeviceError(UsageError):
    """The device that was asked for is not there."""


class StorageError(BenchError):
    """A file could not be written or read; what was complete before is still there."""


class FolderError(StorageError, UsageError):
    """A results folder is something else, or cannot be written; nothing was begun."""


class DiskFullError(StorageError):
    """A file did not fit on the disk any more."""


class DamagedFileError(BenchError):
    """A stored file does not match its checksum."""


class TrainingError(BenchError):
    """A training run cannot give a result."""


class LossNotFiniteError(TrainingError):
    """The loss became infinite, or no number."""


class ProcessError(BenchError):
    """One of the processes that train a cell together failed.

    Parameters
    ----------
    cause : str
        The name of the error, as a failure record has it.
    message : str
        What is told.
    traceback : str
        Of that process; empty where the message tells all.
    """

    def __init__(self, cause: str, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.cause = cause
        self.traceback = traceback


def unknown(kind: str, value: str, known: Iterable[str], then: str = "") -> UsageError:
    """Return the error for a name that is not known, with the closest known one.

    Parameters
    ----------
    kind : str
        What the name should be, e.g. ``method``.
    value : str
        The name as given.
    known : iterable of str
        The names that exist.
    then : str
        What to do next, e.g. a command that lists the names.
    """
    names = sorted(known)
    close = difflib.get_close_matches(value, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    tail = f" {then}" if then else ""
    return UsageError(f"unknown {kind} '{value}'.{hint} Known: {listed(names)}.{tail}")


def listed(names: Iterable[str]) -> str:
    """Return names sorted in one line, or how many there are where those are too many."""
    told = sorted(names)
    return ", ".join(told) if len(told) <= _LISTED else f"{len(told)} names"
