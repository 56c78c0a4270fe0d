"""What images are normalised with: constants that others published, or their own statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bench.augment import Normalisation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.contract import ImageDataset
    from bench.protocols.types import NormalisedBy

OWN = "measured on the training split"
VALIDATE_CIFAR = Normalisation(
    (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010), "validate_cifar.py, CIFAR-10"
)
IMAGENET = Normalisation(
    (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "ImageNet, as timm and torchvision"
)
Look = tuple[int, int]
"""The number of classes and the side in pixels that a data set of colour images is known by."""
CIFAR10, CIFAR100, TINY_IMAGENET, IMAGENET_1K = (10, 32), (100, 32), (200, 64), (1000, 224)

PUBLISHED: Mapping[str, Mapping[Look, Normalisation]] = {
    "released": {CIFAR10: VALIDATE_CIFAR},
    "condensation": {
        CIFAR10: replace(VALIDATE_CIFAR, source="DatasetCondensation's utils.py, CIFAR-10"),
        CIFAR100: Normalisation(
            (0.5071, 0.4866, 0.4409),
            (0.2673, 0.2564, 0.2762),
            "DatasetCondensation's utils.py, CIFAR-100",
        ),
        TINY_IMAGENET: replace(
            IMAGENET, source="DatasetCondensation's utils.py, Tiny ImageNet (ImageNet's)"
        ),
    },
    "deepcore": {
        CIFAR10: Normalisation(
            (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "DeepCore's CIFAR10.py"
        ),
        CIFAR100: Normalisation(
            (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), "DeepCore's CIFAR100.py"
        ),
        IMAGENET_1K: replace(IMAGENET, source="DeepCore's ImageNet.py"),
    },
}
"""By script and by the data set that it has them for.

``validate_cifar.py:104,109`` (DQ at 3c9b061) trains on CIFAR-10 or on a folder of images in ten
classes, with the same constants; ``utils.py:50-51,61-62`` and its Tiny ImageNet
(DatasetCondensation at 306245d, ``get_dataset``); ``CIFAR10.py:9-11``, ``CIFAR100.py:11-12``
(DeepCore at 31b6740) and ``ImageNet.py:8-9`` (at 800ef76).
"""


def normalisation_for(kind: NormalisedBy, train: ImageDataset) -> Normalisation:
    """Return the channel means and deviations that images are normalised with.

    Parameters
    ----------
    kind : {"dataset", "released", "condensation", "deepcore", "imagenet"}
        ``dataset`` for the training split's own; ``imagenet`` for ImageNet's with all colour
        images, as timm's scripts do; any other for what that script has for the data set, and
        the training split's own where it has nothing.
    train : ImageDataset
        The training split.

    Notes
    -----
    A data set is known by its number of classes and the size of its colour images, not by name:
    CIFAR-10 as a folder of images is CIFAR-10. So is every other set that looks like it, SVHN for
    one: ten classes of 32 x 32 pixels.
    """
    height, width, channels = train.shape
    if channels == 3:
        look = (len(train.classes), height if height == width else 0)
        constants = IMAGENET if kind == "imagenet" else PUBLISHED.get(kind, {}).get(look)
        if constants is not None:
            return constants
    return replace(Normalisation.of(train.images), source=OWN)
