"""Convolutions that go place by place equal torch's, and are taken by a rule."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from bench import training
from bench.augment import Normalisation
from bench.checkpoints import Checkpoint
from bench.contract import ImageDataset
from bench.models import MODELS, convolutions
from bench.models.convolutions import Convolution, by_place, goes_by_place, gone_by_place
from bench.protocols import PROTOCOLS
from bench.recording import engine_facts

LAST = torch.empty(512, 512, 3, 3, device="meta")
"""The weights of ResNet-18's last stage."""


@pytest.fixture
def units(monkeypatch):
    """Let the processor have units for bf16, as the rule asks."""
    monkeypatch.setattr(convolutions, "_gains", lambda: True)


def maps_and_gradients(convolve, images, weight, owed):
    images, weight = (one.detach().requires_grad_() for one in (images, weight))
    maps = convolve(images, weight)
    maps.backward(owed)
    return maps.detach(), images.grad, weight.grad


def drawn(seed, images, outputs, kernel, stride):
    """Random images, weights, and the gradient that is owed to the map, in float64."""
    draw = torch.Generator().manual_seed(seed)
    sides = [(side - 1) // stride + 1 for side in images[2:]]
    shapes = images, (outputs, images[1], kernel, kernel), (images[0], outputs, *sides)
    return [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32),
    images=st.tuples(*(st.integers(low, high) for low, high in ((1, 3), (1, 5), (1, 9), (1, 9)))),
    outputs=st.integers(1, 5),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
)
def test_maps_and_both_gradients_are_those_of_torchs_convolution(
    seed, images, outputs, kernel, stride
):
    given_all = drawn(seed, images, outputs, kernel, stride)
    found = maps_and_gradients(lambda x, w: by_place(x, w, stride), *given_all)
    expected = maps_and_gradients(
        lambda x, w: functional.conv2d(x, w, None, stride, kernel // 2), *given_all
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sides", [(8, 8), (3, 3), (2, 8), (4, 7), (9, 1)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (1, 2)])
def test_in_bf16_they_are_near_float64_as_torchs_are(sides, kernel, stride):
    """Over maps narrower than the kernel oneDNN's gradient by the weights is not."""
    exact = [one.bfloat16().double() for one in drawn(0, (16, 64, *sides), 32, kernel, stride)]
    rounded = [one.bfloat16().contiguous(memory_format=torch.channels_last) for one in exact]
    expected = maps_and_gradients(
        lambda x, w: functional.conv2d(x, w, None, stride, kernel // 2), *exact
    )
    found = maps_and_gradients(lambda x, w: by_place(x, w, stride), *rounded)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.bfloat16
        assert one.is_contiguous(memory_format=torch.channels_last)
        assert (one - other).norm() < 2**-8 * other.norm()


@pytest.mark.parametrize(
    ("side", "weight", "stride", "taken"),
    [
        (8, LAST, 1, True),
        (2, LAST, 1, True),
        (16, LAST[:256, :128], 2, True),  # its map has a side of 8
        (9, LAST, 1, False),
        (17, LAST, 2, False),
        (8, LAST[:128, :128], 1, False),
        (8, LAST[:64, :32], 2, False),  # the last stage of ResNet-8
        (16, LAST[:256, :128, :1, :1], 2, True),
    ],
)
def test_small_maps_of_many_channels_go_by_place_in_bf16(units, side, weight, stride, taken):
    images = torch.empty(1, weight.shape[1], side, side)
    with torch.autocast("cpu", torch.bfloat16):
        assert goes_by_place(images, weight, stride) == taken
    assert not goes_by_place(images, weight, stride)  # float32
    with torch.autocast("cpu", torch.float16):
        assert not goes_by_place(images, weight, stride)


def test_a_batch_without_images_is_left_to_torch(units):
    with torch.autocast("cpu", torch.bfloat16):
        assert not goes_by_place(torch.empty(0, 512, 4, 4), LAST, 1)


def test_places_are_gone_over_on_processors_with_units_for_bf16(monkeypatch):
    images, elsewhere = torch.empty(1, 512, 4, 4), torch.empty(1, 512, 4, 4, device="meta")
    with torch.autocast("cpu", torch.bfloat16):
        for gains in (True, False):
            monkeypatch.setattr(convolutions, "_gains", lambda found=gains: found)
            assert goes_by_place(images, LAST, 1) == gains
            assert not goes_by_place(elsewhere, LAST, 1)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1), (1, 2)])
