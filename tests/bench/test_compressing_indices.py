"""Released selections: index files, how they are joined with files, and their overlap."""

from __future__ import annotations

import itertools
import math
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compressions import (
    Last,
    ask,
    refusal,
    run,
    save,
)
from hypothesis import given
from hypothesis import strategies as st

from bench.choices import By
from bench.compressing.request import ByIndices
from bench.compressing.source import find_images
from bench.errors import DataError, UsageError
from bench.indices import Indices, Named, join, read_indices
from reports.overlap import common, containment, expected_overlap, jaccard, overlap_table


class TestIndices:
    def write(self, path: Path, content: Any) -> Path:
        if path.suffix == ".npy":
            np.save(path, content)
        else:
            path.write_text(content)
        return path

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.npy", np.array([4, 0, 11])),
            ("a.npy", np.array([4, 0, 11], dtype=np.uint16)),
            ("a.txt", "4\n0\n11\n"),
            ("a.txt", "4\r\n0\r\n\r\n11"),
            ("a.csv", "4\n0\n11\n"),
            ("a.csv", "index\n4\n0\n11\n"),
            ("a.csv", "chosen\n4\n0\n11\n"),
            ("a.csv", "file,class,position,rank\nx,c,4,0\ny,c,0,1\nz,c,11,2\n"),
        ],
    )
    def test_all_formats_give_the_same(self, tmp_path: Path, name: str, content: Any) -> None:
        indices = read_indices(self.write(tmp_path / name, content)).numbers
        assert indices.dtype == np.int64
        assert indices.tolist() == [4, 0, 11]

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("a.npy", np.array([0.5]), "not one array of whole numbers"),
            ("a.npy", np.zeros((2, 2), dtype=int), "not one array of whole numbers"),
            ("a.npy", np.array([{}], dtype=object), "is no index file"),
            ("a.npy", np.array([1, 2, 1]), "holds 1 twice"),
            ("a.npy", np.array([-1]), "holds the index -1"),
            ("a.npy", np.array([], dtype=int), "holds no index"),
            ("a.txt", "1\ntwo\n", "is no index file"),
            ("a.txt", "99999999999999999999", "is no index file"),
            ("a.csv", "a,b\n1,2\n", "none of its 2 columns"),
            ("a.csv", "position,b\n\n1,2\n3\n,4", "is no index file"),
            ("a.csv", "", "holds no index"),
        ],
    )
    def test_other_files_are_refused(
        self, tmp_path: Path, name: str, content: Any, told: str
    ) -> None:
        path = self.write(tmp_path / name, content)
        assert told in refusal(DataError, lambda: read_indices(path))

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        assert "cannot read" in refusal(DataError, lambda: read_indices(tmp_path / "a.npy"))

    def numbered(self, root: Path, names: list[str]) -> Named:
        for name in names:
            save(root / name)
        return find_images(root).named

    def test_numbers_in_names_are_the_default(self, tmp_path: Path) -> None:
        files = self.numbered(tmp_path, ["a/00029.png", "b/3.png", "a/1.png"])
        joined = join(Indices(np.array([3, 29, 4])), files)
        assert [files.paths[p] for p in joined.positions] == ["b/3.png", "a/00029.png"]
        assert joined.missing == (4,)

    @pytest.mark.parametrize("names", [["a/1.png", "b/01.png"], ["a/x1.png"], ["a/x.png"]])
    def test_what_is_ambiguous_is_refused(self, tmp_path: Path, names: list[str]) -> None:
        files = self.numbered(tmp_path, names)
        assert "--by position" in refusal(UsageError, lambda: join(Indices(np.array([0])), files))
        assert join(Indices(np.array([0])), files, By.POSITION).positions.tolist() == [0]

    def test_one_number_in_a_longer_name_must_be_asked_for(self, tmp_path: Path) -> None:
        files = self.numbered(tmp_path, ["a/img_07.png", "b/img_12.png"])
        assert join(Indices(np.array([12])), files, By.NAME_NUMBER).positions.tolist() == [1]
        more = self.numbered(tmp_path, ["b/3_of_4.png"])
        assert "does not hold one number" in refusal(
            UsageError, lambda: join(Indices(np.array([12])), more, By.NAME_NUMBER)
        )
        (tmp_path / "b" / "3_of_4.png").rename(tmp_path / "b" / "x7.png")
        same = find_images(tmp_path).named
        assert "2 files have the number 7" in refusal(
            UsageError, lambda: join(Indices(np.array([12])), same, By.NAME_NUMBER)
        )

    def asked(self, path: Path, **options: Any) -> ByIndices:
        given = {"by": None, "allow_missing": False, **options}
        return ByIndices(path=path, indices=read_indices(path), **given)

    def test_a_selection_is_made_again_from_its_own_index_file(
        self, photos: Path, tmp_path: Path
    ) -> None:
        _, images = run(photos, tmp_path / "out", ask(Last()))
        for name in ("kept.csv", "kept.npy"):
            asked = self.asked(tmp_path / "out" / name, by=By.POSITION)
            manifest, again = run(photos, tmp_path / name.replace(".", "-"), asked)
            assert again == images
            assert manifest["notes"][0].startswith("4 of the 4 indices")
            kept = (tmp_path / name.replace(".", "-") / "kept.csv").read_text()
            assert kept == (tmp_path / "out" / "kept.csv").read_text()

    def numbered_photos(self, root: Path) -> Path:
        """Give twelve numbered images whose order by path is not that of their numbers."""
        for number in range(12):
            save(root / "abc"[number % 3] / f"{number:05d}.png", number)
        return root

    @pytest.mark.parametrize(("name", "by"), [("kept.csv", By.FILE), ("kept.npy", By.POSITION)])
    def test_our_own_index_files_say_what_they_mean(
        self, tmp_path: Path, name: str, by: By
    ) -> None:
        place = self.numbered_photos(tmp_path / "photos")
        _, images = run(place, tmp_path / "out", ask(Last()))
        manifest, again = run(place, tmp_path / "again", self.asked(tmp_path / "out" / name))
        assert again == images
        assert f"(by {by})" in manifest["notes"][0]

    def test_a_bare_array_that_may_mean_both_is_refused(self, tmp_path: Path) -> None:
        place = self.numbered_photos(tmp_path / "photos")
        bare = self.write(tmp_path / "a.npy", np.array([1, 11]))
        text = refusal(UsageError, lambda: run(place, tmp_path / "out", self.asked(bare)))
        assert "--by name-number" in text
        assert "--by position" in text
        asked = self.asked(bare, by=By.NAME_NUMBER)
        assert run(place, tmp_path / "n", asked)[1].keys() == {"b/00001.png", "c/00011.png"}
        asked = self.asked(bare, by=By.POSITION)
        assert run(place, tmp_path / "p", asked)[1].keys() == {"a/00003.png", "c/00011.png"}

    def test_a_bare_array_is_no_matter_where_both_mean_the_same(self, tmp_path: Path) -> None:
        files = self.numbered(tmp_path, ["a/0.png", "a/1.png", "b/2.png"])
        assert join(Indices(np.array([2, 0])), files).positions.tolist() == [2, 0]

    def test_missing_numbers_point_to_positions(self, tmp_path: Path) -> None:
        place = self.numbered_photos(tmp_path / "photos")
        (place / "b" / "00001.png").unlink()
        bare = self.write(tmp_path / "a.npy", np.array([1, 10]))
        for by in (None, By.NAME_NUMBER):
            text = refusal(UsageError, partial(run, place, tmp_path / "o", self.asked(bare, by=by)))
            assert "--by position" in text

    def test_names_that_are_not_there_are_told(self, tmp_path: Path) -> None:
        place = self.numbered_photos(tmp_path / "photos")
        path = self.write(tmp_path / "a.csv", "file\nb/00001.png\nb/99.png\n")
        assert "1 are missing, e.g. b/99.png" in refusal(
            UsageError, lambda: run(place, tmp_path / "out", self.asked(path))
        )
        asked = self.asked(path, by=By.POSITION)
        assert "Give --by file" in refusal(UsageError, lambda: run(place, tmp_path / "out", asked))

    def test_missing_ones_are_counted_and_allowed_on_demand(
        self, photos: Path, tmp_path: Path
    ) -> None:
        path = self.write(tmp_path / "a.txt", "3\n99\n98\n")
        text = refusal(
            UsageError,
            lambda: run(photos, tmp_path / "out", self.asked(path, by=By.POSITION)),
        )
        assert "1 of the 3 indices" in text
        assert "2 are missing, e.g. 99, 98" in text
        asked = self.asked(path, by=By.POSITION, allow_missing=True)
        _, images = run(photos, tmp_path / "out", asked)
        assert images.keys() == {"cat/03.png"}

    def test_without_any_file_it_is_refused(self, photos: Path, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.txt", "99\n")
        asked = self.asked(path, by=By.POSITION, allow_missing=True)
        assert "0 of the 1 indices" in refusal(
            UsageError, lambda: run(photos, tmp_path / "out", asked)
        )

    def test_the_released_selection_of_dq_on_real_images(
        self, shared_data: Path, tmp_path: Path
    ) -> None:
        path = shared_data / "dq_select_indices_CIFAR10_0.125.npy"
        if not path.is_file():
            pytest.skip("BENCH_DATA has no released index file")
        place = shared_data / "cifar10-mini.zip"
        released = np.load(path)
        text = refusal(
            UsageError, lambda: run(place, tmp_path / "out", self.asked(path, by=By.NAME_NUMBER))
        )
        asked = self.asked(path, by=By.NAME_NUMBER, allow_missing=True)
        _, images = run(place, tmp_path / "out", asked)
        names = {Path(name).name for name in images}
        with zipfile.ZipFile(place) as archive:
            present = {Path(n).stem for n in archive.namelist() if "/train/" in n}
        expected = {f"{index:05d}.jpg" for index in released if f"{index:05d}" in present}
        assert names == expected
        assert f"{len(released) - len(expected)} are missing" in text
        assert f"{len(expected)} of the {len(released)} indices" in text


def counts_of(draw: np.ndarray, group: np.ndarray) -> np.ndarray:
    return np.bincount(group[draw], minlength=group.max() + 1)


class TestOverlap:
    @given(ours=st.sets(st.integers(0, 30)), theirs=st.sets(st.integers(0, 30)))
    def test_shares_are_those_of_sets(self, ours: set[int], theirs: set[int]) -> None:
        a, b = np.array(sorted(ours), dtype=int), np.array(sorted(theirs), dtype=int)
        assert common(a, b) == len(ours & theirs)
        union = len(ours | theirs)
        assert jaccard(a, b) == (len(ours & theirs) / union if union else 1)
        assert containment(a, b) == (len(ours & theirs) / len(ours) if ours else 1)

    def test_expected_is_the_mean_over_all_pairs_of_draws(self) -> None:
        group = np.array([0, 0, 0, 0, 1, 1, 1])
        ours, theirs = np.array([0, 1, 4]), np.array([1, 2, 3, 5, 6])
        draws = {
            name: [
                set(left + right)
                for left in itertools.combinations(range(4), counts_of(one, group)[0])
                for right in itertools.combinations(range(4, 7), counts_of(one, group)[1])
            ]
            for name, one in (("ours", ours), ("theirs", theirs))
        }
        sizes = [len(a & b) for a in draws["ours"] for b in draws["theirs"]]
        expected = expected_overlap(group, ours, theirs)
        assert math.isclose(expected.mean, np.mean(sizes))
        assert math.isclose(expected.deviation, np.std(sizes))

    def test_groups_of_one_and_unused_labels_are_fine(self) -> None:
        expected = expected_overlap([5, 9, 9], np.array([0]), np.array([0, 1]))
        assert expected == (1.0, 0.0)

    def test_the_table_has_a_row_a_pair(self) -> None:
        table = overlap_table(
            {"a": np.array([0, 1]), "b": np.array([1, 2]), "c": np.array([3])}, np.zeros(4, int)
        )
        assert [row["pair"] for row in table.rows] == ["a / b", "a / c", "b / c"]
        first = table.rows[0]
        assert (first["common"], first["jaccard"], first["ours_in_theirs"]) == (1, 1 / 3, 0.5)
        assert table.texts()[0][4] == "1.0 ± 0.6"


def test_a_path_of_a_copy_means_the_image_at_the_same_place_below_train():
    def joined(name: str, *paths: str) -> list[int]:
        return join(Indices(names=(name,)), Named(paths, "here"), By.FILE).positions.tolist()

    assert joined("copy/train/cat/0.png", "train/dog/0.png", "train/cat/0.png") == [1]
    assert joined("copy/train/cat/0.png", "cat/0.png") == [0]
    assert joined("train/cat/0.png", "cat/0.png", "train/cat/0.png") == [1]
    assert joined("copy/train/cat/0.png", "a/train/cat/0.png", "b/train/cat/0.png") == []
