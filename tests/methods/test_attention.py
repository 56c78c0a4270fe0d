from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.augment import Normalisation
from bench.contract import ImageDataset
from bench.errors import UsageError
from bench.models import MODELS
from bench.models.networks import Features, Network
from bench.training import fresh_network
from methods.parts.attention import attention_maps, channel_weights, on_grid, pretrained_classifier


class Curved(Network):
    """A map whose influence on the score differs from place to place."""

    def __init__(self, is_inplace: bool = False) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.first = nn.Linear(5 * 4 * 4, 7)
        self.last = nn.Linear(7, 3)
        self.is_inplace = is_inplace

    def features(self, images):
        feature_map = self.convolution(images)
        if self.is_inplace:
            feature_map = functional.relu(feature_map, inplace=True)
        return Features(self.head(feature_map), images.mean((2, 3)))

    def head(self, feature_map):
        return torch.tanh(self.first(feature_map.flatten(1)))

    def classify(self, penultimate):
        return self.last(penultimate)


@pytest.fixture
def few(noise) -> ImageDataset:
    return noise.subset(np.arange(9))


@pytest.fixture
def curved() -> Curved:
    torch.manual_seed(0)
    return Curved().eval()


def seen(network, train):
    """The normalised images, the last map and the score's derivative by it, in float64.

    The derivative is the quotient of central differences, one place after the other.
    """
    statistics = Normalisation.of(train.images)
    pixels = train.images.astype(np.float64) / 255
    images = torch.from_numpy((pixels - statistics.mean) / statistics.deviation)
    network = network.double()
    with torch.no_grad():
        feature_map = network.convolution(images.permute(0, 3, 1, 2))
        labels = torch.from_numpy(train.labels)

        def score(feature_map):
            logits = network.classify(network.head(feature_map))
            return logits.gather(1, labels[:, None])[:, 0].numpy()

        gradient = np.empty(feature_map.shape)
        for place in np.ndindex(*feature_map.shape[1:]):
            step = torch.zeros_like(feature_map)
            step[(slice(None), *place)] = 1e-5
            difference = score(feature_map + step) - score(feature_map - step)
            gradient[(slice(None), *place)] = difference / 2e-5
        network.float()
    return feature_map.numpy(), gradient


def plain_map(activation, gradient, kind):
    """The maps' definitions written out, one channel and one place at a time."""
    images, channels, height, width = activation.shape
    maps = np.zeros((images, height, width))
    for n in range(images):
        for k in range(channels):
            g, a = gradient[n, k], activation[n, k]
            if kind == "grad-cam":
                weight = g.sum() / (height * width)
            else:
                weight = 0.0
                for i in range(height):
                    for j in range(width):
                        alpha = g[i, j] ** 2
                        if kind == "grad-cam++":
                            alpha /= 2 * g[i, j] ** 2 + a.sum() * g[i, j] ** 3
                        weight += alpha * max(g[i, j], 0)
            maps[n] += weight * a
    return np.maximum(maps, 0)


@pytest.mark.parametrize("kind", ["grad-cam", "grad-cam++", "torchcam"])
def test_maps_equal_the_definitions_with_numerical_derivatives(kind, few, curved):
    expected = plain_map(*seen(curved, few), kind)
    maps = attention_maps(curved, few, kind, "label", "cpu")
    assert maps.dtype == np.float32
    assert maps.shape == (9, 4, 4)
    assert maps.min() >= 0
    assert expected.max() > 0
    assert maps == pytest.approx(expected, rel=2e-3, abs=2e-4 * expected.max())


def test_grad_cam_plus_plus_weights_by_hand():
    activation = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    gradient = torch.tensor([[[[0.5, -1.0]], [[0.0, 2.0]]]])
    weights = channel_weights(activation, gradient, "grad-cam++")
    # g = 0.5: 0.25 / (0.5 + 3 * 0.125) * 0.5; -1 counts nothing; g = 2: 4 / (8 + 3 * 8) * 2
    assert weights.tolist() == [pytest.approx([0.25 / 0.875 * 0.5, 4 / 32 * 2])]


def test_torchcam_leaves_the_division_out():
    activation = torch.rand(2, 3, 4, 4)
    gradient = torch.randn(2, 3, 4, 4)
    # As in torchcam's gradient.py: dividing a masked copy changes nothing.
    alpha = gradient**2
    alpha[alpha > 0].div_(7)
    expected = (alpha * gradient.relu()).sum((2, 3))
    assert torch.equal(channel_weights(activation, gradient, "torchcam"), expected)


