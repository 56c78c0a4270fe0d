from __future__ import annotations

import numpy as np
import pytest

from methods.parts.diversity import Discriminator, augmented_views, diversity
from methods.parts.embeddings import Extractor


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def plain_diversity(anchors, positives, temperature):
    """Eq. 5 written out, one image at a time, in float64."""
    anchors, positives = anchors.astype(np.float64), positives.astype(np.float64)
    total = 0.0
    for i in range(len(anchors)):
        positive = np.exp(anchors[i] @ positives[i] / temperature)
        others = [
            np.exp(anchors[i] @ anchors[j] / temperature) for j in range(len(anchors)) if j != i
        ]
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
    views = augmented_views(digits.images, seed=3)
    assert views.dtype == np.uint8
    assert views.shape == digits.images.shape
    assert (views == augmented_views(digits.images, seed=3)).all()
    assert (views != augmented_views(digits.images, seed=4)).any()
    assert (views != digits.images).reshape(len(views), -1).any(axis=1).mean() > 0.99


def test_the_trained_discriminator_finds_an_image_among_others(digits, context):
    vectors = Discriminator(Extractor("resnet8", 10), 0.07).vectors(digits, context())
    anchors, positives = vectors["anchors"][:300], vectors["positives"][:300]
    found = (anchors @ positives.T).argmax(axis=0) == np.arange(300)
    assert np.linalg.norm(anchors, axis=1) == pytest.approx(1, abs=1e-5)
    assert found.mean() > 0.2  # by chance 1/300
