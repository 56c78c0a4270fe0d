from __future__ import annotations

import pytest
import torch

from bench.errors import UsageError
from bench.models import MODELS


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [("resnet8", 78_042), ("resnet18", 11_173_962)],
)
def test_parameter_counts_are_the_literatures(spec, parameters):
    network = MODELS.make_one(spec).build((32, 32, 3), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (20, 28, 3)])
def test_networks_take_any_small_image_and_give_features_and_logits(shape):
    network = MODELS.make_one("resnet8").build(shape, 7).eval()
    images = torch.zeros(3, shape[2], shape[0], shape[1])
    features = network.features(images)
    assert features.penultimate.shape == (3, 64)
    assert features.intermediate.shape == (3, 16 + 32)
    assert network(images).shape == (3, 7)


@pytest.mark.parametrize("architecture", ["resnet10t", "vit_tiny_patch16_224"])
def test_a_timm_network_gives_features_and_logits(architecture):
    network = MODELS.make_one(f"timm[architecture={architecture}]").build((32, 32, 3), 5).eval()
    images = torch.zeros(2, 3, 32, 32)
    with torch.inference_mode():
        features = network.features(images)
        logits = network.classify(features.penultimate)
        direct = network.body(torch.zeros(2, 3, *network.input_size))
    assert features.intermediate.ndim == features.penultimate.ndim == 2
    assert logits.shape == (2, 5)
    assert torch.equal(network(images), logits)
    assert torch.allclose(logits, direct, atol=1e-5)


def test_an_unknown_timm_architecture_is_told_with_a_hint():
    with pytest.raises(UsageError, match="Did you mean 'resnet18'"):
        MODELS.make_one("timm[architecture=resnet81]").build((32, 32, 3), 10)


def test_a_timm_network_with_a_second_classifier_is_refused():
    with pytest.raises(UsageError, match="'levit_128s' ends in two classifiers"):
        MODELS.make_one("timm[architecture=levit_128s]").build((32, 32, 3), 10)


def test_the_convnet_has_the_literatures_parameters_and_features():
    network = MODELS.make_one("convnet3").build((32, 32, 3), 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 320_010
    features = network.features(torch.zeros(2, 3, 32, 32))
    assert features.penultimate.shape == (2, 2048)
    assert features.intermediate.shape == (2, 2 * 128)


@pytest.mark.parametrize(
    "shape", [(8, 8, 1), (8, 8, 3), (28, 28, 1), (32, 32, 3), (9, 15, 3), (31, 20, 1)]
)
def test_the_convnet_takes_images_of_8_pixels_and_more(shape):
    network = MODELS.make_one("convnet3[width=4]").build(shape, 7)
    images = torch.randn(3, shape[2], shape[0], shape[1])
    features = network.features(images)
    assert network(images).shape == (3, 7)
    assert network.classify(features.penultimate).equal(network(images))


def test_the_convnet_normalises_every_map_of_every_image_on_its_own():
    """So images in one batch do not see each other, and brightness of a whole map is lost."""
    network = MODELS.make_one("convnet3[width=4]").build((16, 16, 3), 5)
    images = torch.randn(6, 3, 16, 16)
    together = network.features(images).penultimate
    alone = torch.cat([network.features(image[None]).penultimate for image in images])
    assert torch.allclose(together, alone, atol=1e-5)
    stage = network.stages[0]
    x = stage[0](images)
    normal = torch.nn.functional.instance_norm(x)
    expected = torch.nn.functional.avg_pool2d(normal.relu(), 2)
    assert torch.allclose(stage(images), expected, atol=1e-5)


def test_images_too_small_for_the_convnet_are_refused():
    with pytest.raises(UsageError, match=r"7 x 12.*at least 8 x 8"):
        MODELS.make_one("convnet3").build((7, 12, 3), 10)
