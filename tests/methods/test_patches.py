"""Patches: which are kept, what they count, and the bytes of an image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pixel_stages import images_of, stage

from bench.budgets import Budget
from methods.parts.patches import PatchGrid, masks_of, most_important


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
