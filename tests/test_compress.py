"""The command ``bench compress``: everyday use, wrong use, interrupted and repeated runs."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import plugins
import pytest
from command import Running
from PIL import Image

from bench.cli import cli
from bench.cli.compress import Asked
from bench.compressing.source import find_images
from bench.errors import DataError, UsageError

pytestmark = pytest.mark.usefixtures("one_thread")

Bench = Callable[..., subprocess.CompletedProcess[str]]
PLUGIN = '''
import time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from bench.contract import CompressedSet, Method, MethodInfo, register

@register("patient")
@dataclass(frozen=True)
class Patient(Method):
    """Score the images, then wait while a file named hang lies about, then keep the brightest."""
    info = MethodInfo(title="patient", paper="none", year=2025, kind="selection", code="none")

    def scores(self, train, ctx):
        def make():
            with open("made", "a") as file:
                file.write("scores\\n")
            return {"light": train.images.mean((1, 2, 3))}
        return ctx.artefact("scores", make)

    def artefacts(self, train, ctx):
        return [self.scores(train, ctx)]

    def compress(self, train, budget, ctx):
        light = self.scores(train, ctx)["light"]
        Path("scored").touch()
        while Path("hang").exists():
            time.sleep(0.02)
        kept = []
        for label, count in enumerate(budget.images_by_class(train.class_counts)):
            members = np.flatnonzero(train.labels == label)
            kept.append(members[np.argsort(-light[members], kind="stable")[:count]])
        return CompressedSet(np.concatenate(kept))
'''


@pytest.fixture
def plugin(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = plugins.install(tmp_path_factory.mktemp("plugins"), "patient", PLUGIN)
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Give ten cats and ten dogs, each brighter than the one before."""
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            grey = Image.new("RGB", (40, 30), (20 * number,) * 3)
            grey.save(tmp_path / "photos" / name / f"{name}-{number}.jpg", quality=95)
    return tmp_path / "photos"


def state(root: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(f): (f.read_bytes(), f.stat().st_mtime_ns) for f in files}


def called(*arguments: str) -> None:
    """Call the command in this process; what goes wrong is raised."""
    cli.main(arguments, prog_name="bench", standalone_mode=False)


def kept(out: Path) -> list[str]:
    with (out / "kept.csv").open() as file:
        return [row["file"] for row in csv.DictReader(file)]


def _images_of(out: Path) -> dict[str, bytes]:
    images = [path for path in out.glob("*/*") if path.is_file()]
    return {str(path.relative_to(out)): path.read_bytes() for path in images}


def _seconds_before(work: Path) -> float:
    """Return the seconds that were spent on an extractor before its training was gone on with."""
    (manifest,) = work.glob("artefacts/extractor-*/manifest.json")
    (cost,) = json.loads(manifest.read_text())["costs"].values()
    return float(cost.get("before_s", 0.0))


