"""The pixel stage: what is dropped, painted, stored and charged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from pixel_stages import images_of, stage
from torch.nn import functional

from bench.budgets import Budget
from bench.contract import METHODS, CompressedSet, ImageDataset, Keeps
from bench.errors import UsageError
from bench.selecting import select
from methods.parts.embeddings import Extractor
from methods.parts.pixels import misaligned_positions, with_pixels

pytestmark = pytest.mark.usefixtures("small_autoencoder")


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


@pytest.mark.parametrize("method", ["dq[drop=0.25,mae=vit-large]", "adq[drop=0.25]", "dqas"])
def test_reconstructions_that_do_not_fit_are_refused_before_any_work(
    method, noise, context, monkeypatch, tmp_path
):
    needed = 3 * noise.images.nbytes
    monkeypatch.setattr("bench.resources.available_memory", lambda: needed - 1)
    told = "reconstructs all 80 images of 8x8 pixels: 46.1 kB .* at most 7x7 pixels fit"
    with pytest.raises(UsageError, match=told):
        select(METHODS.make_one(method), noise, Budget.parse("10"), context())
    with pytest.raises(UsageError, match=told):  # as a job that makes what cells share
        stage().reconstructions(noise, context())["images"]
    assert not (tmp_path / "artefacts").exists()


def test_stored_reconstructions_are_not_refused(noise, context, monkeypatch):
    method = METHODS.make_one("dq[extractor_epochs=1,drop=0.25,mae_epochs=1]")
    select(method, noise, Budget.parse("20"), context())
    monkeypatch.setattr("bench.resources.available_memory", lambda: 3 * noise.images.nbytes - 1)
    assert len(select(method, noise, Budget.parse("10"), context()).indices) == 8
