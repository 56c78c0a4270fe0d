"""Operations are those that torch's own counter finds, and those of the literature."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.models import MODELS
from bench.operations import operations_per_image

SMALL = [
    "resnet8",
    "resnet18",
    "timm[architecture=vit_tiny_patch16_224]",
    "timm[architecture=swin_tiny_patch4_window7_224]",
    "timm[architecture=mobilenetv2_100]",
]


@pytest.mark.parametrize("spec", SMALL)
def test_operations_are_those_of_torchs_counter(spec):
    shape = (32, 32, 3)
    model = MODELS.make_one(spec)
    network = model.build(shape, 10).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 32, 32))
    assert operations_per_image(model, shape, 10) == counter.get_total_flops()


def test_resnet18_has_the_literatures_size_and_operations():
    model = MODELS.make_one("resnet18")
    parameters = sum(p.numel() for p in model.build((32, 32, 3), 10).parameters())
    assert parameters == pytest.approx(11.17e6, rel=1e-3)
    assert operations_per_image(model, (32, 32, 3), 10) / 2 == pytest.approx(0.56e9, rel=0.01)


def test_counting_needs_no_weights_from_elsewhere():
    pretrained = MODELS.make_one("timm[architecture=resnet18.tv_in1k,pretrained=true]")
    plain = MODELS.make_one("timm[architecture=resnet18]")
    shape = (32, 32, 3)
    assert operations_per_image(pretrained, shape, 10) == operations_per_image(plain, shape, 10)
