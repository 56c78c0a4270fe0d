"""The pixel stage of DQ, ADQ and DQAS: unimportant patches are dropped and reconstructed."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench import resources
from bench.errors import UsageError
from bench.metering import told_bytes
from bench.weights import sha256_of
from methods.parts import mae
from methods.parts.patches import Edition, PatchGrid, masks_of, most_important
from methods.parts.released import dataset_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import Arrays, IntArray
    from bench.contract import Artefact, CompressedSet, Context, ImageDataset
    from bench.weights import Weights
    from methods.parts.embeddings import Extractor
    from methods.parts.mae_network import MaskedAutoencoder

_LARGE = (14, 16)
"""Patches along a side of ViT-Large's images, and pixels along a side of a patch."""
_COPIES = 3
"""How often all reconstructions are in memory while they are stored; measured."""


@dataclass(frozen=True)
class PixelStage:
    """Drops the patches of least attention and has a masked autoencoder paint them again.

    DQ (arXiv 2308.10524), "pixel quantization"; released ``quantize_pixel.py`` and
    ``mae_models.py``.

    Parameters
    ----------
    drop : float
        Share of the patches that are dropped, in [0, 1): 0.25 in the paper, 0.2 in the README.
    extractor : Extractor
        The classifier whose attention tells the patches' importance.
    attention : {"grad-cam", "grad-cam++"}
        Of the paper, or of the released code.
    mae : {"small", "vit-large"}
        A masked autoencoder trained on the training split at the images' own size (our choice,
        for machines without the other), or the published ViT-Large, which sees images of
        224 x 224 pixels.
    mae_epochs : int
        Epochs of training of the small one.
    alignment : {"key", "misaligned"}
        Whether a kept image is reconstructed itself, or one that another order of the files puts
        in its place; see :func:`misaligned_positions`.
    edition : {"paper", "released"}
        ``released`` keeps ``int(total * (1 - drop))`` patches, follows the network's own guess,
        takes Grad-CAM++ as torchcam computes it, resizes visible pixels back with all others,
        and returns the autoencoder's output everywhere when nothing is dropped. ``paper``
        follows the label's score where the extractor knows the labels, and leaves visible
        pixels as they are.
    """

    drop: float
    extractor: Extractor
    attention: Literal["grad-cam", "grad-cam++"] = "grad-cam"
    mae: Literal["small", "vit-large"] = "small"
    mae_epochs: int = 20
    alignment: Literal["key", "misaligned"] = "key"
    edition: Edition = "paper"

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1:
            raise UsageError(f"drop={self.drop} is not allowed. Give at least 0 and less than 1")

    def grid(self, shape: tuple[int, int, int]) -> PatchGrid:
        """Return the patches of images of a shape (height, width, channels)."""
        if self.mae == "small":
            return PatchGrid.native(*shape[:2])
        return PatchGrid.resized(*shape[:2], *_LARGE)

    def weights(self) -> tuple[Weights, ...]:
        """Return the pretrained weights of the autoencoder."""
        return (mae.RELEASED,) if self.mae == "vit-large" else ()

    def kept_patches(self, shape: tuple[int, int, int]) -> tuple[int, int]:
        """Return how many patches of an image are kept, and how many there are."""
        grid = self.grid(shape)
        return grid.kept(self.drop, self.edition), grid.total

    def bytes_each(self, train: ImageDataset) -> int:
        """Return the bytes that one kept image takes: pixels, one bit a patch, label.

        Notes
        -----
        The most that an image of this shape can take; the share of the pixels is nominal for
        ViT-Large. The released accounting leaves out the mask and the label. The autoencoder,
        which reconstructing needs, is a shared cost beside the budget: ``shared_bytes`` of the
        compressed set.
        """
        grid = self.grid(train.shape)
        kept, total = self.kept_patches(train.shape)
        mask = -(-total // 8) if kept < total else 0
        label = train.bytes_per_image - int(np.prod(train.shape))
        return grid.pixels_of(kept) * train.shape[2] + mask + label

    def require_memory(self, train: ImageDataset) -> None:
        """Raise a UsageError where the reconstructions of all images do not fit into memory.

        They are one array, also of images that stream.
        """
        height, width, channels = train.shape
        needed, free = (
            _COPIES * len(train) * height * width * channels,
            resources.available_memory(),
        )
        if needed > free:
            side = max(1, math.isqrt(free // (_COPIES * len(train) * channels)))
            raise UsageError(
                f"drop={self.drop:g} reconstructs all {len(train):,} images of {width}x{height} "
                f"pixels: {told_bytes(needed)} while they are stored, and {told_bytes(free)} are "
                f"free. Images of at most {side}x{side} pixels fit; or give drop=0"
            )

    def importance(self, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with the attention ``maps``, float32 [N, h, w]."""
        extractor = self.extractor
        network = None if self._is_pretrained else extractor.network(train, ctx)
        kind, target = self._attention

        def make() -> Arrays:
            from methods.parts.attention import attention_maps, pretrained_classifier

            if network is None:
                loaded = pretrained_classifier(extractor.model, train, ctx.device)
                ctx.tell("weights", loaded.pretrained)
            else:
                loaded = extractor.load(network, train, ctx)

            def progress(done: int, total: int) -> None:
                ctx.progress("attention", done, total)

            maps = attention_maps(loaded, train, kind, target, ctx.device, progress)
            return {"maps": maps}

        params = {"kind": kind, "target": target, "model": extractor.model.identity()}
        inputs = [] if network is None else [network]
        return ctx.artefact(
            "attention", make, inputs=inputs, params=params, seeded=not self._is_pretrained
        )

    def reconstructions(self, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with all training images as the stage leaves them.

        ``images`` are uint8 [N, H, W, C]; ``masks`` uint8 [N, ceil(total / 8)], one bit a patch,
        1 where it is kept, as :func:`numpy.packbits`; ``notes`` the JSON of what was used.
        """
        importance = self.importance(train, ctx)
        weights = None
        if self.mae == "small":
            weights = mae.SmallMae(self.mae_epochs).weights(train, ctx, self.drop, self.edition)

        def make() -> Arrays:
            from methods.parts.attention import on_grid
            from methods.parts.painting import repainted

            self.require_memory(train)
            grid = self.grid(train.shape)
            kept, _ = self.kept_patches(train.shape)
            ranks = on_grid(importance["maps"], grid.rows, grid.columns)
            ids = most_important(ranks, kept)
            masks = masks_of(ids, grid.total)
            notes = self._notes(train)
            if kept == grid.total and self.edition == "paper":
                images = np.asarray(train.images)
            else:
                network, told = self._network(weights, train, ctx)
                notes |= told
                released = self.edition == "released"
                images = repainted(network, grid, train, ids, masks, released, ctx)
            return {
                "images": images,
                "masks": np.packbits(masks, axis=1),
                "notes": np.frombuffer(json.dumps(notes).encode(), dtype=np.uint8),
            }

        return ctx.artefact(
            "reconstructions",
            make,
            inputs=[importance] if weights is None else [importance, weights],
            params={"drop": self.drop, "mae": self.mae, "edition": self.edition},
            seeded=weights is not None or not self._is_pretrained,
        )

    @property
    def _is_pretrained(self) -> bool:
        return self.extractor.model.uses_pretrained_weights

    @property
    def _attention(self) -> tuple[Any, Any]:
        """How channels are weighted, and whose score is followed."""
        is_torchcam = self.edition == "released" and self.attention == "grad-cam++"
        knows_labels = self.edition == "paper" and not self._is_pretrained
        return "torchcam" if is_torchcam else self.attention, "label" if knows_labels else "own"

    def _network(
        self, weights: Artefact | None, train: ImageDataset, ctx: Context
    ) -> tuple[MaskedAutoencoder, dict[str, Any]]:
        """Return the autoencoder, and what is to be told of it."""
        from methods.parts.mae_network import load_released

        if weights is not None:
            network = mae.SmallMae(self.mae_epochs).load(weights, train, ctx.device)
            return network, {"mae_bytes": network.bytes}
        sha256 = sha256_of(mae.RELEASED.obtain())
        grid = self.grid(train.shape)
        network = load_released(mae.RELEASED, grid, mae.VIT_LARGE, ctx.device)
        told = {"mae_file": mae.RELEASED.name, "mae_sha256": sha256}
        return network, {"mae_bytes": network.bytes, **told}

    def _notes(self, train: ImageDataset) -> dict[str, Any]:
        kept, total = self.kept_patches(train.shape)
        kind, target = self._attention
        return {
            "drop": self.drop,
            "kept_patches": kept,
            "patches": total,
            "attention": kind,
            "attention_target": target,
            "mae": self.mae,
        }


def with_pixels(
    compressed: CompressedSet, stage: PixelStage, train: ImageDataset, ctx: Context
) -> CompressedSet:
    """Return a set of selected images with the stage's reconstructions and stored bytes.

    Parameters
    ----------
    compressed : CompressedSet
        Selected images. For a budget in bytes its number of images comes from
        ``budget.for_images_of(stage.bytes_each(train), train.bytes_per_image, len(train))``.
    """
    stored = stage.reconstructions(train, ctx)
    indices = compressed.indices
    told: dict[str, Any] = json.loads(stored["notes"].tobytes())
    told["alignment"] = stage.alignment
    if stage.alignment == "misaligned":
        indices = misaligned_positions(train.labels, train.keys, indices)
        told["intended_images"] = len(np.intersect1d(indices, compressed.indices))
    return replace(
        compressed,
        indices=indices,
        images=stored["images"][indices],
        stored_bytes=len(indices) * stage.bytes_each(train),
        shared_bytes=told.get("mae_bytes", 0),
        notes={**compressed.notes, "pixels": told},
    )


def misaligned_positions(labels: IntArray, keys: Sequence[str], indices: IntArray) -> IntArray:
    """Return the positions of the images that the released evaluation takes for ``indices``.

    ``quantize_pixel.py`` writes each image as ``LABEL/NUMBER.png`` with its number in the data
    set, not padded. ``validate_cifar.py`` reads the folders one after the other, the files of
    each in the order of their names as texts (``ImageFolder``), and applies the numbers to the
    positions in that order.

    Parameters
    ----------
    labels : int64 [N]
        Of the training images.
    keys : sequence of str
        Their keys, which tell the images' order in the data set
        (:func:`methods.parts.released.dataset_numbers`).
    indices : int64 [K]
        Positions of the images that are meant.

    Notes
    -----
    Every image keeps its own label. With more than ten classes the released code would also
    exchange labels, since folder ``10`` comes before folder ``2``.
    """
    numbers = dataset_numbers(keys)
    as_read = sorted(range(len(keys)), key=lambda i: (str(labels[i]), f"{numbers[i]}.png"))
    return np.array(as_read, dtype=np.int64)[numbers[indices]]