@pytest.fixture
def here(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the photos, with their parent as the current folder."""
    monkeypatch.chdir(photos.parent)
    return photos


RANDOM = ("compress", "photos", "--method", "random", "--ratio", "20", "--device", "cpu")
ASKED = ("compress", "photos", "--method", "patient", "--ratio", "20", "--device", "cpu")
BRIGHTEST = ["cat/cat-9.jpg", "cat/cat-8.jpg", "dog/dog-9.jpg", "dog/dog-8.jpg"]


class TestEverydayUse:
    @pytest.mark.usefixtures("plugin")
    def test_a_folder_in_a_smaller_one_out(self, bench: Bench, photos: Path) -> None:
        before = state(photos)
        done = bench(*ASKED, "--out", "small")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("small: 4 of 20 images (20 %) of 2 classes, ")
        assert "Report: small/report.md" in done.stderr
        out = photos.parent / "small"
        assert kept(out) == BRIGHTEST
        assert sorted(p.name for p in out.iterdir()) == [
            "cat", "compression.json", "dog", "kept.csv", "kept.npy", "report.jpg", "report.md",
        ]  # fmt: skip
        assert state(photos) == before
        assert "looked at: `30 x 30 pixels`" in (out / "report.md").read_text()

    @pytest.mark.usefixtures("plugin")
    def test_again_it_answers_at_once_and_imports_nothing_heavy(
        self, bench: Bench, photos: Path
    ) -> None:
        first = bench(*ASKED, "--out", "small")
        watched = (
            "import sys\nfrom bench.cli import main\n"
            "try:\n    main()\nfinally:\n    heavy = ('torch', 'pandas', 'matplotlib')\n"
            "    print('heavy:', *[m for m in heavy if m in sys.modules], file=sys.stderr)"
        )
        again = subprocess.run(
            [sys.executable, "-c", watched, *ASKED, "--out", "small"],
            cwd=photos.parent, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert (again.returncode, again.stdout) == (0, first.stdout)
        assert again.stderr.splitlines()[-1] == "heavy:"
        assert (photos.parent / "made").read_text() == "scores\n"

    def test_a_zip_out_and_json(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        called(*RANDOM, "--out", "small.zip", "--json")
        told = json.loads(capsys.readouterr().out)
        assert told["images"] == {"before": 20, "after": 4}
        assert told["asked"]["words"] == "random, 20 %, seed 0"
        with zipfile.ZipFile("small.zip") as archive:
            listed = archive.read("kept.csv").decode().splitlines()[1:]
            names = [line.split(",")[0] for line in listed]
            assert len(names) == 4
            for name in names:
                assert archive.read(name) == (here / name).read_bytes()

    def test_the_overlap_with_released_indices_is_shown(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        called(*RANDOM, "--out", "small")
        ours = np.load("small/kept.npy")
        others = sorted(set(range(20)) - set(ours))
        np.save("released.npy", np.array([ours[1], others[0], ours[3], 77]))
        capsys.readouterr()
        compare = ("--compare", "released.npy", "--by", "position", "--out", "small")
        called(*RANDOM, *compare)
        shown = capsys.readouterr().out
        (row,) = [line for line in shown.splitlines() if line.startswith("random /")]
        assert row.split()[2:5] == ["4", "3", "2"]
        assert "3 of 4 indices of released.npy have a file (by position)." in shown
        called(*RANDOM, *compare, "--json")
        assert json.loads(capsys.readouterr().out)["overlap"]["rows"][0]["common"] == 2

    def test_the_overlap_stands_in_the_output_and_shared_draws_are_told(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        called(*RANDOM, "--out", "first")
        compare = ("--compare", "first/kept.npy")
        capsys.readouterr()
        called(*RANDOM, "--ratio", "40", *compare, "--out", "more")
        shown = capsys.readouterr()
        assert "note: more was finished before" not in shown.err
        told = json.loads(Path("more/compression.json").read_text())["overlap"]
        assert told["rows"][0]["pair"] == "random / first/kept.npy"
        assert told["rows"][0]["common"] == told["rows"][0]["theirs"] == 4  # draws are nested
        report = Path("more/report.md").read_text()
        assert "### Overlap of selections" in report
        for text in (" ".join(shown.out.split()), report):
            assert "was kept with seed 0 as well (random, 20 %, seed 0)" in text
            assert "share their dice on purpose" in text
        called(*RANDOM, "--seed", "1", *compare, "--out", "other")
        assert "share their dice" not in Path("other/report.md").read_text()
        shutil.copy("first/kept.npy", "alone.npy")
        alone = ("--compare", "alone.npy", "--by", "position")
        called(*RANDOM, *alone, "--out", "third")
        assert "If both were drawn by bench with one seed" in Path("third/report.md").read_text()
        drawn_apart = ("--method", "random[draw=released]", *alone, "--out", "fourth")
        called(*RANDOM, *drawn_apart)
        assert "share their dice" not in Path("fourth/report.md").read_text()

    def test_a_finished_output_is_left_as_it_is_by_a_comparison(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        called(*RANDOM, "--out", "small")
        before = state(Path("small"))
        capsys.readouterr()
        called(*RANDOM, "--out", "small", "--compare", "small/kept.csv")
        assert "note: small was finished before" in capsys.readouterr().err
        assert state(Path("small")) == before

    def test_a_file_is_compared_with_itself(self, here: Path) -> None:
        called(*RANDOM, "--out", "first")
        same = ("--from-indices", "first/kept.npy", "--compare", "first/kept.npy")
        called(*RANDOM[:2], *same, "--out", "again")
        told = json.loads(Path("again/compression.json").read_text())["overlap"]
        (row,) = told["rows"]
        assert row["pair"] == "kept of first/kept.npy / first/kept.npy"
        assert row["common"] == row["theirs"] == 4

    def test_learnt_images_are_written_where_nothing_can_be_compared(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        called(*RANDOM, "--out", "first")
        learnt = ("--method", "dm[iterations=1]", "--size", "8", "--compare", "first/kept.npy")
        called(*RANDOM, *learnt, "--out", "learnt")
        shown = capsys.readouterr()
        assert "learnt: 4 of 20 images" in shown.out
        assert "note: --compare tells nothing here" in shown.err
        assert "overlap" not in json.loads(Path("learnt/compression.json").read_text())

    @pytest.mark.parametrize(
        ("method", "side"),
        [
            ("kcenter", 64),
            ("kcenter[extractor=timm[architecture=resnet18.tv_in1k,pretrained=true]]", 224),
            (
                "classwise[base=adq[edition=released,rounding=exact,class_quota=true,shares=budget]]",
                224,
            ),
            ("dq[drop=0.25,mae=vit-large]", 224),
        ],
    )
    def test_images_are_looked_at_as_large_as_a_pretrained_network_wants(
        self, here: Path, method: str, side: int
    ) -> None:
        asked = Asked(
            method=method, ratio="20", from_indices=None, by=None, allow_missing=False, size=None,
            seed=0, skip_broken=False, is_lossless=False,
        )  # fmt: skip
        assert asked.request(find_images(here)).size == 30  # the photos' own
        for photo in here.glob("*/*.jpg"):
            Image.new("RGB", (400, 300)).save(photo)
        assert asked.request(find_images(here)).size == side
        assert replace(asked, size=100).request(find_images(here)).size == 100

    def test_a_ratio_that_a_method_has_no_use_for_is_told(self, bench: Bench, photos: Path) -> None:
        asked = ("compress", str(photos), "--device", "cpu", "--method", "full")
        told = "note: 'full' keeps everything whatever --ratio 20 says"
        done = bench(*asked, "--ratio", "20", "--out", "all")
        assert done.stdout.startswith("all: 20 of 20 images")
        assert told in done.stderr.splitlines()
        assert "whatever" not in bench(*asked, "--out", "all too").stderr

    def test_seeds_draw_anew(self, here: Path) -> None:
        for seed in ("0", "1"):
            called(*RANDOM, "--seed", seed, "--out", f"seed-{seed}")
        assert kept(Path("seed-0")) != kept(Path("seed-1"))

    def test_released_indices_are_kept_without_a_method(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("picked.txt").write_text("3\n12\n")
        called(
            "compress", "photos", "--from-indices", "picked.txt", "--by", "position",
            "--out", "small",
        )  # fmt: skip
        assert kept(Path("small")) == ["cat/cat-3.jpg", "dog/dog-2.jpg"]
        assert "note: 2 of the 2 indices in picked.txt have a file" in capsys.readouterr().err

    def test_large_images_stream_through_little_memory(self, here: Path) -> None:
        little = ("--memory", str(5 * 30 * 30 * 3 / 2**30))
        asked = ("compress", "photos", "--ratio", "20", "--device", "cpu")
        called(*asked, *little, "--method", "random", "--out", "streamed")
        called(*asked, "--method", "random", "--out", "held")
        assert kept(Path("streamed")) == kept(Path("held"))
        with pytest.raises(
            UsageError, match=r"extractor=resnet8 is trained.*--size 15, .* or more --memory"
        ):
            called(*asked, *little, "--method", "kcenter", "--out", "other")


class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (("--out", "o"), "give --method NAME with --ratio PERCENT, or --from-indices"),
            (("--out", "o", "--method", "random"), "give --ratio"),
            (("--out", "o", "--method", "randon", "--ratio", "20"), "Did you mean 'random'"),
            (("--out", "o", "--method", "random", "--ratio", "0"), "ratio 0 is not allowed"),
            (("--out", "o", "--method", "random", "--ratio", "60b"), "not those of your files"),
            (("--out", "o", "--method", "random", "--ratio", "5"), "leaves class 'dog'"),
            (("--method", "random", "--ratio", "20"), "--out"),
            (("--out", "photos/o", "--method", "random", "--ratio", "20"), "never changed"),
            (
                ("--out", "o", "--from-indices", "x.npy", "--ratio", "20"),
                "takes neither --method nor --ratio",
            ),
            (("--out", "o", "--from-indices", "x.npy"), "cannot read x.npy"),
            (
                ("--out", "o", "--method", "random", "--ratio", "20", "--device", "abacus"),
                "device 'abacus' is not known",
            ),
        ],
    )
    def test_it_is_told_in_a_line_and_nothing_written(
        self, here: Path, arguments: tuple[str, ...], told: str
    ) -> None:
        with pytest.raises((UsageError, click.UsageError)) as caught:
            called("compress", "photos", *arguments)
        error = caught.value
        text = error.format_message() if isinstance(error, click.UsageError) else str(error)
        assert told in text
        assert "\n" not in text
        assert {path.name for path in here.parent.iterdir()} == {"photos"}

    def test_broken_images_are_named_and_skipped_on_demand(
        self, here: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (here / "cat" / "cat-9.jpg").write_bytes(b"no image")
        with pytest.raises(DataError, match=r"1 of 20 images cannot be read: cat/cat-9\.jpg"):
            called(*RANDOM, "--out", "small")
        called(*RANDOM, "--out", "small", "--skip-broken")
        told = capsys.readouterr().err
        assert "1 file could not be read, left out: cat/cat-9.jpg" in told
        assert len(kept(Path("small"))) == 4


class TestInterruptedRuns:
    @pytest.mark.usefixtures("plugin")
    @pytest.mark.parametrize(
        ("how", "out"), [(signal.SIGKILL, "small.zip"), (signal.SIGINT, "small")]
    )
    def test_the_same_command_goes_on(
        self, bench: Bench, photos: Path, out: str, how: signal.Signals
    ) -> None:
        folder = photos.parent
        before = state(photos)
        (folder / "hang").touch()
        process = Running([*ASKED, "--out", out], folder)
        try:
            deadline = time.monotonic() + 120
            while not (folder / "scored").exists() and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(how)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == (-how if how == signal.SIGKILL else 130), told
        assert ("interrupted" in told) == (how == signal.SIGINT)
        assert not (folder / out).exists()
        assert (folder / f".{out}.bench-work").is_dir()

        (folder / "hang").unlink()
        done = bench(*ASKED, "--out", out)
        assert done.returncode == 0, done.stderr
        assert (folder / "made").read_text() == "scores\n", "the scores were computed again"
        assert state(photos) == before
        assert {p.name for p in folder.iterdir()} == {"photos", "made", "scored", out}
        if out == "small":
            assert kept(folder / out) == BRIGHTEST

    def test_killed_while_it_trains_its_extractor_it_goes_on_from_there(
        self, bench: Bench, photos: Path
    ) -> None:
        folder = photos.parent
        asked = (
            "compress", "photos", "--method", "herding[extractor_epochs=40]", "--ratio", "20",
            "--size", "16", "--device", "cpu", "--threads", "1", "--keep-work",
        )  # fmt: skip
        before, outs = state(photos), ("killed", "whole")
        process = Running([*asked, "--out", "killed"], folder)
        try:
            while not list(folder.glob(".killed.bench-work/checkpoints/extractor-*/newest.json")):
                assert process.poll() is None
                time.sleep(0.002)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not list(folder.glob(".killed.bench-work/artefacts/extractor-*"))
        assert not (folder / "killed").exists()

        for out in outs:
            done = bench(*asked, "--out", out)  # what other tests registered is not in its stamp
            assert done.returncode == 0, done.stderr
        assert _images_of(folder / "killed") == _images_of(folder / "whole")
        assert kept(folder / "killed") == kept(folder / "whole")
        assert state(photos) == before
        went_on, began = (_seconds_before(folder / f".{out}.bench-work") for out in outs)
        assert went_on > 0 == began
