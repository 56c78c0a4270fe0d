from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.functional import hflip, resized_crop, rotate

from bench.augment import Normalisation
from methods.parts.diversity import Discriminator, UntrainedHead, diversity, gram_diversity
from methods.parts.embeddings import Extractor
from methods.parts.views import Crops, Views

BILINEAR = InterpolationMode.BILINEAR


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def plain_diversity(anchors, positives, temperature):
    """Eq. 5 written out, one image at a time, in float64."""
    anchors, positives = anchors.astype(np.float64), positives.astype(np.float64)
    total = 0.0
    for i in range(len(anchors)):
        positive = np.exp(anchors[i] @ positives[i] / temperature)
        others = np.exp(np.delete(anchors, i, axis=0) @ anchors[i] / temperature)
        total += np.log(positive / np.mean(others))
    return total / len(anchors)


@pytest.mark.parametrize(("count", "temperature"), [(2, 0.5), (37, 0.07), (1200, 0.2)])
def test_diversity_equals_the_equation_written_out(count, temperature):
    rng = np.random.default_rng(count)
    anchors = unit(rng.normal(size=(count, 4)))
    positives = unit(anchors + 0.1 * rng.normal(size=(count, 4)))
    expected = plain_diversity(anchors, positives, temperature)
    assert diversity(anchors, positives, temperature) == pytest.approx(expected, rel=1e-5)


def test_spread_out_images_are_more_diverse_than_images_that_are_alike():
    rng = np.random.default_rng(0)
    spread = unit(rng.normal(size=(50, 16)))
    alike = unit(spread[:1] + 0.05 * rng.normal(size=(50, 16)))
    assert diversity(spread, spread, 0.1) > diversity(alike, alike, 0.1)


def test_a_bin_without_negatives_has_no_diversity():
    one = unit(np.ones((1, 4)))
    assert diversity(one, one, 0.1) == 0.0
    assert diversity(one[:0], one[:0], 0.1) == 0.0


def test_views_are_seeded_changed_and_of_the_same_kind(digits):
    views = Views.draw(digits.images, seed=3)[:]
    assert views.dtype == np.uint8
    assert views.shape == digits.images.shape
    assert (views == Views.draw(digits.images, seed=3)[:]).all()
    assert (views != Views.draw(digits.images, seed=4)[:]).any()
    assert (views != digits.images).reshape(len(views), -1).any(axis=1).mean() > 0.99


def view_of(image, angle=0.5, flip=1.0, brightness=0.5, contrast=0.5):
    """Return one image's view for these draws, of which the defaults change nothing."""
    draws = torch.tensor([[angle], [flip], [brightness], [contrast]])
    return Views(image[None], draws)[:][0].astype(float)


def test_a_view_is_turned_mirrored_and_recoloured_as_drawn():
    across, down = np.meshgrid(np.arange(32), np.arange(32))
    light = 110 + 60 * np.sin(across / 5) * np.cos(down / 7) + across
    image = np.stack([light, 0.8 * light, light[::-1]], axis=2).round().astype(np.uint8)
    assert (view_of(image) == image).all()
    assert (view_of(image, flip=0.2) == image[:, ::-1]).all()
    for draw, factor in ((0.0, 0.6), (1.0, 1.4)):
        assert view_of(image, brightness=draw) == pytest.approx(
            (factor * image).clip(0, 255), abs=1
        )
        spread = (factor * (image - image.mean()) + image.mean()).clip(0, 255)
        assert view_of(image, contrast=draw) == pytest.approx(spread, abs=1)
    inner = slice(8, 24), slice(8, 24)
    for draw, degrees in ((1.0, 15), (0.75, 7.5), (0.0, -15)):
        turned = rotate(torch.from_numpy(image).permute(2, 0, 1).float(), degrees, BILINEAR)
        expected = turned.permute(1, 2, 0).numpy()
        assert view_of(image, angle=draw)[inner] == pytest.approx(expected[inner], abs=2)


def test_the_discriminator_sees_penultimate_and_intermediate_features(digits, context, monkeypatch):
    seen = []

    def kept(self, pairs, ctx):
        seen.append(pairs)
        return {"anchors": pairs[0], "positives": pairs[1]}

    monkeypatch.setattr(Discriminator, "_train_head", kept)
    few, ctx, extractor = digits.subset(np.arange(20)), context(), Extractor("resnet8", 0)
    Discriminator(extractor, 0.07).vectors(few, ctx)["anchors"]
    known = extractor.embeddings(few, ctx)
    both = np.concatenate([known["features"], known["intermediate"]], axis=1)
    assert known["intermediate"].shape[1] > 0
    ((images, views),) = seen
    assert np.array_equal(images, both)
    assert views.shape == both.shape
    assert (np.abs(views - both).max(axis=1) > 0).all()


def test_the_trained_discriminator_finds_an_image_among_others(digits, context):
    vectors = Discriminator(Extractor("resnet8", 10), 0.07).vectors(digits, context())
    anchors, positives = vectors["anchors"][:300], vectors["positives"][:300]
    found = (anchors @ positives.T).argmax(axis=0) == np.arange(300)
    assert np.linalg.norm(anchors, axis=1) == pytest.approx(1, abs=1e-5)
    assert found.mean() > 0.2  # by chance 1/300


