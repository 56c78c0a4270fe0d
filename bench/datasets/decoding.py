"""From an image file's bytes to pixels; the one rule of conversion for all image folders."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

    from bench.arrays import ByteArray


class UnreadableImageError(Exception):
    """A file is no image, or not a whole one; the message is the reason and names no file."""


def decode(content: bytes, size: int = 0, is_draft: bool = False) -> ByteArray:
    """Return an image's pixels, uint8 [H, W, 3].

    Grey levels become three equal channels, of 16-bit levels the high byte counts, transparency
    is dropped, and what EXIF says of rotation is not applied (as in torchvision's ImageFolder).

    Parameters
    ----------
    content : bytes
        The file.
    size : int
        Side in pixels: the shorter side is resized (bilinear, antialiased) and the centre cut
        out. 0 leaves the image as it is.
    is_draft : bool
        Let the JPEG decoder shrink by 2, 4 or 8 on its way, but not below twice ``size``: a
        large photo decodes several times as fast, to slightly different pixels.

    Raises
    ------
    UnreadableImageError
        When the file is damaged, cut off, or of a kind that is not known.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            if is_draft and size:
                image.draft(None, (2 * size, 2 * size))
            rgb = _as_rgb(image)
    except MemoryError:
        raise
    except UnidentifiedImageError:  # Pillow names the object in memory, which no user knows
        reason = "it is of no known kind" if content else "it has no content"
        raise UnreadableImageError(reason) from None
    except Exception as error:  # Pillow raises whatever the format's plugin raises
        raise UnreadableImageError(str(error) or type(error).__name__) from None
    if size:
        rgb = ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(rgb, dtype=np.uint8)


def _as_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I;16"):  # Pillow itself would cut all grey levels off at 255
        high_bytes = (np.asarray(image) >> 8).astype(np.uint8)
        return Image.fromarray(high_bytes).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; 8 and 16 are known")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the same colours, without Pillow's warning
    return image.convert("RGB")
