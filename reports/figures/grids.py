"""What each method selects: the sheets of images that ``bench pictures`` drew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bench.results import PICTURES
from reports.figures.style import Drawing, style
from reports.tables import ascii_name

_PIXELS_AN_INCH = 110


def grid_drawings(results: Path, leave_out: Callable[[str], None]) -> Iterator[Drawing]:
    """Yield a figure for each sheet in a results folder.

    Records hold no images: the sheets are there after ``bench pictures`` with that folder.
    ``leave_out`` is told of what is no image.
    """
    import numpy as np
    from matplotlib.figure import Figure as Canvas
    from PIL import Image, UnidentifiedImageError

    for path in sorted((results / PICTURES).glob("*.jpg")):
        try:
            with Image.open(path) as sheet:
                caption = sheet.info.get("comment", b"").decode("utf-8", "replace")
                pixels = np.asarray(sheet.convert("RGB"))
        except (OSError, UnidentifiedImageError):
            leave_out(f"{path} is no image. Make it anew with: bench pictures")
            continue
        height, width = (length / _PIXELS_AN_INCH for length in pixels.shape[:2])
        with style():
            canvas = Canvas(figsize=(width, height))
            axes = canvas.add_axes((0, 0, 1, 1))
            axes.set_axis_off()
            axes.imshow(pixels, interpolation="none", aspect="auto")
        yield Drawing(
            f"selected-{ascii_name(path.stem)}",
            f"What is kept: {path.stem}",
            caption or "A sheet of kept images.",
            canvas,
        )
