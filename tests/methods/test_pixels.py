from __future__ import annotations

import dataclasses
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from bench.budgets import Budget
from bench.contract import METHODS, CompressedSet, ImageDataset, Keeps
from bench.errors import DamagedFileError, UsageError
from bench.selecting import select
from bench.weights import WeightsFile, sha256_of
from methods.parts import mae
from methods.parts.embeddings import Extractor
from methods.parts.mae_network import MaskedAutoencoder
from methods.parts.patches import PatchGrid, masks_of, most_important
from methods.parts.pixels import PixelStage, misaligned_positions, with_pixels

TINY = mae.Sizes(width=16, depth=1, heads=2, decoder_width=16, decoder_depth=1, decoder_heads=2)
EXTRACTOR = Extractor("resnet8[width=4]", 1)


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    """A smaller small autoencoder."""
    # First what takes its value from the other one when it is imported, here perhaps.
    monkeypatch.setattr("methods.parts.mae_training.SMALL", TINY)
    monkeypatch.setattr(mae, "SMALL", TINY)


@pytest.fixture
def released(tmp_path, monkeypatch) -> MaskedAutoencoder:
    """A miniature of the published checkpoint, where the stage looks for it."""
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    file = WeightsFile(mae.RELEASED.name, (tmp_path / "nowhere").as_uri())
    monkeypatch.setattr(mae, "RELEASED", file)
    monkeypatch.setattr(mae, "VIT_LARGE", TINY)
    torch.manual_seed(0)
    network = MaskedAutoencoder(PatchGrid.resized(8, 8, 14, 16), 3, TINY).eval()
    network.initialise()
    torch.save({"model": network.state_dict()}, file.path)
    return network


def stage(**changes) -> PixelStage:
    return PixelStage(**{"drop": 0.25, "extractor": EXTRACTOR, "mae_epochs": 1, **changes})


def images_of(height, width, channels, count=6) -> ImageDataset:
    rng = np.random.default_rng(height * width)
    return ImageDataset(
        rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8),
        np.arange(count) % 2,
        ("one", "two"),
        tuple(f"{number:05d}" for number in range(count)),
    )


# patches


@pytest.mark.parametrize(
    ("drop", "edition", "kept"),
    [(0.25, "paper", 147), (0.25, "released", 147), (0.2, "released", 156), (0.2, "paper", 157),
     (0.0, "paper", 196), (0.999, "paper", 1), (0.999, "released", 0)],
)  # fmt: skip
def test_kept_patches_are_those_of_the_decision_table(drop, edition, kept):
    large = stage(drop=drop, edition=edition, mae="vit-large")
    assert large.kept_patches((32, 32, 3)) == (kept, 196)


@pytest.mark.parametrize(
    ("shape", "grid"),
    [((32, 32), (8, 8, 4)), ((8, 8), (4, 4, 2)), ((28, 28), (7, 7, 4)), ((64, 64), (8, 8, 8)),
     ((224, 224), (14, 14, 16)), ((9, 20), (3, 7, 3))],
)  # fmt: skip
def test_small_grids_suit_the_images(shape, grid):
    found = PatchGrid.native(*shape)
    assert (found.rows, found.columns, found.side) == grid


@given(st.integers(2, 70), st.integers(2, 70), st.floats(0, 0.99), st.integers(0, 2**32 - 1))
def test_visible_pixels_are_within_what_is_counted(height, width, drop, seed):
    grid = PatchGrid.native(height, width)
    kept = grid.kept(drop, "paper")
    ids = most_important(np.random.default_rng(seed).random((3, grid.total), np.float32), kept)
    visible = grid.visible(masks_of(ids, grid.total))
    assert visible.shape == (3, height, width)
    assert visible.sum((1, 2)).max() <= grid.pixels_of(kept) <= height * width
    assert grid.visible(np.ones((1, grid.total), bool)).all()
    assert len(np.unique(grid.patch_of_pixels())) == grid.total


