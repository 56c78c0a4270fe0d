"""Contact sheets: some images of every class in rows, under a caption."""

from __future__ import annotations

import io
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from PIL.ImageFont import FreeTypeFont, ImageFont

    from bench.arrays import ByteArray, Pixels
    from bench.budgets import Budget
    from bench.contract import CompressedSet, ImageDataset, Method

COLUMNS = 10
ROWS = 20
SIDE = 48
"""Pixels."""
QUALITY = 75
_GAP = 4
_LABEL_LETTERS = 22
_LEAST_WIDTH = 300
_LETTERS = 13
_LINE = 18


def contact_sheet(
    pictures: Mapping[str, Sequence[ByteArray]], caption: str = "", quality: int = 90
) -> bytes:
    """Return a JPEG file with a row of pictures for each class, the name on its left.

    Parameters
    ----------
    pictures : mapping of class to a sequence of uint8 [S, S, 3]
        All of one side S.
    caption : str
        Stands above the rows, in as many lines as it takes, and is the file's comment.
    quality : int
        Of the file, 1 to 95.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_LETTERS)
    side = max((len(p) for row in pictures.values() for p in row), default=1)
    columns = max((len(row) for row in pictures.values()), default=0)
    step = side + _GAP
    labels = [_label(name) for name in pictures]
    left = ceil(max(map(font.getlength, labels), default=0)) + 3 * _GAP
    width = max(left + columns * step, _LEAST_WIDTH)
    lines = _lines(printable(caption), font, width - 2 * _GAP)
    top = len(lines) * _LINE + _GAP * bool(lines)
    sheet = Image.new("RGB", (width, top + max(1, len(pictures)) * step), "white")
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        draw.text((_GAP, (number + 0.5) * _LINE), line, "black", font, anchor="lm")
    for row, (label, images) in enumerate(zip(labels, pictures.values(), strict=True)):
        draw.text((_GAP, top + row * step + side / 2), label, "black", font, anchor="lm")
        for column, pixels in enumerate(images):
            sheet.paste(Image.fromarray(pixels), (left + column * step, top + row * step))
    file = io.BytesIO()
    sheet.save(
        file, "JPEG", quality=quality, optimize=True, progressive=True, comment=printable(caption)
    )
    return file.getvalue()


def _label(name: str) -> str:
    label = printable(name)
    return label if len(label) <= _LABEL_LETTERS else f"{label[: _LABEL_LETTERS - 1]}…"


def method_sheet(
    method: Method,
    budget: Budget,
    seed: int,
    compressed: CompressedSet,
    train: ImageDataset,
    dataset: str,
    side: int = SIDE,
) -> bytes:
    """Return the contact sheet of what a method kept or made.

    Parameters
    ----------
    seed : int
        Of the selection.
    compressed : CompressedSet
        What the method returned for ``train``.
    dataset : str
        What the caption calls the training split.
    side : int
        Of a picture, in pixels.
    """
    shown = first_pictures(compressed, train, side)
    told = caption(method, budget, seed, compressed, train, dataset)
    return contact_sheet(shown, told, QUALITY)


def first_pictures(
    compressed: CompressedSet, train: ImageDataset, side: int = SIDE
) -> dict[str, list[ByteArray]]:
    """Return the first 10 images of the first 20 classes, by class, as :func:`fitted` gives them.

    In the order of the set, which is that of selection where the method has one; of methods
    that make images, those images.
    """
    kept = compressed.training_set(train)
    shown: dict[str, list[ByteArray]] = {}
    for label, name in enumerate(kept.classes[:ROWS]):
        members = np.flatnonzero(kept.labels == label)[:COLUMNS]
        shown[name] = [fitted(kept.images[index], side) for index in members]
    return shown


def caption(
    method: Method,
    budget: Budget,
    seed: int,
    compressed: CompressedSet,
    train: ImageDataset,
    dataset: str,
) -> str:
    """Return what is seen: method, ratio, seed, data set, and which images these are."""
    told = [method.called]
    if method.budgeted:
        told.append(budget.words)
    if method.seeded:
        told.append(f"seed {seed}")
    first = f"the first {COLUMNS} of every class"
    count = f"{compressed.content} images: {len(compressed):,}"
    return f"{', '.join(told)}. {dataset}: {len(train):,} images; {count}; shown are {first}."


def caption_of(sheet: Path) -> str:
    """Return the caption of a sheet that lies on the disk; nothing where there is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(sheet) as image:
            return str(image.info.get("comment", b"").decode("utf-8", "replace"))
    except (OSError, UnidentifiedImageError):
        return ""


def fitted(pixels: Pixels, side: int) -> ByteArray:
    """Return an image [H, W, C], C 1 or 3, within a white square, uint8 [side, side, 3].

    Floats are rounded to whole levels in 0 ... 255.
    """
    from PIL import Image, ImageOps

    levels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(levels, (*levels.shape[:2], 3)).copy())
    square = ImageOps.pad(image, (side, side), Image.Resampling.BICUBIC, color="white")
    return np.asarray(square)


def printable(text: str) -> str:
    """Return a text in one line, without what a terminal or a page would trip over."""
    return "".join(c if c.isprintable() and c != "`" else "?" for c in text)


def _lines(text: str, font: FreeTypeFont | ImageFont, width: int) -> list[str]:
    """Return a text cut into lines of at most a width in pixels; a longer word is cut too."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        while len(word) > 1 and font.getlength(word) > width:
            fits = max(
                n for n in range(1, len(word)) if n == 1 or font.getlength(word[:n]) <= width
            )
            lines.append(word[:fits])
            word = word[fits:]
        lines.append(word)
    return lines
