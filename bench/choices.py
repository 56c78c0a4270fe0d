"""What a user may choose by name; cheap to import, since the command's options are made of it."""

from __future__ import annotations

from enum import StrEnum


class Link(StrEnum):
    """How kept files get into an output folder."""

    HARD = "hard"
    COPY = "copy"
    SYMBOLIC = "symbolic"


class By(StrEnum):
    """What an entry of an index file stands for."""

    FILE = "file"
    """A path. One that is not there may be that of a copy: what stands below ``train`` counts."""
    NAME_NUMBER = "name-number"
    """The number in a file's name: ``00029.jpg`` is 29."""
    POSITION = "position"
    """The position in the sorted list of files, or among images sorted by key."""