# As released


@pytest.mark.parametrize("count", [1, 2, 50])
def test_released_diversity_is_the_inverse_mean_of_the_gram_matrix(count):
    rng = np.random.default_rng(count)
    first, second = (unit(1 + rng.normal(size=(count, 8))) for _ in range(2))
    embeddings = np.empty((2 * count, 8))
    embeddings[0::2], embeddings[1::2] = first, second
    expected = 1 / (embeddings @ embeddings.T).mean()
    assert gram_diversity(first, second) == pytest.approx(expected, rel=1e-6)


def test_released_diversity_of_nothing_is_zero():
    assert gram_diversity(np.empty((0, 4), np.float32), np.empty((0, 4), np.float32)) == 0.0


@pytest.mark.parametrize("size", [(32, 32), (8, 8), (20, 33)])
def test_crops_are_those_of_torchvision_one_by_one(size):
    count = 60
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(count, 3, *size))).float()
    crops = Crops.draw(count, size, seed=1)
    index = slice(10, 50)
    found = crops.apply(images[index], index)
    for place, i in enumerate(range(10, 50)):
        part = [int(v[i]) for v in (crops.top, crops.left, crops.height, crops.width)]
        expected = resized_crop(images[i], *part, list(size), antialias=False)
        expected = hflip(expected) if crops.flip[i] else expected
        assert found[place].numpy() == pytest.approx(expected.numpy(), abs=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (20, 60)])
def test_crops_are_drawn_as_torchvision_draws_them(size):
    count = 4000
    crops = Crops.draw(count, size, seed=0)
    assert (crops.top + crops.height <= size[0]).all()
    assert (crops.left + crops.width <= size[1]).all()
    assert (torch.stack([crops.top, crops.left]) >= 0).all()
    image, settings = torch.zeros(3, *size), ([0.08, 1.0], [3 / 4, 4 / 3])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.tensor(
            [RandomResizedCrop.get_params(image, *settings) for _ in range(count)]
        )
    ours = torch.stack([crops.top, crops.left, crops.height, crops.width], dim=1)
    spread = theirs.double().std(0) * (2 / count) ** 0.5
    assert ((ours.double().mean(0) - theirs.double().mean(0)).abs() < 4 * spread).all()
    for share in (0.1, 0.5, 0.9):
        both = [torch.quantile(part.double(), share, dim=0) for part in (ours, theirs)]
        assert (both[0] - both[1]).abs().max() <= 2
    assert abs(float(crops.flip.float().mean()) - 0.5) < 0.04


@pytest.mark.parametrize("spec", ["resnet8[width=4]", "timm[architecture=resnet10t]"])
def test_batched_vectors_are_those_of_one_image_at_a_time(spec, noise, context):
    ctx = context()
    extractor = Extractor(spec, 0)
    vectors = UntrainedHead(extractor).vectors(noise, ctx)
    network = extractor.load(extractor.network(noise, ctx), noise, ctx)
    network.input_size = (8, 8)  # of the images: the released code does not resize them
    statistics = Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))  # diversity.py
    mean, deviation = (
        torch.tensor(v)[:, None, None] for v in (statistics.mean, statistics.deviation)
    )
    head = UntrainedHead._head(ctx)
    crops = Crops.draw(80, (8, 8), ctx.seed("gram", "positives"))
    for i in (0, 41, 79):
        image = (torch.from_numpy(noise.images[i]).permute(2, 0, 1) / 255 - mean) / deviation
        part = [int(v[i]) for v in (crops.top, crops.left, crops.height, crops.width)]
        view = resized_crop(image.float(), *part, [8, 8], antialias=False)
        view = hflip(view) if crops.flip[i] else view
        with torch.inference_mode():
            features = network.features(view[None]).penultimate.numpy()
        assert head(features)[0] == pytest.approx(vectors["positives"][i], abs=1e-4)
    assert np.linalg.norm(vectors["anchors"], axis=1) == pytest.approx(1, abs=1e-5)


def test_the_untrained_head_is_seeded(noise, context):
    extractor = Extractor("resnet8[width=4]", 0)
    first = UntrainedHead(extractor).vectors(noise, context(0))
    again = UntrainedHead(extractor).vectors(noise, context(0, dataset="the same elsewhere"))
    other = UntrainedHead(extractor).vectors(noise, context(1))
    assert (first["anchors"] == again["anchors"]).all()
    assert (first["anchors"] != other["anchors"]).any()
    assert (first["anchors"] != first["positives"]).any()


def test_an_untrained_head_gives_an_image_the_vector_that_it_gives_it_alone():
    features = np.random.default_rng(0).normal(size=(1030, 24)).astype(np.float32)
    head = UntrainedHead._head(SimpleNamespace(seed=lambda *names: 0))
    vectors = head(features)
    assert vectors.shape == (1030, 128)
    few = [0, 1023, 1024, 1029]  # on both sides of a block's edge
    alone = np.concatenate([head(features[i : i + 1]) for i in few])
    np.testing.assert_allclose(vectors[few], alone, atol=1e-6)
