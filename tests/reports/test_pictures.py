"""Contact sheets, and the command that draws what methods keep."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.budgets import Budget
from bench.cli import cli
from bench.cli.pictures import file_names
from bench.contract import METHODS, CompressedSet, ImageDataset
from bench.errors import UsageError
from reports.pictures import (
    COLUMNS,
    ROWS,
    caption,
    caption_of,
    contact_sheet,
    first_pictures,
    fitted,
    method_sheet,
    printable,
)
from reports.report import write_report


def opened(sheet: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(sheet))
    image.load()
    return image.convert("RGB")


def plain(level: int, side: int = 16) -> np.ndarray:
    return np.full((side, side, 3), level, dtype=np.uint8)


def set_of(counts: list[int], shape: tuple[int, int, int] = (8, 8, 3)) -> ImageDataset:
    """Images of one grey level each: 10 times their number."""
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    levels = (10 * np.arange(len(labels))).astype(np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (len(labels), *shape)).copy()
    names = tuple(f"class {c}" for c in range(len(counts)))
    return ImageDataset(images, labels, names, tuple(f"{i:03d}" for i in range(len(labels))))


def levels_of(shown: dict[str, list[np.ndarray]]) -> dict[str, list[int]]:
    return {name: [int(p[0, 0, 0]) for p in row] for name, row in shown.items()}


def test_pictures_stand_in_their_rows_in_order():
    sheet = opened(contact_sheet({"cat": [plain(0), plain(120)], "dog": [plain(250)]}))
    pixels = np.asarray(sheet).astype(int)
    left = int(np.flatnonzero(pixels[:16].max(axis=(0, 2)) < 60)[0])
    row = pixels[8, left:].mean(axis=1)
    assert left < 60  # as wide as the names
    assert sheet.size[1] == 2 * 20
    assert abs(row[8] - 0) < 12
    assert abs(row[28] - 120) < 12
    assert abs(pixels[28, left + 8].mean() - 250) < 12
    assert pixels[28, left + 28].min() > 240  # the second row has one picture only


def test_a_caption_stands_above_and_takes_the_lines_that_it_needs():
    rows = {"cat": [plain(0)]}
    heights = [
        opened(contact_sheet(rows, text)).size[1] for text in ("", "short", "two words " * 20)
    ]
    assert heights[0] < heights[1] < heights[2]
    top = np.asarray(opened(contact_sheet(rows, "short")))[: heights[1] - heights[0]]
    assert top.min() < 100  # letters
    one_word = opened(contact_sheet(rows, "x" * 400))
    assert one_word.size[0] == opened(contact_sheet(rows)).size[0]


def test_nothing_to_show_gives_a_sheet_all_the_same():
    assert opened(contact_sheet({})).size[1] == 5
    assert opened(contact_sheet({"cat": []})).size[1] >= 1


def test_the_strip_of_names_is_as_wide_as_the_widest():
    short, wide = ({name: [plain(0)] * 20} for name in ("0", "W" * 22))
    assert opened(contact_sheet(wide)).size[0] > opened(contact_sheet(short)).size[0] + 200


def test_names_are_made_printable():
    assert printable("a\nb`c\u200b") == "a?b?c?"
    opened(contact_sheet({"a\nb" + "x" * 50: [plain(0)]}, "odd \x07 caption"))


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 3), (4, 8, 3), (9, 5, 1), (64, 64, 3)])
def test_any_image_fits_into_the_square(shape):
    pixels = np.zeros(shape, dtype=np.uint8)
    square = fitted(pixels, 16)
    assert square.shape == (16, 16, 3)
    assert square.dtype == np.uint8
    share = min(shape[:2]) / max(shape[:2])
    dark = (square.max(axis=2) < 128).mean()
    assert abs(dark - share) < 0.1  # the rest is white


def test_floats_are_rounded_and_clipped():
    row = np.array([-40.0, 0.4, 99.6, 300.0], dtype=np.float32)
    image = np.broadcast_to(row[:, None, None], (4, 4, 3))
    assert fitted(image, 4)[:, 0, 0].tolist() == [0, 0, 100, 255]


def test_the_first_of_every_class_are_shown_in_the_order_of_the_set():
    train = set_of([3, 2, 12])
    kept = CompressedSet(np.array([2, 16, 4, 0, 7, 1]))
    assert levels_of(first_pictures(kept, train)) == {
        "class 0": [20, 0, 10],
        "class 1": [40],
        "class 2": [160, 70],
    }
    everything = CompressedSet(np.arange(17)[::-1].copy())
    shown = levels_of(first_pictures(everything, train))
    assert shown["class 2"] == [10 * i for i in range(16, 16 - COLUMNS, -1)]


def test_what_a_method_made_is_shown_instead():
    train = set_of([2, 2])
    images = train.images[:2] + np.uint8(100)
    reconstructed = CompressedSet(np.array([3, 0]), images=images)
    assert levels_of(first_pictures(reconstructed, train)) == {"class 0": [110], "class 1": [100]}
    synthetic = CompressedSet(
        np.empty(0, dtype=np.int64),
        images=images.astype(np.float32),
        labels=np.array([1, 1]),
    )
    assert levels_of(first_pictures(synthetic, train)) == {"class 0": [], "class 1": [100, 110]}


def test_many_classes_are_cut():
    assert len(first_pictures(CompressedSet(np.arange(25)), set_of([1] * 25))) == ROWS


def test_the_caption_tells_method_ratio_seed_data_and_what_is_seen():
    train = set_of([3, 3])
    kept = CompressedSet(np.array([0, 3]))
    told = caption(METHODS.make_one("dq[bins=5]"), Budget.parse("33.3"), 4, kept, train, "toys")
    for part in ("dq[bins=5]", "33.3 %", "seed 4", "toys", "6 images", "selected images: 2"):
        assert part in told
    told = caption(METHODS.make_one("dqas"), Budget.parse("33.3"), 4, kept, train, "toys")
    assert told.startswith("dqas (reconstruction), 33.3 %")
    full = CompressedSet(np.arange(6))
    told = caption(METHODS.make_one("full"), Budget.parse("100"), 4, full, train, "toys")
    assert "seed" not in told
    assert "%" not in told
    method = METHODS.make_one("random")
    heights = [
        opened(method_sheet(method, Budget.parse("10"), 0, kept, train, "toys", side)).size[1]
        for side in (20, 30)
    ]
    assert heights[1] - heights[0] == 2 * 10


def test_every_method_gets_a_file_of_its_own():
    methods = METHODS.make("dq,dq[bins=5],classwise[base=dq[bins=5]],classwise[base=dq[bins=50]]")
    names = file_names([*methods, METHODS.make_one("dq")], Budget.parse("12.5"))
    assert len(names) == 5
    assert list(names)[:2] == ["dq-12.5.jpg", "dq-bins=5-12.5.jpg"]
    assert "dq-12.5-2.jpg" in names
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-=.") for name in names)


def run(*arguments: str) -> None:
    cli.main(args=["pictures", *arguments], prog_name="bench", standalone_mode=False)


@pytest.fixture
def folder(image_folder: Callable[..., Path]) -> list[str]:
    """Options that name a small image folder, and a ratio that keeps three images a class."""
    return ["--dataset", "imagefolder", "--data", str(image_folder()), "--device", "cpu"]


def test_the_command_writes_a_sheet_a_method_and_keeps_its_work(folder, tmp_path, capsys):
    results, out = tmp_path / "results", tmp_path / "out"
    given = [*folder, "--ratio", "50", "--results", str(results), "--out", str(out)]
    names = ["random-50.jpg", "full.jpg", "resize-50.jpg"]
    run("--methods", "random,full,resize", *given)
    assert capsys.readouterr().out.splitlines() == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    widths = {path.name: opened(path.read_bytes()).size[0] for path in out.iterdir()}
    assert widths["full.jpg"] == widths["resize-50.jpg"] > max(widths["random-50.jpg"], 6 * 52)
    stored = {path.name for path in (results / "artefacts").iterdir()}
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    run("--methods", "random,full,resize", *given)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert {path.name for path in (results / "artefacts").iterdir()} == stored
    assert "took the place" not in capsys.readouterr().err
    run("--methods", "random", "--seed", "1", *given)
    assert (out / "random-50.jpg").read_bytes() != before["random-50.jpg"]
    told = capsys.readouterr().err
    assert "note: random-50.jpg took the place of a sheet of: random, 50 %, seed 0. " in told


def test_another_ratio_has_a_sheet_of_its_own(folder, tmp_path, capsys):
    given = ["--methods", "random", *folder, "--out", str(tmp_path / "out")]
    run("--ratio", "50", *given, "--results", str(tmp_path / "results"))
    first = (tmp_path / "out" / "random-50.jpg").read_bytes()
    run("--ratio", "34", *given, "--results", str(tmp_path / "results"))
    assert "took the place" not in capsys.readouterr().err
    assert (tmp_path / "out" / "random-50.jpg").read_bytes() == first
    assert caption_of(tmp_path / "out" / "random-34.jpg").startswith("random, 34 %, seed 0. ")
    assert caption_of(tmp_path / "out" / "nothing.jpg") == ""


@pytest.mark.slow
def test_a_run_finds_what_the_command_selected(folder, tmp_path):
    where = [*folder, "--results", str(tmp_path / "results")]
    run("--methods", "random", "--ratio", "50", "--out", str(tmp_path / "out"), *where)
    stored = {path.name for path in (tmp_path / "results/artefacts").iterdir()}
    cli.main(
        args=["run", "--methods", "random", "--no-baselines", "--ratios", "50", "--seeds", "1",
              "--protocol", "smoke[epochs=1]", *where],
        prog_name="bench", standalone_mode=False,
    )  # fmt: skip
    assert {path.name for path in (tmp_path / "results/artefacts").iterdir()} == stored


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["--methods", "rndom"], "Did you mean 'random'"),
        (["--ratio", "0"], "above 0"),
        (["--ratio", "5,10"], "not a number"),
        (["--dataset", "imagefolder", "--data", "nowhere"], "nowhere"),
        (["--device", "tpu"], "device 'tpu'"),
    ],
)
def test_wrong_use_is_told_and_writes_nothing(given, hint, tmp_path):
    where = ["--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]
    with pytest.raises(UsageError, match=hint):
        run(*given, *where)
    assert not list(tmp_path.iterdir())


def test_sheets_lie_in_the_results_folder_and_become_figures_of_its_report(
    folder, tmp_path, capsys, record
):
    results = tmp_path / "results"
    run("--methods", "random,resize", "--ratio", "50", *folder, "--results", str(results))
    assert capsys.readouterr().out.splitlines()[0] == str(results / "pictures" / "random-50.jpg")
    (results / "pictures" / "broken.jpg").write_bytes(b"no picture")
    write_report(results, [record("dq", "10", 0, 90.0)], (), ("md", "latex"))
    text = (results / "report.md").read_text(encoding="utf-8")
    for name in ("random-50", "resize-50"):
        assert f"(figures/selected-{name}.svg)" in text
        assert b"data:image/png" in (results / "figures" / f"selected-{name}.svg").read_bytes()
        assert (results / "figures" / f"selected-{name}.pdf").stat().st_size > 1000
    assert "shown are the first 10 of every class" in text
    assert "Left out of this report: pictures/broken.jpg is no image" in text
    drawn = (results / "figures" / "selected-random-50.svg").read_bytes()
    write_report(results, [record("dq", "10", 0, 90.0)], (), ("md",), anew=True)
    assert (results / "figures" / "selected-random-50.svg").read_bytes() == drawn
