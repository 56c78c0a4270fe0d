"""JPEG: every image is kept, at the highest quality whose bytes fit."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from bench.budgets import Budget
from bench.contract import CompressedSet, Context, ImageDataset, Keeps, Method, MethodInfo, register
from bench.errors import UsageError
from methods.parts.draws import lowest_by_class, priorities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import Arrays, ByteArray, IntArray
    from bench.contract import Artefact

BEST_QUALITY = 95
"""Pillow's documentation advises against more: the files grow and the images hardly gain."""
_SAMPLE = 512
_LEAST_SAMPLE = 16
_TOLD_EVERY = 500
_START_OF_SCAN = 0xDA


@register("jpeg")
@dataclass(frozen=True)
class Jpeg(Method):
    """Store all images as JPEG and train on what they decode to: a control at equal bytes.

    The quality, 1 to 95, is the highest whose bytes, labels included, fit the budget's share of
    the bytes. Where not even quality 1 of all images fits, a class-balanced random draw of them
    is kept at quality 1, as large as fits. Coded by Pillow: baseline, 4:2:0, its standard tables.

    Parameters
    ----------
    headers : {"once", "each"}
        Images of one size and quality have the same header (tables, sizes; about 620 bytes of
        a colour image). Count and keep it once, so that an image takes its coded pixels up to
        the end marker; or count whole files.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="all images as JPEG",
        paper="none (JPEG: ITU-T T.81)",
        year=None,
        kind="storage",
        code="not needed; Pillow codes the images",
    )
    version: ClassVar[int] = 2  # 1 began its search elsewhere: other qualities of few images
    headers: Literal["once", "each"] = "once"

    @property
    def keeps(self) -> Keeps:
        """As many images as fit, all where possible, in at most the budget's share of the bytes."""
        return Keeps.BYTES

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the estimate of the bytes by quality."""
        return [self.estimate(train, ctx)]

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the decoded images.

        Raises
        ------
        UsageError
            When not even one image fits.
        """
        allowed = budget.bytes(len(train) * train.bytes_per_image)
        quality, sizes = self._settled(train, allowed, ctx)
        label_bytes = train.bytes_per_image - int(np.prod(train.shape))
        once = self._once(train, quality)
        kept = np.arange(len(train), dtype=np.int64)
        if once + sizes.sum() + label_bytes * len(train) > allowed:
            kept = _largest_draw(train, sizes + label_bytes, allowed - once, ctx)
        if len(kept) == 0:
            raise UsageError(
                f"{budget.words} are {allowed} bytes, too few for one image as JPEG "
                f"(about {once + int(sizes.mean())}). Raise the ratio"
            )
        images = np.empty((len(kept), *train.shape), dtype=np.uint8)
        for number, index in enumerate(kept):
            images[number] = decoded(encoded(train.images[index], quality)).reshape(train.shape)
            _tell(ctx, "decoding", number + 1, len(kept))
        return CompressedSet(
            kept,
            images=images,
            stored_bytes=int(once + sizes[kept].sum() + label_bytes * len(kept)),
            notes={"quality": quality, "all_images": len(kept) == len(train)},
        )

    def estimate(self, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with ``bytes``, float64 [95]: of an image on average, by quality.

        From a tenth of the images, at least 16 and at most 512, spread evenly over those sorted by
        class: a search from a worse estimate costs small sets less than a better one.
        """

        def make() -> Arrays:
            by_class = np.argsort(train.labels, kind="stable")
            count = min(len(train), max(_LEAST_SAMPLE, min(len(train) // 10, _SAMPLE)))
            sample = by_class[np.arange(count) * len(train) // count]
            means = np.empty(BEST_QUALITY)
            for quality in range(1, BEST_QUALITY + 1):
                stored = (self._stored(train.images[index], quality) for index in sample)
                means[quality - 1] = sum(stored) / count
                ctx.progress("JPEG estimate", quality, BEST_QUALITY)
            return {"bytes": means}

        params = {"headers": self.headers}
        return ctx.artefact("jpeg", make, params=params, seeded=False, version=2, device="cpu")

    def _settled(self, train: ImageDataset, allowed: int, ctx: Context) -> tuple[int, IntArray]:
        """Return the quality, and every image's bytes at it.

        It fits and the next one does not, or it is 1. The search begins at the estimate. The bytes
        of some tens of images may fall from one quality to the next; where several qualities fit
        so, the estimate decides.
        """
        label_bytes = train.bytes_per_image - int(np.prod(train.shape))
        each = allowed / len(train) - label_bytes
        quality = max(1, int((self.estimate(train, ctx)["bytes"] <= each).sum()))

        def sizes_at(quality: int) -> tuple[IntArray, bool]:
            sizes = self._sizes(train, quality, ctx)
            total = self._once(train, quality) + sizes.sum() + label_bytes * len(train)
            return sizes, bool(total <= allowed)

        sizes, fits = sizes_at(quality)
        while not fits and quality > 1:
            quality -= 1
            sizes, fits = sizes_at(quality)
            if fits:
                return quality, sizes
        while fits and quality < BEST_QUALITY:
            more, fits = sizes_at(quality + 1)
            if fits:
                quality, sizes = quality + 1, more
        return quality, sizes

    def _sizes(self, train: ImageDataset, quality: int, ctx: Context) -> IntArray:
        sizes = np.empty(len(train), dtype=np.int64)
        for index in range(len(train)):
            sizes[index] = self._stored(train.images[index], quality)
            _tell(ctx, f"JPEG quality {quality}", index + 1, len(train))
        return sizes

    def _stored(self, image: ByteArray, quality: int) -> int:
        """Return the bytes that an image takes besides what is kept once."""
        coded = encoded(image, quality)
        return len(coded) - (header_length(coded) if self.headers == "once" else 0)

    def _once(self, train: ImageDataset, quality: int) -> int:
        if self.headers == "each":
            return 0
        return header_length(encoded(train.images[0], quality))


def encoded(image: ByteArray, quality: int) -> bytes:
    """Return an image, uint8 [H, W, C] with C 1 or 3, as a JPEG file."""
    from PIL import Image

    file = io.BytesIO()
    grey_or_rgb = image[:, :, 0] if image.shape[2] == 1 else image
    Image.fromarray(grey_or_rgb).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


def decoded(coded: bytes) -> ByteArray:
    """Return the pixels of a JPEG file, uint8 [H, W] or [H, W, 3]."""
    from PIL import Image

    with Image.open(io.BytesIO(coded)) as image:
        return np.asarray(image)


def header_length(coded: bytes) -> int:
    """Return the bytes of a JPEG file before its coded pixels (T.81, B.2): up to the scan."""
    place = 2
    while True:
        length = 2 + int.from_bytes(coded[place + 2 : place + 4])
        is_scan = coded[place + 1] == _START_OF_SCAN
        place += length
        if is_scan:
            return place


def _largest_draw(train: ImageDataset, sizes: IntArray, allowed: int, ctx: Context) -> IntArray:
    """Return a class-balanced random draw that fits, int64 [K]; one image more does not."""
    priority = priorities(train, ctx)

    def draw(count: int) -> IntArray:
        quota = Budget.exactly(count, len(train)).images_by_class(train.class_counts)
        return lowest_by_class(train.labels, priority, quota)

    low, high = 0, len(train)
    while high - low > 1:
        middle = (low + high) // 2
        if sizes[draw(middle)].sum() <= allowed:
            low = middle
        else:
            high = middle
    return draw(low) if low else np.empty(0, dtype=np.int64)


def _tell(ctx: Context, stage: str, done: int, total: int) -> None:
    if done % _TOLD_EVERY == 0 or done == total:
        ctx.progress(stage, done, total)