def test_dead_places_give_no_nan():
    zero = torch.zeros(1, 2, 3, 3)
    for kind in ("grad-cam", "grad-cam++", "torchcam"):
        assert channel_weights(zero, zero, kind).tolist() == [[0.0, 0.0]]


def test_a_change_in_place_behind_the_map_is_followed(few):
    torch.manual_seed(0)
    network = Curved(is_inplace=True).eval()
    maps = attention_maps(network, few, "grad-cam", "label", "cpu")
    network.is_inplace = False
    head = network.head
    network.head = lambda feature_map: head(functional.relu(feature_map))
    assert maps == pytest.approx(attention_maps(network, few, "grad-cam", "label", "cpu"))


def test_the_own_guess_and_the_label_are_different_targets(few, curved):
    own = attention_maps(curved, few, "grad-cam", "own", "cpu")
    statistics = Normalisation.of(few.images)
    images = torch.from_numpy(few.images).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in
                       (statistics.mean, statistics.deviation))  # fmt: skip
    with torch.no_grad():
        guesses = curved((images - mean) / deviation).argmax(1).numpy()
    relabelled = ImageDataset(few.images, guesses, few.classes, few.keys)
    assert (guesses != few.labels).any()
    assert own == pytest.approx(attention_maps(curved, relabelled, "grad-cam", "label", "cpu"))
    assert (own != attention_maps(curved, few, "grad-cam", "label", "cpu")).any()


@pytest.mark.parametrize("batch", [1, 4])
def test_batches_change_nothing(batch, few, curved, monkeypatch):
    whole = attention_maps(curved, few, "grad-cam++", "label", "cpu")
    monkeypatch.setattr("methods.parts.attention._BATCH", batch)
    told = []
    parts = attention_maps(
        curved, few, "grad-cam++", "label", "cpu", lambda done, total: told.append((done, total))
    )
    assert parts == pytest.approx(whole, rel=1e-4, abs=1e-6)
    assert told[-1] == (9, 9)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("resnet8[width=4]", (2, 2)),
        ("timm[architecture=test_resnet]", (5, 5)),
        ("timm[architecture=test_convnext]", (5, 5)),
        ("timm[architecture=test_vit]", (10, 10)),
    ],
)
def test_projects_and_timm_networks_have_maps(spec, shape, few):
    network = fresh_network(MODELS.make_one(spec), few, 0).eval()
    maps = attention_maps(network, few, "grad-cam", "own", "cpu")
    assert maps.shape == (9, *shape)
    assert np.isfinite(maps).all()
    assert maps.min() >= 0


@pytest.mark.slow
def test_swin_maps_have_their_channels_last(few):
    spec = "timm[architecture=swin_tiny_patch4_window7_224]"
    network = fresh_network(MODELS.make_one(spec), few, 0).eval()
    maps = attention_maps(network, few.subset(np.arange(2)), "grad-cam", "own", "cpu")
    assert maps.shape == (2, 7, 7)


def test_a_network_without_a_map_is_refused(few):
    class Flat(Network):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(3, 3)

        def features(self, images):
            return Features(images.mean((2, 3)), images.mean((2, 3)))

        def classify(self, penultimate):
            return self.last(penultimate)

    with pytest.raises(UsageError, match=r"Flat has no feature map .*Choose another extractor"):
        attention_maps(Flat(), few, "grad-cam", "own", "cpu")


def test_maps_are_resized_to_the_grid_as_torchvision_resizes_them():
    maps = np.random.default_rng(0).random((3, 7, 7), dtype=np.float32)
    expected = functional.interpolate(
        torch.from_numpy(maps)[:, None], (14, 14), mode="bilinear", align_corners=False
    )
    assert on_grid(maps, 14, 14) == pytest.approx(expected.reshape(3, 196).numpy(), abs=1e-6)
    assert on_grid(maps, 7, 7) == pytest.approx(maps.reshape(3, 49), abs=1e-6)


def test_a_pretrained_classifier_keeps_its_own_classes(few, monkeypatch):
    asked = []

    def build(self, shape, classes):
        asked.append((shape, classes))
        return Curved()

    model = MODELS.make_one("timm[architecture=resnet18.tv_in1k,pretrained=true]")
    monkeypatch.setattr(type(model), "build", build)
    pretrained_classifier(model, few, "cpu")
    assert asked == [((8, 8, 3), 1000)]
    headless = MODELS.make_one(
        "timm[architecture=vit_small_patch14_dinov2.lvd142m,pretrained=true]"
    )
    with pytest.raises(UsageError, match="has no pretrained classifier"):
        pretrained_classifier(headless, few, "cpu")
