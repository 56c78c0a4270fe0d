"""What the tests of compressing share: a small folder of photos."""

from __future__ import annotations

from pathlib import Path

import pytest
from compressions import (
    save,
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Give cats of growing brightness and dogs of shrinking brightness, eight each."""
    root = tmp_path / "photos"
    for number in range(8):
        save(root / "cat" / f"{number:02d}.png", 10 * number + 5)
        save(root / "dog" / f"{number:02d}.png", 200 - 10 * number)
    return root
