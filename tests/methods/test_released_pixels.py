"""The published autoencoder, and the released order of files."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pixel_stages import images_of, stage
from torch.nn import functional

from bench.contract import CompressedSet
from bench.errors import DamagedFileError, UsageError
from bench.weights import sha256_of
from methods.parts import mae
from methods.parts.pixels import misaligned_positions, with_pixels

pytestmark = pytest.mark.usefixtures("small_autoencoder")


def by_hand(network, train, masks):
    """What run_images and the saving of quantize_pixel.py do, for one image after the other."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    results = []
    for pixels, mask in zip(train.images, masks, strict=True):
        large = Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR)
        x = (torch.from_numpy(np.array(large)).permute(2, 0, 1) / 255 - mean) / deviation
        with torch.no_grad():
            kept = torch.from_numpy(np.flatnonzero(mask))[None]
            y = network.image(network(x[None], kept))[0]
        if not mask.all():
            hidden = np.kron(~mask.reshape(14, 14), np.ones((16, 16), bool))
            y = torch.where(torch.from_numpy(hidden), y, x)
        image = functional.interpolate((y * deviation + mean)[None], train.shape[:2],
                                       mode="bilinear", align_corners=False)[0]  # fmt: skip
        stored = image.mul(255).add(0.5).clamp(0, 255).to(torch.uint8)
        results.append(stored.permute(1, 2, 0).numpy())
    return np.stack(results)


@pytest.mark.parametrize("drop", [0.0, 0.2])
def test_the_released_edition_does_what_quantize_pixel_does(drop, released_autoencoder, context):
    train = images_of(20, 20, 3, count=4)
    one = stage(drop=drop, mae="vit-large", edition="released", attention="grad-cam++")
    made = one.reconstructions(train, context())
    masks = np.unpackbits(made["masks"], axis=1)[:, :196].astype(bool)
    assert masks.sum(1).tolist() == [196 if drop == 0 else 156] * 4
    expected = by_hand(released_autoencoder, train, masks)
    difference = np.abs(made["images"].astype(int) - expected.astype(int))
    assert difference.max() <= 1  # Pillow resizes with whole numbers
    assert (difference == 0).mean() > 0.8


def test_at_32_pixels_both_editions_leave_visible_pixels_as_they_are(released_autoencoder, context):
    train = images_of(32, 32, 3, count=4)
    for edition in ("paper", "released"):
        one = stage(mae="vit-large", edition=edition)
        made = one.reconstructions(train, context(dataset=edition))
        masks = np.unpackbits(made["masks"], axis=1)[:, :196].astype(bool)
        visible = one.grid(train.shape).visible(masks)
        same = (made["images"] == train.images).all(axis=3)
        assert same[visible].all()
        assert same[~visible].mean() < 0.05


def test_grey_images_go_through_a_network_for_colours(released_autoencoder, context):
    train = images_of(8, 8, 1, count=3)
    made = stage(mae="vit-large").reconstructions(train, context())
    assert made["images"].shape == (3, 8, 8, 1)
    assert (made["images"] != train.images).any()


def test_the_record_tells_which_weights_were_loaded(released_autoencoder, noise, context):
    few = noise.subset(np.arange(6))
    kept = with_pixels(CompressedSet(np.array([4, 1])), stage(mae="vit-large"), few, context())
    told = kept.notes["pixels"]
    assert told["mae_file"] == "mae_visualize_vit_large_ganloss.pth"
    assert told["mae_sha256"] == sha256_of(mae.RELEASED.obtain())
    assert told["mae_bytes"] > 0
    assert kept.shared_bytes == told["mae_bytes"]
    pin = mae.RELEASED.path.with_name(mae.RELEASED.name + ".sha256")
    pin.write_text("0" * 64)
    with pytest.raises(DamagedFileError, match="pin"):
        stage(mae="vit-large").reconstructions(few, context(dataset="other"))["masks"]


def test_without_the_published_file_the_way_out_is_told(released_autoencoder, noise, context):
    mae.RELEASED.path.unlink()
    with pytest.raises(UsageError, match="BENCH_WEIGHTS"):
        stage(mae="vit-large").reconstructions(noise, context())["masks"]


def test_files_are_read_by_class_and_then_by_their_names_as_texts(tmp_path):
    labels = np.array([1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0])
    for number, label in enumerate(labels):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        (tmp_path / str(label) / f"{number}.png").touch()
    as_read = [
        int(file.stem)
        for folder in sorted(tmp_path.iterdir())
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
    ]
    keys = [f"{number:05d}" for number in range(12)]
    assert as_read == [1, 11, 4, 0, 10, 2, 3, 5, 6, 7, 8, 9]
    assert misaligned_positions(labels, keys, np.arange(12)).tolist() == as_read


@given(st.permutations(list(range(30))), st.sampled_from(["{:05d}", "dog/{:05d}.jpg", "x{}.png"]))
def test_the_same_images_come_whatever_order_the_set_has(order, pattern):
    labels = np.arange(30) % 3
    keys = np.array([pattern.format(number) for number in range(30)])
    straight = misaligned_positions(labels, keys.tolist(), np.arange(30))
    order = np.array(order)
    shuffled = misaligned_positions(labels[order], keys[order].tolist(), np.arange(30))
    assert sorted(straight) == list(range(30))
    for position in range(30):
        assert order[shuffled[position]] == straight[order[position]]


def test_the_released_selection_meets_792_of_its_6200_images(shared_data):
    """The figures of finding F5, from the released index file and the images' names alone."""
    for name in ("cifar10-imagefolder.zip", "dq_select_indices_CIFAR10_0.125.npy"):
        if not (shared_data / name).is_file():
            pytest.skip(f"BENCH_DATA holds no {name}")
    with zipfile.ZipFile(shared_data / "cifar10-imagefolder.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
    keys = sorted(name.partition("/train/")[2] for name in names if "/train/" in name)
    classes = sorted({key.partition("/")[0] for key in keys})
    labels = np.array([classes.index(key.partition("/")[0]) for key in keys])
    by_number = np.argsort([int(key[-9:-4]) for key in keys])
    intended = by_number[np.load(shared_data / "dq_select_indices_CIFAR10_0.125.npy")]
    trained_on = misaligned_positions(labels, keys, intended)
    counts = np.bincount(labels[trained_on])
    assert len(keys) == 50_000
    assert np.bincount(labels[intended]).tolist() == [620] * 10
    assert len(trained_on) == len(np.unique(trained_on)) == 6_200
    assert len(np.intersect1d(intended, trained_on)) == 792
    assert (intended == trained_on).sum() == 0
    assert (counts.min(), counts.max()) == (532, 718)
