"""Made images as files: in the format and quality of the user's own, or without loss."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bench.arrays import Pixels
    from bench.compressing.source import ImageFiles
    from bench.datasets.files import Entry

JPEG_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Format:
    """How an image is written: as PNG, or as JPEG with these settings of Pillow's."""

    jpeg: dict[str, Any] | None = field(default=None)

    @property
    def suffix(self) -> str:
        """The ending of its files' names."""
        return ".png" if self.jpeg is None else ".jpg"

    def encoded(self, pixels: Pixels) -> bytes:
        """Return an image as a file; floats are rounded to whole levels in 0 ... 255."""
        from PIL import Image

        levels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
        image = Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels)
        file = io.BytesIO()
        if self.jpeg is None:
            image.save(file, "PNG", optimize=True)
        else:
            image.save(file, "JPEG", optimize=True, **self.jpeg)
        return file.getvalue()


LOSSLESS = Format()


def format_like(files: ImageFiles, entry: Entry) -> Format:
    """Return the format of an image file: JPEG with its own tables, or PNG for all others."""
    from PIL import Image, JpegImagePlugin

    if entry.path.suffix.lower() not in JPEG_SUFFIXES:
        return LOSSLESS
    with Image.open(io.BytesIO(files.tree.content(entry))) as image:
        if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("L", "RGB"):
            return LOSSLESS
        tables = list(image.quantization.values())
        sampling = JpegImagePlugin.get_sampling(image)
    # a grey file has one table, and colour needs no second one; -1 is a sampling of another kind
    return Format({"qtables": tables[:2], "subsampling": max(sampling, 0)})


def usual_format(files: ImageFiles) -> Format:
    """Return the format of most of the files, for images that stand for none of them."""
    jpegs = [e for e in files.entries if e.path.suffix.lower() in JPEG_SUFFIXES]
    if 2 * len(jpegs) <= len(files):
        return LOSSLESS
    return format_like(files, jpegs[0])
