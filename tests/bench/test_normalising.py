"""What every script has for every data set, and what images are normalised with elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from bench.augment import Normalisation
from bench.contract import ImageDataset
from bench.datasets import DATASETS, Source
from bench.normalising import OWN, normalisation_for
from bench.protocols import PROTOCOLS

OF_CIFAR10 = (0.4914, 0.4822, 0.4465)
CONSTANTS = {  # mean, deviation
    "validate_cifar.py": (OF_CIFAR10, (0.2023, 0.1994, 0.2010)),
    "CIFAR10.py": (OF_CIFAR10, (0.2470, 0.2435, 0.2616)),
    "CIFAR100.py": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "utils.py, CIFAR-10": (OF_CIFAR10, (0.2023, 0.1994, 0.2010)),
    "utils.py, CIFAR-100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "Tiny ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "ImageNet.py": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "ImageNet, as timm": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def images_of(classes, side, channels=3, width=None):
    """Return a split that holds an image of some of many classes."""
    shape = (4, side, width or side, channels)
    return ImageDataset(
        images=np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8),
        labels=np.arange(4),
        classes=tuple(f"class {label}" for label in range(classes)),
        keys=tuple("abcd"),
    )


SETS = {
    "CIFAR-10": images_of(10, 32),
    "CIFAR-100": images_of(100, 32),
    "Tiny ImageNet": images_of(200, 64),
    "ImageNet": images_of(1000, 224),
    "ten classes of another size": images_of(10, 64),
    "ten classes that are not square": images_of(10, 32, width=48),
    "seven classes": images_of(7, 32),
    "grey": images_of(10, 32, channels=1),
}
HAS = {
    "released": {"CIFAR-10": "validate_cifar.py"},
    "condensation": {
        "CIFAR-10": "utils.py, CIFAR-10",
        "CIFAR-100": "utils.py, CIFAR-100",
        "Tiny ImageNet": "Tiny ImageNet",
    },
    "deepcore": {
        "CIFAR-10": "CIFAR10.py", "CIFAR-100": "CIFAR100.py", "ImageNet": "ImageNet.py",
    },
    "imagenet": {name: "ImageNet, as timm" for name in SETS if name != "grey"},
    "dataset": {},
}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", HAS)
def test_constants_are_those_of_the_script_for_the_data_set_or_its_own(kind, name):
    found = normalisation_for(kind, SETS[name])
    script = HAS[kind].get(name)
    if script is None:
        assert found == Normalisation.of(SETS[name].images)
        assert found.source == OWN
    else:
        assert (found.mean, found.deviation) == CONSTANTS[script]
        assert script in found.source


@pytest.mark.parametrize(
    ("protocol", "source"),
    [("paper", OWN), ("matched-steps", OWN), ("released", OWN), ("transformer", OWN),
     ("dm", "utils.py, CIFAR-100"), ("deepcore", "CIFAR100.py"), ("cpu", OWN), ("smoke", OWN)],
)  # fmt: skip
def test_protocols_know_cifar100_as_their_scripts_do(protocol, source):
    kind = PROTOCOLS.make_one(protocol).normalisation
    assert source in normalisation_for(kind, SETS["CIFAR-100"]).source


def test_cifar10_as_a_folder_of_images_has_its_constants(image_folder):
    folder = image_folder(train=1, test=1, size=32, classes=tuple(map(str, range(10))))
    train = DATASETS.make_one("imagefolder").load(Source(folder)).train
    assert "validate_cifar.py" in normalisation_for("released", train).source