def test_a_pixel_of_a_resized_image_belongs_to_the_patch_that_gives_its_value():
    """At 32 pixels, resizing 224 back without antialiasing takes place 7 i + 3."""
    grid = PatchGrid.resized(32, 32, 14, 16)
    rows = grid.patch_of_pixels()[:, 0] // 14
    assert rows.tolist() == [(7 * i + 3) // 16 for i in range(32)]


def test_ties_of_importance_go_to_the_first_patches():
    importance = np.array([[0, 1, 0, 1, 0]], np.float32)
    assert most_important(importance, 4).tolist() == [[1, 3, 0, 2]]


# bytes


def test_bytes_of_an_image_are_pixels_mask_and_label():
    cifar = images_of(32, 32, 3)
    assert stage().bytes_each(cifar) == 48 * 16 * 3 + 8 + 1
    assert stage(mae="vit-large").bytes_each(cifar) == 768 * 3 + 25 + 1
    nominal = -(-1024 * 156 // 196) * 3
    large = stage(drop=0.2, mae="vit-large", edition="released")
    assert large.bytes_each(cifar) == nominal + 25 + 1
    assert stage(drop=0).bytes_each(cifar) == cifar.bytes_per_image
    many = dataclasses.replace(cifar, classes=tuple(map(str, range(300))))
    assert stage().bytes_each(many) == 48 * 16 * 3 + 8 + 2


def test_a_budget_in_bytes_holds_more_images_where_patches_are_dropped():
    cifar = images_of(32, 32, 3)
    each = stage().bytes_each(cifar)
    budget = Budget.parse("10b").for_images_of(each, cifar.bytes_per_image, 50_000)
    assert budget.images(50_000) == 50_000 * 3073 // 10 // each == 6642


# the stage


@pytest.mark.parametrize("attention", ["grad-cam", "grad-cam++"])
@pytest.mark.parametrize("edition", ["paper", "released"])
def test_visible_pixels_stay_and_dropped_ones_are_painted(attention, edition, noise, context):
    one = stage(attention=attention, edition=edition)
    made = one.reconstructions(noise, context())
    masks = np.unpackbits(made["masks"], axis=1)[:, :16].astype(bool)
    visible = one.grid(noise.shape).visible(masks)
    same = (made["images"] == noise.images).all(axis=3)
    assert made["images"].dtype == np.uint8
    assert made["images"].shape == noise.images.shape
    assert masks.sum(1).tolist() == [12] * 80
    assert same[visible].all()
    assert same[~visible].mean() < 0.05


def test_the_patches_of_least_attention_are_dropped(noise, context):
    ctx = context()
    maps = stage().importance(noise, ctx)["maps"]
    masks = np.unpackbits(stage().reconstructions(noise, ctx)["masks"], axis=1).astype(bool)
    large = functional.interpolate(torch.from_numpy(maps)[:, None], (4, 4), mode="bilinear")
    for importance, mask in zip(large.reshape(80, 16).numpy(), masks, strict=True):
        assert importance[mask].min() >= importance[~mask].max() - 1e-6


@pytest.mark.parametrize("shape", [(9, 13, 1), (7, 7, 3)])
def test_sides_that_are_no_multiple_of_a_patch_work(shape, context):
    train = images_of(*shape)
    one = stage()
    made = one.reconstructions(train, context())
    total = one.kept_patches(train.shape)[1]
    visible = one.grid(train.shape).visible(
        np.unpackbits(made["masks"], axis=1)[:, :total].astype(bool)
    )
    assert made["images"].shape == train.images.shape
    assert (made["images"] == train.images).all(axis=3)[visible].all()


def test_dropping_nothing_keeps_the_images_except_in_the_released_edition(noise, context):
    paper = stage(drop=0).reconstructions(noise, context())
    assert (paper["images"] == noise.images).all()
    released = stage(drop=0, edition="released").reconstructions(noise, context())
    assert (released["images"] != noise.images).mean() > 0.9


def test_what_the_stage_needs_is_charged_and_shared(noise, context):
    first, second = context(), context()
    stage().reconstructions(noise, first)["masks"]
    stage(drop=0.5).reconstructions(noise, second)["masks"]
    kinds = ["attention", "extractor", "mae", "reconstructions"]
    assert sorted(cost["kind"] for cost in first.costs.values()) == kinds
    shared = {first.costs[key]["kind"] for key in first.costs.keys() & second.costs.keys()}
    assert shared == {"extractor", "attention"}


def test_its_artefacts_are_known_without_images(noise, context):
    ctx = context()
    none = ImageDataset(
        np.empty((0, 1, 1, 1), np.uint8), np.empty(0, np.int64), classes=(), keys=()
    )
    assert stage().reconstructions(none, ctx).id == stage().reconstructions(noise, ctx).id
    ids = {
        stage(**changes).reconstructions(none, ctx).id
        for changes in (
            {}, {"drop": 0.5}, {"attention": "grad-cam++"}, {"mae": "vit-large"},
            {"mae_epochs": 2}, {"edition": "released"}, {"extractor": Extractor("resnet8", 1)},
        )
    }  # fmt: skip
    assert len(ids) == 7
    assert not ctx.costs


def test_wrong_shares_are_refused():
    for drop in (1.0, -0.1, float("nan")):
        with pytest.raises(UsageError, match="less than 1"):
            stage(drop=drop)


# the published autoencoder


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
def test_the_released_edition_does_what_quantize_pixel_does(drop, released, context):
    train = images_of(20, 20, 3, count=4)
    one = stage(drop=drop, mae="vit-large", edition="released", attention="grad-cam++")
    made = one.reconstructions(train, context())
    masks = np.unpackbits(made["masks"], axis=1)[:, :196].astype(bool)
    assert masks.sum(1).tolist() == [196 if drop == 0 else 156] * 4
    expected = by_hand(released, train, masks)
    difference = np.abs(made["images"].astype(int) - expected.astype(int))
    assert difference.max() <= 1  # Pillow resizes with whole numbers
    assert (difference == 0).mean() > 0.8


def test_at_32_pixels_both_editions_leave_visible_pixels_as_they_are(released, context):
    train = images_of(32, 32, 3, count=4)
    for edition in ("paper", "released"):
        one = stage(mae="vit-large", edition=edition)
        made = one.reconstructions(train, context(dataset=edition))
        masks = np.unpackbits(made["masks"], axis=1)[:, :196].astype(bool)
        visible = one.grid(train.shape).visible(masks)
        same = (made["images"] == train.images).all(axis=3)
        assert same[visible].all()
        assert same[~visible].mean() < 0.05


def test_grey_images_go_through_a_network_for_colours(released, context):
    train = images_of(8, 8, 1, count=3)
    made = stage(mae="vit-large").reconstructions(train, context())
    assert made["images"].shape == (3, 8, 8, 1)
    assert (made["images"] != train.images).any()


def test_the_record_tells_which_weights_were_loaded(released, noise, context):
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


def test_without_the_published_file_the_way_out_is_told(released, noise, context):
    mae.RELEASED.path.unlink()
    with pytest.raises(UsageError, match="BENCH_WEIGHTS"):
        stage(mae="vit-large").reconstructions(noise, context())["masks"]


# sets


def test_a_selection_gets_its_own_reconstructions_and_bytes(noise, context):
    picked = CompressedSet(np.array([7, 70, 3]), bin_counts=(1, 2), notes={"a": 1})
    ctx = context()
    kept = with_pixels(picked, stage(), noise, ctx)
    kept.check(noise, Budget.exactly(3, 80), Keeps.IMAGES)
    assert kept.indices.tolist() == [7, 70, 3]
    assert (kept.images == stage().reconstructions(noise, ctx)["images"][[7, 70, 3]]).all()
    assert kept.stored_bytes == 3 * (48 * 3 + 2 + 1)
    assert kept.content == "reconstructed"
    assert kept.bin_counts == (1, 2)
    assert kept.notes["a"] == 1
    assert kept.notes["pixels"]["kept_patches"] == 12
    assert kept.notes["pixels"]["alignment"] == "key"
    assert CompressedSet.from_arrays(kept.to_arrays()).notes == kept.notes


def test_misaligned_sets_hold_other_images_with_labels_of_their_own(noise, context):
    picked = CompressedSet(np.arange(20))
    ctx = context()
    kept = with_pixels(picked, stage(alignment="misaligned"), noise, ctx)
    kept.check(noise, Budget.exactly(20, 80), Keeps.IMAGES)
    expected = misaligned_positions(noise.labels, noise.keys, np.arange(20))
    assert kept.indices.tolist() == expected.tolist() != list(range(20))
    assert (kept.images == stage().reconstructions(noise, ctx)["images"][expected]).all()
    assert kept.training_set(noise).labels.tolist() == noise.labels[expected].tolist()
    assert kept.notes["pixels"]["intended_images"] == len(set(expected) & set(range(20)))


# alignment


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


# the stage in DQ and ADQ


@pytest.mark.parametrize("name", ["dq", "adq"])
def test_a_budget_of_images_is_met_exactly_and_one_of_bytes_holds_more_images(name, noise, context):
    method = METHODS.make_one(f"{name}[drop=0.5,mae_epochs=1,extractor_epochs=1]")
    ctx = context()
    in_images = select(method, noise, Budget.parse("25"), ctx)
    in_bytes = select(method, noise, Budget.parse("25b"), ctx)
    allowed = Budget.parse("25b").bytes(len(noise) * noise.bytes_per_image)
    each = method.stage.bytes_each(noise)
    assert len(in_images) == Budget.parse("25").images(len(noise))
    assert in_images.bytes(noise) == len(in_images) * each
    assert len(in_bytes) > len(in_images)
    assert in_bytes.bytes(noise) <= allowed < in_bytes.bytes(noise) + each
    assert in_images.content == "reconstructed"
    assert (in_images.images != noise.images[in_images.indices]).any()


def test_the_stage_changes_no_selection_in_a_budget_of_images(noise, context):
    ctx, budget = context(), Budget.parse("25")
    whole = select(METHODS.make_one("dq[extractor_epochs=1]"), noise, budget, ctx)
    dropped = METHODS.make_one("dq[extractor_epochs=1,drop=0.25,mae_epochs=1]")
    assert select(dropped, noise, budget, ctx).indices.tolist() == whole.indices.tolist()


def test_misaligned_evaluation_trains_on_other_images(digits, context):
    few, ctx = digits.subset(np.arange(300)), context()
    method = METHODS.make_one("dq[extractor_epochs=1,drop=0.25,mae_epochs=1]")
    methods = [method, dataclasses.replace(method, alignment="misaligned")]
    meant, read = (select(one, few, Budget.parse("20"), ctx) for one in methods)
    told = read.notes["pixels"]
    assert told["intended_images"] == len(np.intersect1d(meant.indices, read.indices)) < len(meant)
