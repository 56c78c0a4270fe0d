"""The papers' other networks at small sizes."""

from __future__ import annotations

import pytest
import torch

from bench.models import MODELS

PAPERS = ("resnet50", "vit", "swin", "convnext", "mobilenetv2")


@pytest.mark.parametrize(
    ("spec", "millions"),
    [("resnet50", 23.52), ("vit", 5.36), ("swin", 27.5), ("convnext", 27.9), ("mobilenetv2", 2.24)],
)
def test_sizes_at_32_pixels_are_those_of_the_usual_variants(spec, millions):
    network = MODELS.make_one(spec).build((32, 32, 3), 10)
    found = sum(parameter.numel() for parameter in network.parameters())
    assert found / 1e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3)])
@pytest.mark.parametrize("spec", PAPERS)
def test_small_images_give_features_logits_and_gradients(spec, shape):
    network = MODELS.make_one(spec).build(shape, 5)
    images = torch.randn(2, shape[2], shape[0], shape[1])
    features = network.features(images)
    assert features.penultimate.ndim == features.intermediate.ndim == 2
    logits = network(images)
    assert logits.shape == (2, 5)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(("spec", "places"), [("mobilenetv2", 16), ("convnext", 4), ("swin", 4)])
def test_enough_of_a_small_image_is_left_for_the_last_stage(spec, places):
    body = MODELS.make_one(spec).build((32, 32, 3), 10).eval().body
    with torch.inference_mode():
        last = body.forward_features(torch.zeros(1, 3, 32, 32))
    assert last.numel() // body.num_features == places


def test_large_images_are_taken_at_timms_own_size():
    assert MODELS.make_one("vit").build((224, 224, 3), 10).input_size == (224, 224)
    assert MODELS.make_one("vit").build((32, 32, 3), 10).input_size == (32, 32)


def test_what_no_paper_states_is_called_our_choice():
    assert all("not in the papers" in MODELS.make_one(spec).choice for spec in PAPERS[1:])
    assert MODELS.make_one("resnet50").choice == ""
