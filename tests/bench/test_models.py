from __future__ import annotations

import pytest
import torch

from bench.contract import METHODS
from bench.errors import UsageError
from bench.models import MODELS
from bench.models.networks import global_mean


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_global_means_gradient_is_torchs_laid_out_as_the_maps(dtype):
    laid_out = {"memory_format": torch.channels_last}
    maps = torch.randn(3, 5, 4, 7).to(dtype).contiguous(**laid_out).requires_grad_()
    owed, arrived = torch.randn(3, 5).to(dtype), []
    expected = torch.autograd.grad(maps.mean((2, 3)), maps, owed)
    between = maps * 1
    mean = global_mean(between)
    between.register_hook(arrived.append)
    assert torch.equal(mean, maps.mean((2, 3)))
    mean.backward(owed)
    assert torch.equal(maps.grad, *expected)
    assert arrived[0].is_contiguous(**laid_out)


def test_gradients_of_many_losses_at_once_go_through_a_global_mean():
    maps = torch.randn(2, 8, 4, 3)
    jacobian = torch.func.jacrev(global_mean)(maps)
    by_image = torch.func.vmap(torch.func.grad(lambda one: global_mean(one[None]).sum()))(maps)
    assert jacobian.equal(torch.func.jacrev(lambda one: one.mean((2, 3)))(maps))
    assert by_image.equal(torch.full_like(maps, 1 / 12))


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


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("resnet34", "timm[architecture=resnet34]"),
        ("resnet18.tv_in1k", "timm[architecture=resnet18.tv_in1k]"),
        ("vit_tiny_patch16_224", "timm[architecture=vit_tiny_patch16_224]"),
        (
            "resnet18.tv_in1k[pretrained=true]",
            "timm[architecture=resnet18.tv_in1k,pretrained=true]",
        ),
    ],
)
def test_a_bare_name_of_timm_is_the_same_model_as_with_its_long_form(short, long):
    named = MODELS.make_one(short)
    assert named == MODELS.make_one(long)
    assert named.identity() == MODELS.make_one(long).identity()
    assert named.spec == long
    assert MODELS.long_form(short) == long == MODELS.long_form(long)
    method = METHODS.make_one(f"adq[extractor={short}]")
    assert method.identity() == METHODS.make_one(f"adq[extractor={long}]").identity()
    assert method.spec == f"adq[extractor={long}]"


def test_a_name_of_ours_and_of_timm_is_ours():
    assert MODELS.make_one("resnet18").spec == "resnet18"


def test_both_forms_of_a_name_are_one_model():
    with pytest.raises(UsageError, match="named twice"):
        MODELS.make("resnet34,timm[architecture=resnet34]")


def test_a_short_form_has_one_architecture():
    with pytest.raises(UsageError, match="Leave out the other architecture"):
        MODELS.make("resnet34[architecture=resnet26]")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("resnt34", r"Nearest of timm: resnet34, "),
        ("vit_tiny", r"Nearest of timm: vit_tiny_patch16_224, "),
        ("resnet18.best", r"Nearest of timm: resnet18\.a1_in1k, "),
        ("resnet9", r"Did you mean 'resnet8'\?"),
    ],
)
def test_a_name_of_nobody_is_told_with_ours_the_nearest_of_timm_and_how_to_list_them(name, told):
    with pytest.raises(UsageError, match=told) as caught:
        MODELS.make_one(name)
    assert "Known: convnet3, " in str(caught.value)
    pattern = f"{name[:3]}*"
    assert str(caught.value).endswith(f"bench list models; of timm: bench list models '{pattern}'")
    assert MODELS.matching(pattern)[1]


def test_a_name_like_no_other_is_told_without_a_nearest_one():
    with pytest.raises(UsageError, match=r"See: .* bench list models '\*'") as caught:
        MODELS.make_one("zzzz")
    assert "Nearest" not in str(caught.value)


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
