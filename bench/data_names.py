"""What the reports of a results folder call data sets: its ``names.toml``, written by hand."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

NAMES = "names.toml"


def read_names(folder: Path, warn: Callable[[str], None]) -> dict[str, str]:
    """Return the names that a results folder gives to data sets, by fingerprint.

    A line is ``files-0123456789abcdef0123 = "My photos"``. The fingerprint stands under every
    table. No identity depends on a name. ``warn`` is told of a file that cannot be read.
    """
    path = folder / NAMES
    try:
        names = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warn(f'{path} is left out: {str(error).splitlines()[0]}. Write: FINGERPRINT = "name"')
        return {}
    wrong = [key for key, name in names.items() if not isinstance(name, str) or not name.strip()]
    if wrong:
        warn(f'{path}: {wrong[0]} is left out. Write: FINGERPRINT = "name"')
    return {key: " ".join(name.split()) for key, name in names.items() if key not in wrong}
