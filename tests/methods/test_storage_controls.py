from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.budgets import Budget
from bench.contract import METHODS, ImageDataset
from bench.errors import UsageError
from bench.selecting import select
from methods.jpeg import decoded, encoded, header_length
from methods.resize import resized, stored_size

SPECS = ["resize", "jpeg", "jpeg[headers=each]"]


@pytest.fixture
def scenes() -> ImageDataset:
    """Smooth coloured images of 32 x 24 pixels in three uneven classes."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (60, 4, 3, 3), dtype=np.uint8)
    images = np.stack(
        [np.asarray(Image.fromarray(one).resize((24, 32), Image.Resampling.BICUBIC))
         for one in coarse]
    )  # fmt: skip
    return ImageDataset(
        images,
        rng.permutation(np.repeat([0, 1, 2], [30, 20, 10])).astype(np.int64),
        ("ant", "bee", "cat"),
        tuple(f"{number:03d}" for number in range(60)),
    )


def compress(spec, train, percent, ctx):
    method = METHODS.make_one(spec)
    budget = Budget.parse(percent)
    compressed = method.compress(train, budget, ctx)
    compressed.check(train, budget, method.keeps)
    return compressed


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("percent", ["5", "30", "30b", "75", "100"])
def test_the_bytes_never_exceed_the_budget(spec, percent, scenes, context):
    if spec.endswith("each]") and percent == "5":
        percent = "40"  # below, a whole file does not fit
    compressed = compress(spec, scenes, percent, context())
    allowed = Budget.parse(percent).bytes(len(scenes) * scenes.bytes_per_image)
    assert compressed.bytes(scenes) <= allowed
    assert compressed.images.dtype == np.uint8
    assert compressed.images.shape == (len(compressed), *scenes.shape)
    assert compressed.training_set(scenes).labels.tolist() == [
        scenes.labels[index] for index in compressed.indices
    ]


@pytest.mark.parametrize("spec", ["resize", "jpeg"])
def test_grey_images_come_back_in_their_shape(spec, digits, context):
    compressed = compress(spec, digits.subset(np.arange(60)), "60", context())
    assert compressed.images.shape[1:] == (8, 8, 1)
    assert len(np.unique(compressed.images)) > 20


def test_a_jpeg_header_larger_than_all_pixels_is_told(digits, context):
    with pytest.raises(UsageError, match=r"32 bytes, too few for one image as JPEG .about"):
        compress("jpeg[headers=each]", digits.subset(np.arange(5)), "10", context())


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_seed_gives_the_same_bytes(spec, scenes, context):
    first = compress(spec, scenes, "35", context())
    again = compress(spec, scenes, "35", context())
    assert first.indices.tolist() == again.indices.tolist()
    assert (first.images == again.images).all()
    assert first.notes == again.notes


# resize


def test_all_images_are_kept_at_the_largest_size_that_fits(scenes, context):
    for percent in ("3", "10", "50", "99"):
        compressed = compress("resize", scenes, percent, context())
        height, width = compressed.notes["height"], compressed.notes["width"]
        each = Budget.parse(percent).bytes(60 * scenes.bytes_per_image) // 60 - 1
        larger = (height + 1) * int(24 * (height + 1) / 32 + 0.5) * 3
        assert len(compressed) == 60
        assert compressed.stored_bytes == 60 * (height * width * 3 + 1)
        assert height * width * 3 <= each < larger
        assert width == int(24 * height / 32 + 0.5)


def test_at_the_full_budget_resizing_changes_nothing(scenes, context):
    compressed = compress("resize", scenes, "100", context())
    assert (compressed.images == scenes.images).all()
    assert compressed.stored_bytes == 60 * scenes.bytes_per_image


def test_resizing_agrees_with_pillow(scenes):
    for size in ((9, 7), (64, 48)):
        ours = resized(scenes.images[:5], *size)
        for pixels, image in zip(ours, scenes.images, strict=False):
            theirs = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
            assert np.abs(pixels.astype(int) - np.asarray(theirs).astype(int)).max() <= 1


@given(st.integers(2, 40), st.integers(2, 40), st.sampled_from([1, 3]), st.integers(1, 100))
def test_the_stored_size_fits_and_grows_with_the_budget(height, width, channels, percent):
    train = ImageDataset(
        np.zeros((7, height, width, channels), np.uint8),
        np.zeros(7, np.int64), ("one",), tuple("abcdefg"),
    )  # fmt: skip
    full = 7 * train.bytes_per_image
    try:
        rows, columns = stored_size(train, Budget.parse(str(percent)))
    except UsageError:
        assert Budget.parse(str(percent)).bytes(full) // 7 - 1 < channels
        return
    assert 7 * (rows * columns * channels + 1) <= Budget.parse(str(percent)).bytes(full)
    if percent < 100:
        more = stored_size(train, Budget.parse(str(percent + 1)))
        assert more >= (rows, columns)
    else:
        assert (rows, columns) == (height, width)


def test_a_budget_below_one_pixel_an_image_is_refused(scenes, context):
    with pytest.raises(UsageError, match=r"0.1 % leaves 1 bytes .*Raise the ratio"):
        compress("resize", scenes, "0.1", context())


# jpeg


@pytest.mark.parametrize("spec", SPECS[1:])
def test_the_quality_is_the_highest_that_fits(spec, scenes, context):
    compressed = compress(spec, scenes, "35", context())
    quality = compressed.notes["quality"]
    allowed = Budget.parse("35").bytes(60 * scenes.bytes_per_image)

    def total(quality):
        coded = [encoded(image, quality) for image in scenes.images]
        if spec.endswith("each]"):
            return sum(map(len, coded)) + 60
        return header_length(coded[0]) + sum(len(c) - header_length(c) for c in coded) + 60

    assert len(compressed) == 60
    assert compressed.notes["all_images"]
    assert compressed.stored_bytes == total(quality) <= allowed
    assert quality == 95 or total(quality + 1) > allowed
    for kept, image in zip(compressed.images, scenes.images, strict=True):
        assert (kept == decoded(encoded(image, quality))).all()


def test_more_budget_gives_no_lower_quality(scenes, context):
    found = [
        compress("jpeg", scenes, percent, context()) for percent in ("4", "6", "9", "20", "60")
    ]
    qualities = [compressed.notes["quality"] for compressed in found]
    errors = [
        float(np.mean((c.images.astype(float) - scenes.images[c.indices]) ** 2)) for c in found
    ]
    assert qualities == sorted(qualities)
    assert qualities[0] < qualities[-1]
    assert errors[-1] < errors[0]


def test_files_of_one_size_and_quality_share_their_header(scenes):
    headers = set()
    for image in scenes.images[:20]:
        coded = encoded(image, 30)
        headers.add(coded[: header_length(coded)])
    (header,) = headers
    body = encoded(scenes.images[3], 30)[len(header) :]
    assert (decoded(header + body) == decoded(encoded(scenes.images[3], 30))).all()
    assert body.endswith(b"\xff\xd9")
    assert b"\xff\xd9" not in body[:-2]  # so that stored one after the other they can be told apart


def test_where_quality_1_of_all_does_not_fit_a_balanced_draw_is_kept(scenes, context):
    compressed = compress("jpeg[headers=each]", scenes, "12", context())
    counts = np.bincount(scenes.labels[compressed.indices], minlength=3)
    exact = Budget.exactly(len(compressed), 60).images_by_class(scenes.class_counts)
    allowed = Budget.parse("12").bytes(60 * scenes.bytes_per_image)
    assert 0 < len(compressed) < 60
    assert compressed.notes == {"quality": 1, "all_images": False}
    assert counts.tolist() == exact.tolist()
    assert allowed - compressed.stored_bytes < 2 * max(
        len(encoded(image, 1)) for image in scenes.images
    )
    other = compress("jpeg[headers=each]", scenes, "12", context(seed=1))
    assert set(other.indices) != set(compressed.indices)


def test_too_few_bytes_for_one_image_are_told(scenes, context):
    few = scenes.subset(np.arange(3))
    with pytest.raises(UsageError, match=r"5 % are 345 bytes, too few .*Raise the ratio"):
        compress("jpeg", few, "5", context())


def test_the_estimate_is_made_once_for_all_seeds_and_budgets(scenes, context):
    ids = set()
    for seed, percent in ((0, "20"), (1, "20"), (1, "60")):
        ctx = context(seed)
        select(METHODS.make_one("jpeg"), scenes, Budget.parse(percent), ctx)
        ids |= {key for key, cost in ctx.costs.items() if cost["kind"] == "jpeg"}
    assert len(ids) == 1


def test_pillow_reads_what_is_stored(scenes):
    with Image.open(io.BytesIO(encoded(scenes.images[0], 50))) as image:
        assert image.format == "JPEG"
        assert image.size == (24, 32)


def test_the_order_of_the_images_changes_nothing(scenes, context):
    order = np.random.default_rng(0).permutation(60)
    for spec in ("resize", "jpeg"):
        straight = select(METHODS.make_one(spec), scenes, Budget.parse("40"), context())
        other = scenes.subset(order)
        shuffled = select(
            METHODS.make_one(spec), other, Budget.parse("40"), context(dataset="shuffled")
        )
        assert set(straight.indices) == set(order[shuffled.indices])
        assert straight.stored_bytes == shuffled.stored_bytes