def test_in_fp32_nothing_differs_from_torchs_layer(units, monkeypatch, kernel, stride):
    monkeypatch.setattr(convolutions, "_FEWEST_PAIRS", 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        own = Convolution(16, 5, kernel, stride)
        torch.manual_seed(0)
        plain = nn.Conv2d(16, 5, kernel, stride, kernel // 2, bias=False)
    images, _, owed = (one.float() for one in drawn(0, (2, 16, 4, 4), 5, kernel, stride))
    found, expected = (
        maps_and_gradients(
            lambda x, w, layer=layer: torch.func.functional_call(layer, {"weight": w}, x),
            images, layer.weight, owed,
        )
        for layer in (own, plain)
    )  # fmt: skip
    assert all(map(torch.equal, found, expected))
    assert own.state_dict().keys() == plain.state_dict().keys()
    assert gone_by_place(own) == 0


@pytest.fixture
def job(units, monkeypatch):
    """A run in bf16 whose convolutions over small maps go place by place."""
    monkeypatch.setattr(convolutions, "_FEWEST_PAIRS", 1)
    rng = np.random.default_rng(0)
    train = ImageDataset(
        rng.integers(0, 256, (33, 8, 8, 1), dtype=np.uint8), np.arange(33) % 3,
        tuple("abc"), tuple(f"{number:02}" for number in range(33)),
    )  # fmt: skip
    return training.Job(
        model=MODELS.make_one("resnet8[width=4]"),
        protocol=PROTOCOLS.make_one("smoke[epochs=3,batch_size=32,precision=bf16]"),
        train=train,
        test=train,
        normalisation=Normalisation.of(train.images),
        seed=0,
        device="cpu",
    )


def test_the_record_counts_the_convolutions_that_went_place_by_place(job):
    _, curve = training.run(job)
    assert engine_facts(job, curve, packed=1)["convolutions_by_place"] == 9
    protocol = dataclasses.replace(job.protocol, precision="fp32")
    _, curve = training.run(dataclasses.replace(job, protocol=protocol))
    assert engine_facts(job, curve, packed=1)["convolutions_by_place"] == 0


@pytest.mark.parametrize(
    "batch_shards", [1, 4]
)  # the last batch is one image: three pieces have none
def test_runs_place_by_place_repeat_and_go_on_bit_by_bit(job, tmp_path, batch_shards):
    protocol = dataclasses.replace(job.protocol, batch_shards=batch_shards)
    job = dataclasses.replace(job, protocol=protocol)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(job, Checkpoint(tmp_path), stop)
    runs = [training.run(job, checkpoint) for checkpoint in (None, None, Checkpoint(tmp_path))]
    assert len({training.weights_digest(network) for network, _ in runs}) == 1
    assert {curve.by_place for _, curve in runs} == {9}


@pytest.mark.parametrize("inputs", [3, 4, 8, 15])
def test_strides_over_few_channels_of_large_maps_leave_the_process_alive(inputs):
    torch.manual_seed(0)
    layer = Convolution(inputs, 2 * inputs, 1, stride=2).to(memory_format=torch.channels_last)
    images = torch.randn(33, inputs, 112, 112).contiguous(memory_format=torch.channels_last)
    images.requires_grad_()
    layer(images).square().sum().backward()
    exact = images.detach().double().requires_grad_()
    weight = layer.weight.detach().double().requires_grad_()
    torch.einsum(
        "oc,bchw->bohw", weight[:, :, 0, 0], exact[:, :, ::2, ::2]
    ).square().sum().backward()
    for found, wanted in ((images.grad, exact.grad), (layer.weight.grad, weight.grad)):
        assert torch.allclose(found.double(), wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max())


@pytest.mark.parametrize("height", [1, 3, 8])
@pytest.mark.parametrize("channels", [(16, 16), (32, 64)])
def test_in_bf16_a_stride_over_maps_of_one_column_is_near_float64(height, channels):
    """As ResNet-8 has it last for images of 2 x 2."""
    inputs, outputs = channels
    exact = [one.bfloat16().double() for one in drawn(0, (16, inputs, height, 1), outputs, 3, 2)]
    expected = maps_and_gradients(lambda x, w: functional.conv2d(x, w, None, 2, 1), *exact)
    layer = Convolution(inputs, outputs, 3, stride=2)
    with torch.autocast("cpu", torch.bfloat16):
        found = maps_and_gradients(
            lambda x, w: torch.func.functional_call(layer, {"weight": w}, x),
            *(one.bfloat16() for one in exact),
        )
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() < 2**-7 * other.norm()


@pytest.mark.parametrize(("kernel", "stride"), [(1, 2), (3, 1), (3, 2)])
def test_a_gradient_has_a_gradient(kernel, stride):
    """As methods that match gradients need it."""
    drawn = torch.Generator().manual_seed(0)
    images = torch.randn(2, 2, 3, 4, generator=drawn, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, kernel, kernel, generator=drawn, dtype=torch.float64)
    asked = (images, weight.requires_grad_(), stride)
    assert torch.autograd.gradgradcheck(by_place, asked)


@pytest.mark.parametrize("side", [4, 6])
def test_functional_gradients_are_those_of_torchs_convolution(side):
    """Of all images and of each."""
    images, weight, owed = drawn(0, (2, 3, side, side), 5, 3, 1)

    def gradients(convolve):
        def loss(weight, images, owed):
            return (convolve(images, weight) * owed).sum()

        gradient = torch.func.grad(loss)
        by_image = torch.func.vmap(gradient, (None, 0, 0))(weight, images[:, None], owed[:, None])
        return gradient(weight, images, owed), by_image

    expected = gradients(lambda x, w: functional.conv2d(x, w, None, 1, 1))
    torch.testing.assert_close(gradients(lambda x, w: by_place(x, w, 1)), expected)
