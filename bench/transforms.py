"""What is done to one image before it is trained on or tested, through torchvision and timm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from bench.datasets.lazy_images import LazyImages
from bench.errors import TrainingError
from bench.generators import seeded_globally

if TYPE_CHECKING:
    from bench.arrays import Pixels
    from bench.augment import Normalisation
    from bench.protocols import Protocol


@dataclass(frozen=True)
class Wanted:
    """One image of a batch, with what was drawn for it.

    Parameters
    ----------
    index : int
        Its position.
    top, left : int
        The corner of its crop in the padded image.
    flip : bool
        Whether it is mirrored.
    seed : int
        What all other chance derives from.
    """

    index: int
    top: int = 0
    left: int = 0
    flip: bool = False
    seed: int = 0


Transform = Callable[["Pixels", Wanted], Tensor]
"""From all images and one that is wanted to uint8 or float32 [K, C, H, W]: K looks at it."""


Change = Callable[[Tensor], Tensor]


def training_transform(
    protocol: Protocol, shape: tuple[int, int, int], normalisation: Normalisation
) -> Transform:
    """Return what a protocol does to a training image.

    Parameters
    ----------
    shape : tuple of int
        Height, width and channels of the images.
    normalisation : Normalisation
        Used where the protocol erases, since that draws in normalised units.

    Raises
    ------
    TrainingError
        When the protocol's policy needs colours and the images have none.
    """
    height, width, channels = shape
    cut = _shifted(protocol, height, width)
    if not protocol.draws_image_by_image:
        return lambda images, wanted: cut(images, wanted)[None]
    if protocol.policy is not None and channels != 3:
        raise TrainingError(
            f"RandAugment needs colour images, these have {channels} channel. "
            f"Take another protocol, or '{protocol.name}[rand_augment=none]'"
        )
    cropped, changed = _timm(protocol, height, width)
    if protocol.cuts_from_whole:
        cut = lambda images, wanted: cropped(original(images, wanted.index))  # noqa: E731
    erase = _eraser(protocol, normalisation)

    def transform(images: Pixels, wanted: Wanted) -> Tensor:
        with seeded_globally(wanted.seed):
            image, looks = cut(images, wanted), protocol.augmentation_splits
            if looks == 1:
                return erase([changed(image)])
            return erase([image, *(changed(image) for _ in range(looks - 1))])

    return transform


def test_transform(protocol: Protocol, shape: tuple[int, int, int]) -> Transform:
    """Return what a protocol does to a test image: nothing, or the centre of a larger one."""
    height, width, _ = shape
    if protocol.test_crop == 1:
        return lambda images, wanted: as_tensor(images[wanted.index])[None]
    side = round(min(height, width) / protocol.test_crop)
    centre = v2.Compose([v2.Resize(side, antialias=True), v2.CenterCrop((height, width))])
    return lambda images, wanted: centre(as_tensor(original(images, wanted.index)))[None]


def original(images: Pixels, index: int) -> Pixels:
    """Return an image as it was stored, [H, W, C], where it is a file that was not read yet."""
    some: Any = images
    pixels: Pixels = some.original(index) if isinstance(some, LazyImages) else some[index]
    return pixels


def as_tensor(pixels: Pixels) -> Tensor:
    """Return an image [H, W, C] as a tensor [C, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _shifted(protocol: Protocol, height: int, width: int) -> Transform:
    """Return the crop and the mirroring that was drawn for an image, as the device does it."""
    padding = protocol.padding
    mode = "constant" if protocol.crop_fill == "zeros" else "reflect"

    def transform(images: Pixels, wanted: Wanted) -> Tensor:
        pixels = as_tensor(images[wanted.index])
        if padding:
            padded = functional.pad(pixels, [padding], padding_mode=mode)
            pixels = functional.crop(padded, wanted.top, wanted.left, height, width)
        return functional.horizontal_flip(pixels) if wanted.flip else pixels

    return transform


def _timm(protocol: Protocol, height: int, width: int) -> tuple[Callable[[Pixels], Tensor], Change]:
    """Return timm's random crop with mirroring, and the protocol's policy of RandAugment.

    The first is for an image as it is stored, [H, W, C], the second for a cut one, [C, H, W]; both
    give bytes, and what a method made as floats is rounded.
    """
    from PIL import Image
    from timm import data

    make: Any = data.create_transform  # type: ignore[attr-defined]
    crop, policy, _ = make(
        input_size=(3, height, width),
        is_training=True,
        interpolation="random",
        color_jitter=None,
        auto_augment=protocol.policy,
        use_prefetcher=True,
        separate=True,
    )

    def cropped(pixels: Pixels) -> Tensor:
        if pixels.dtype != np.uint8:
            pixels = pixels.round().clip(0, 255).astype(np.uint8)
        grey_has_no_axis = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        done: Tensor = functional.pil_to_tensor(crop(Image.fromarray(grey_has_no_axis)))
        return done

    def changed(image: Tensor) -> Tensor:
        if image.is_floating_point():
            image = image.round().clamp(0, 255).to(torch.uint8)
        done: Tensor = functional.pil_to_tensor(policy(functional.to_pil_image(image)))
        return done

    return cropped, changed if protocol.policy else lambda image: image


def _eraser(protocol: Protocol, normalisation: Normalisation) -> Callable[[list[Tensor]], Tensor]:
    """Return what stacks the looks at an image and erases a rectangle in all but a clean one."""
    if not protocol.erasing:
        return torch.stack
    from timm.data import random_erasing

    make: Any = random_erasing.RandomErasing
    erase = make(protocol.erasing, mode="pixel", device="cpu")
    normalise = Normaliser(normalisation, torch.device("cpu"))
    clean = 1 if protocol.augmentation_splits > 1 else 0

    def erased(looks: list[Tensor]) -> Tensor:
        normalised = normalise(torch.stack(looks))
        for look in normalised[clean:]:
            erase(look)
        return normalised

    return erased


class Normaliser:
    """Brings images, 255 for white, to normalised units on their device.

    Its constants are there before the first image: a step that had to bring some would wait for
    the device.
    """

    def __init__(self, normalisation: Normalisation, device: torch.device) -> None:
        scale = 255 * torch.tensor(normalisation.deviation, dtype=torch.float64)
        mean = 255 * torch.tensor(normalisation.mean, dtype=torch.float64)
        self._mean = mean.float()[:, None, None].to(device)
        self._factor = (1 / scale).float()[:, None, None].to(device)

    def __call__(self, images: Tensor) -> Tensor:
        """Return images [B, C, H, W] as float32, normalised."""
        return images.float().sub(self._mean).mul_(self._factor)
