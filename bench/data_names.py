"""What the reports of a results folder call data sets: its ``names.toml``, written by hand."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

NAMES = "names.toml"
_LONGEST = 60
"""Characters; files of tables and figures have the name in theirs."""


def read_names(folder: Path, warn: Callable[[str], None]) -> dict[str, str]:
    """Return the names that a results folder gives to data sets, by fingerprint.

    A line is ``files-0123456789abcdef0123 = "My photos"``. The fingerprint stands under every
    table. No identity depends on a name. ``warn`` is told of a file that cannot be read.
    """
    path = folder / NAMES
    try:
        names = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warn(f'{path} is left out: {str(error).splitlines()[0]}. Write: FINGERPRINT = "name"')
        return {}
    told = {key: " ".join(name.split()) for key, name in names.items() if isinstance(name, str)}
    wrong = [key for key in names if not _is_name(told.get(key, ""))]
    if wrong:
        warn(
            f"{path}: {', '.join(wrong)} left out. "
            f'Write: FINGERPRINT = "name", of 1 to {_LONGEST} printable characters'
        )
    return {key: name for key, name in told.items() if key not in wrong}


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and text.isprintable()
