"""Images decoded on demand: the same as an array of them, in bounded memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.contract import ImageDataset
from bench.datasets.decoding import UnreadableImageError, decode
from bench.datasets.files import Entry, file_tree
from bench.datasets.lazy_images import LazyImages
from bench.errors import DataError

N, SIDE = 13, 6
PLENTY = 2**30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(N):
        shape = (int(rng.integers(5, 20)), int(rng.integers(5, 20)), 3)
        pixels = rng.integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{number:02d}.png")
    return root


def lazy(place: Path, memory: int = PLENTY, side: int = SIDE) -> LazyImages:
    tree = file_tree(place)
    return LazyImages(tree, tree.entries(), side, memory, threads=2)


@pytest.fixture(scope="module")
def whole(folder: Path) -> np.ndarray:
    """The same images, decoded file by file."""
    files = sorted(folder.iterdir())
    return np.stack([decode(file.read_bytes(), SIDE) for file in files])


KEYS = st.one_of(
    st.integers(-N, N - 1),
    st.slices(N),
    st.lists(st.integers(-N, N - 1), min_size=1).map(np.array),
    st.lists(st.booleans(), min_size=N, max_size=N).map(lambda m: np.array(m, dtype=bool)),
    st.tuples(st.slices(N), st.just(slice(None)), st.slices(SIDE)),
    st.tuples(st.integers(0, N - 1), st.integers(0, SIDE - 1)),
    st.tuples(st.just(...), st.integers(0, 2)),
)


class TestIndexing:
    @given(key=KEYS)
    def test_every_index_gives_what_an_array_gives(
        self, folder: Path, whole: np.ndarray, key: Any
    ) -> None:
        np.testing.assert_array_equal(lazy(folder)[key], whole[key])

    def test_it_looks_like_an_array(self, folder: Path, whole: np.ndarray) -> None:
        images = lazy(folder)
        for name in ("shape", "ndim", "dtype", "size", "nbytes"):
            assert getattr(images, name) == getattr(whole, name)
        assert len(images) == N
        np.testing.assert_array_equal(np.asarray(images), whole)
        np.testing.assert_array_equal(np.stack(list(images)), whole)

    def test_floats_can_be_asked_for(self, folder: Path, whole: np.ndarray) -> None:
        as_floats = np.asarray(lazy(folder), dtype=np.float32)
        assert as_floats.dtype == np.float32
        np.testing.assert_array_equal(as_floats, whole)

    @pytest.mark.parametrize("key", [N, -N - 1, [0, N]])
    def test_a_position_that_is_not_there_is_an_index_error(self, folder: Path, key: Any) -> None:
        with pytest.raises(IndexError):
            lazy(folder)[key]

    def test_a_zip_gives_the_same(self, folder: Path, whole: np.ndarray, tmp_path: Path) -> None:
        place = tmp_path / "images.zip"
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in folder.iterdir():
                archive.write(file, file.name)
        np.testing.assert_array_equal(np.asarray(lazy(place)), whole)

    def test_a_data_set_of_them_has_shapes_subsets_and_bytes(
        self, folder: Path, whole: np.ndarray
    ) -> None:
        images: Any = lazy(folder)
        labels = np.zeros(N, dtype=np.int64)
        train = ImageDataset(images, labels, ("all",), tuple(map(str, range(N))))
        assert train.shape == (SIDE, SIDE, 3)
        assert train.bytes_per_image == SIDE * SIDE * 3 + 1
        np.testing.assert_array_equal(train.subset(np.array([5, 2])).images, whole[[5, 2]])


class TestMemory:
    def test_a_block_that_fits_is_given_and_a_larger_one_refused(self, folder: Path) -> None:
        images = lazy(folder, memory=4 * SIDE * SIDE * 3)
        assert images[2:6].shape == (4, SIDE, SIDE, 3)
        for ask in (lambda: images[:5], lambda: np.asarray(images), lambda: images[..., 0]):
            with pytest.raises(
                DataError, match=r"needed at once.*--size 3, or raise --memory"
            ) as caught:
                ask()
            assert "\n" not in str(caught.value)

    def test_going_through_blocks_holds_one_block_at_a_time(self, tmp_path: Path) -> None:
        side, count, block = 128, 48, 4
        for number in range(count):
            Image.new("RGB", (side, side), (number, 0, 0)).save(tmp_path / f"{number:02d}.png")
        images = lazy(tmp_path, memory=block * side * side * 3, side=side)
        images[:block]
        tracemalloc.start()
        seen = [int(images[i : i + block][:, 0, 0, 0].sum()) for i in range(0, count, block)]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sum(seen) == sum(range(count))
        assert peak < images.nbytes / 3

    def test_a_copy_cannot_be_avoided(self, folder: Path) -> None:
        with pytest.raises(ValueError, match="without a copy"):
            lazy(folder).__array__(copy=False)


class TestBrokenImages:
    def test_the_file_is_named(self, folder: Path, tmp_path: Path) -> None:
        content = (folder / "00.png").read_bytes()
        (tmp_path / "cut off.png").write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=r"cut off\.png cannot be read"):
            lazy(tmp_path)[0]

    def test_a_file_that_is_gone_is_named(self, folder: Path) -> None:
        tree = file_tree(folder)
        images = LazyImages(tree, [Entry(PurePosixPath("gone.png"), 1)], SIDE, PLENTY)
        with pytest.raises(DataError, match=r"gone\.png"):
            images[0]

    @pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n" + b"0" * 50])
    def test_bytes_that_are_no_image_are_unreadable(self, content: bytes) -> None:
        with pytest.raises(UnreadableImageError) as caught:
            decode(content)
        assert "object at" not in str(caught.value)  # Pillow's name of bytes in memory

    def test_an_empty_file_is_named_and_told_as_such(self, tmp_path: Path) -> None:
        (tmp_path / "empty.png").touch()
        tree = file_tree(tmp_path)
        images = LazyImages(tree, tree.entries(), SIDE, PLENTY)
        with pytest.raises(DataError, match=r"image empty\.png cannot be read \(it has no content"):
            images[0]


def jpeg(pixels: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


class TestDrafts:
    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
    def test_a_large_photo_looks_nearly_the_same(self, mode: str) -> None:
        rows, columns = np.mgrid[0:600, 0:800] / 100
        smooth = 127 + 100 * np.stack([np.sin(rows), np.cos(columns), np.sin(rows + columns)], 2)
        content = jpeg(smooth.astype(np.uint8), mode)
        exact, draft = decode(content, 32).astype(int), decode(content, 32, is_draft=True)
        assert draft.shape == exact.shape
        assert np.abs(draft - exact).mean() < 1
        assert np.abs(draft - exact).max() < 8

    def test_a_small_one_is_the_same(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (60, 50, 3), dtype=np.uint8)
        content = jpeg(noise)
        np.testing.assert_array_equal(decode(content, 32), decode(content, 32, is_draft=True))

    def test_a_cut_off_photo_is_unreadable_too(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (600, 500, 3), dtype=np.uint8)
        content = jpeg(noise)
        with pytest.raises(UnreadableImageError):
            decode(content[: len(content) // 2], 16, is_draft=True)

    def test_the_rotation_that_exif_tells_is_not_applied(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        pixels = np.zeros((20, 30, 3), dtype=np.uint8)
        assert decode(jpeg(pixels, exif=exif)).shape == (20, 30, 3)


def test_transparent_palettes_give_their_colours_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    picture = Image.new("P", (4, 4))
    picture.putpalette([250, 120, 10, 0, 0, 255])
    picture.putpixel((1, 2), 1)
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=bytes([0, 128]))
    pixels = decode(file.getvalue())
    assert pixels[0, 0].tolist() == [250, 120, 10]
    assert pixels[2, 1].tolist() == [0, 0, 255]
    assert not recwarn.list


def test_folders_that_link_to_where_they_lie_do_not_loop(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    (tmp_path / "cat" / "other").symlink_to(folder)
    found = [entry.path.as_posix() for entry in file_tree(tmp_path).entries()]
    assert found == [f"cat/other/{number:02d}.png" for number in range(N)]
