"""Two processes train as one does; what becomes of a cell when one of them fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import augment, training
from bench.augment import Normalisation
from bench.budgets import Budget
from bench.cells import Cell, Plan, Sweep
from bench.checkpoints import Checkpoint
from bench.contract import METHODS, ImageDataset
from bench.cooperation import Cooperation, joined
from bench.datasets import DATASETS, Source
from bench.errors import DeviceError, TrainingError
from bench.execution import execute
from bench.launching import Order, check_processes
from bench.models import MODELS, Model
from bench.models.base import Shape
from bench.models.convolutions import Convolution, by_place
from bench.models.networks import Features, Network
from bench.progress import Progress
from bench.protocols import PROTOCOLS
from bench.results import Results
from bench.storage import write_json
from bench.team import ALONE, Team


class TestTeams:
    @given(st.integers(1, 500), st.integers(1, 8), st.integers(1, 4))
    def test_pieces_are_all_of_a_batch_once_and_in_order(self, count, size, times):
        shards = size * times
        pieces = [p for rank in range(size) for p in Team(rank, size).pieces(count, shards)]
        places = np.arange(count)
        assert [p.number for p in pieces] == list(range(shards))
        assert np.concatenate([places[p.images] for p in pieces]).tolist() == places.tolist()
        assert sum(p.share for p in pieces) == pytest.approx(1)

    def test_one_process_takes_a_batch_as_a_whole(self):
        (piece,) = ALONE.pieces(7)
        assert (piece.images, piece.share) == (slice(0, 7), 1)

    def test_tested_images_are_divided_without_repetition(self):
        parts = [np.arange(361)[Team(rank, 4).part(361)] for rank in range(4)]
        assert np.concatenate(parts).tolist() == list(range(361))


PROTOCOL = "smoke[epochs=2,test_every=2,batch_size=32{more}]"


class Windows(Network):
    """A network without batch normalisation that fails without an image, as Swin does."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.nn.Linear(64, 10)

    def features(self, images: torch.Tensor) -> Features:
        windows = images.contiguous().view(len(images), -1, 16)
        return Features(windows.flatten(1), images.new_empty(len(images), 0))

    def classify(self, penultimate: torch.Tensor) -> torch.Tensor:
        return self.last(penultimate)


@dataclass(frozen=True)
class Windowed(Model):
    """:class:`Windows` as a model."""

    def build(self, shape: Shape, classes: int) -> Network:
        return Windows()


RESNET = MODELS.make_one("resnet8[width=4]")


@dataclass(frozen=True)
class ByPlace(Model):
    """The same network; its convolutions go over their maps place by place."""

    def build(self, shape: Shape, classes: int) -> Network:
        network = RESNET.build(shape, classes)
        for layer in network.modules():
            if isinstance(layer, Convolution):
                layer.forward = partial(placed, layer)
        return network


def placed(layer: Convolution, images: torch.Tensor) -> torch.Tensor:
    if not len(images):
        return Convolution.forward(layer, images)
    return by_place(images, layer.weight, layer.stride[0])


TOGETHER = [
    (RESNET, 69, ""),  # 32, 32 and 5 images; one batch normalisation over all processes
    (RESNET, 69, ",batch_shards=2,last_batch=drop"),  # and one for each half of a batch
    (ByPlace(), 33, ""),  # 32 images and 1: one of the processes has none
    (Windowed(), 1, ""),  # one of the processes has no image
]


def small_job(more: str, model: Model = RESNET, count: int = 69, team: Team = ALONE):
    rng = np.random.default_rng(0)
    train, test = (
        ImageDataset(
            rng.integers(0, 256, (images, 8, 8, 1), dtype=np.uint8), np.arange(images) % 10,
            tuple("0123456789"), tuple(f"{number:03}" for number in range(images)),
        )
        for images in (count, 50)
    )  # fmt: skip
    return training.Job(
        model=model,
        protocol=PROTOCOLS.make_one(PROTOCOL.format(more=more)),
        train=train,
        test=test,
        normalisation=Normalisation.of(test.images),
        seed=0,
        device="cpu",
        weights=np.linspace(0.5, 1.5, count, dtype=np.float32),
        team=team,
    )


def in_double_precision(patch: pytest.MonkeyPatch) -> None:
    """Have this process compute in float64, where different roundings stay small."""
    fresh, normalised = training.fresh_network, augment.DeviceImages._normalised
    patch.setattr(training, "fresh_network", lambda *given: fresh(*given).double())
    patch.setattr(
        augment.DeviceImages, "_normalised", lambda held, pixels: normalised(held, pixels).double()
    )
    patch.setattr(torch.Tensor, "float", lambda values: values.double())


def trained(team: Team = ALONE) -> list:
    """What each job of :data:`TOGETHER` comes to: weights, losses, tests."""
    runs = [training.run(small_job(more, model, n, team)) for model, n, more in TOGETHER]
    return [(network.state_dict(), curve.train_loss, curve.tests) for network, curve in runs]


def gone_on_from(job: training.Job, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Train for an epoch, and then from its checkpoint to the end; return the weights."""

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        training.run(job, checkpoint, stop)
    torch.distributed.barrier()
    assert checkpoint.load().epoch == 1
    torch.distributed.barrier()
    return training.run(job, checkpoint)[0].state_dict()


def run_one_of_two(rank: int, path: str, port: int) -> None:
    torch.set_num_threads(1)
    in_double_precision(pytest.MonkeyPatch())
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2",
    }  # fmt: skip
    team = Team(rank, 2)
    with joined(team, torch.device("cpu")):
        resumed = gone_on_from(small_job("", team=team), Checkpoint(Path(path, "state")))
        torch.save((trained(team), resumed), f"{path}/{rank}.pt")


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list:
    """What two processes have trained together, and what of it after an interruption."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])  # the processes import this module
        context = torch.multiprocessing.get_context("spawn")
        asked = [(rank, str(folder), port) for rank in range(2)]
        started = [context.Process(target=run_one_of_two, args=args) for args in asked]
        for process in started:
            process.start()
        for process in started:
            process.join(300)
            assert process.exitcode == 0
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_two_processes_give_the_weights_losses_and_tests_of_one(two, monkeypatch):
    in_double_precision(monkeypatch)
    alone = trained()
    for found_of_all, _ in two:
        for (expected, losses, tests), found in zip(alone, found_of_all, strict=True):
            weights, own_losses, own_tests = found
            assert own_tests == tests
            assert own_losses == pytest.approx(losses, rel=1e-6)
            for name, value in expected.items():
                if value.is_floating_point():
                    torch.testing.assert_close(weights[name], value, rtol=1e-9, atol=1e-12)


def test_two_processes_that_went_on_from_a_checkpoint_have_the_weights_of_others_bit_by_bit(two):
    for found_of_all, resumed in two:
        weights, _, _ = found_of_all[0]
        assert weights.keys() == resumed.keys()
        assert all(torch.equal(value, resumed[name]) for name, value in weights.items())


def test_shards_that_processes_cannot_share_are_told():
    from bench.stepping import Trainer

    job = small_job(",batch_shards=3")
    network = training.fresh_network(job.model, job.train, 0)
    with pytest.raises(TrainingError, match=r"2 processes cannot share the 3 shards of smoke"):
        Trainer(network, job.protocol, job.precision, torch.device("cpu"), team=Team(0, 2))


def ranks_of(order: Path) -> dict[int, int]:
    """The processes that train together, by rank; only those that live."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"bench.rank" in words and str(order).encode() in words:
            rank = next(w for w in environment if w.startswith(b"RANK="))
            found[int(rank[5:])] = int(entry.name)
    return found


def cell_of(source: Source, protocol: str) -> Cell:
    dataset = DATASETS.make_one("imagefolder")
    sweep = Sweep(
        dataset=dataset,
        fingerprint=dataset.fingerprint(source),
        methods=METHODS.make("random"),
        budgets=[Budget.parse("50")],
        models=[RESNET],
        protocols=PROTOCOLS.make(protocol),
        seeds=1,
    )
    (cell,) = Plan.of(sweep).cells
    return cell


LONG = "smoke[epochs=40,test_every=40]"


class Killing(Progress):
    """Kills a process that trains as soon as a checkpoint is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.order = Path()

    def stage(self, stage: str, done: int, total: int) -> None:
        if stage == "training" and done and not self.order.name:
            (self.order,) = self._folder.glob("checkpoints/*/processes-*/order.json")
            os.kill(ranks_of(self.order)[1], signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_killed_process_is_the_cells_failure_and_the_same_run_goes_on(tmp_path, image_folder):
    source, warnings = Source(image_folder(train=60, test=5)), []
    results = Results(tmp_path / "results", warnings.append)
    cell, killing = cell_of(source, LONG), Killing(results.folder)
    running = {"threads": 1, "gpus_per_cell": 2}
    outcome = execute(Plan((cell,)), results, source, "cpu", killing, **running)
    assert outcome.failed == [cell.id]
    assert "one is usually faster. Leave --gpus-per-cell" in warnings[-1]
    failure = results.failure(cell.id)
    assert failure["type"] == "Killed"
    assert "process 1 of 2 was ended by SIGKILL" in failure["message"]
    assert not ranks_of(killing.order)
    (newest,) = results.folder.glob("checkpoints/*/newest.json")
    state = json.loads(newest.read_text())
    state["progress"]["train_loss"][0] = 123.0
    state.pop("checksum", None)
    write_json(newest, state)

    outcome = execute(Plan((cell,)), results, source, "cpu", **running)
    assert outcome.computed == [cell.id]
    record = results.record(cell.id)
    assert record["engine"]["processes"] == 2
    assert record["metrics"]["curve"]["train_loss"][0] == 123.0
    assert len(record["metrics"]["curve"]["train_loss"]) == 40
    assert not list(results.folder.glob("checkpoints/*"))


STARTER = """
import sys
from pathlib import Path
from bench import launching
launching._started(Path(sys.argv[1])).wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_when_the_process_that_started_them_is_killed_none_stays(tmp_path, image_folder):
    source = Source(image_folder(train=60, test=5))
    cell = cell_of(source, "smoke[epochs=100000]")
    path = tmp_path / "order.json"
    Order(cell, tmp_path / "results", source, "cpu", 2, 1, "stamp").save(path)
    process = subprocess.Popen([sys.executable, "-c", STARTER, str(path)])
    limit = time.monotonic() + 200
    while not list(tmp_path.glob("results/checkpoints/*/newest.json")):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert len(ranks_of(path)) == 2
    process.kill()
    process.wait()
    limit = time.monotonic() + 60
    while ranks_of(path):
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_what_a_process_raises_is_the_failure_record(bench, tmp_path, image_folder):
    done = bench(
        "run", "--dataset", "imagefolder", "--data", str(image_folder(train=60, test=5)),
        "--methods", "random", "--no-baselines", "--ratios", "50", "--seeds", "1",
        "--device", "cpu", "--threads", "1", "--gpus-per-cell", "2", "--models", "resnet8[width=4]",
        "--protocol", "smoke[epochs=3,learning_rate=1e30,warmup_epochs=0]",
    )  # fmt: skip
    assert done.returncode == 1
    assert "FAILED in training" in done.stderr
    (failure,) = Results(tmp_path / "results").failures()
    assert failure["type"] == "LossNotFiniteError", failure
    assert "of 2: the loss is" in failure["message"]
    assert "Traceback" not in done.stderr


def test_more_gpus_than_there_are_is_wrong_use():
    with pytest.raises(DeviceError, match="--gpus-per-cell 2 takes the first GPUs"):
        check_processes("cuda:0", 2)
    with pytest.raises(DeviceError, match="torch sees"):
        check_processes("cuda", 1000)
    check_processes("cpu", 2)


def test_a_normalisation_for_every_look_is_refused_where_processes_share_a_whole_batch():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    looks = "augmentation_splits=2,split_norm=true"
    with pytest.raises(TrainingError, match=r"2 processes .* batch_shards=2"):
        Cooperation(network, Team(0, 2), PROTOCOLS.make_one(f"smoke[{looks}]"))


class NormalisedWindows(Windows):
    """A network that normalises over a batch and fails without an image, as CoAtNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(1)

    def features(self, images: torch.Tensor) -> Features:
        return super().features(self.norm(images))


def test_a_network_that_cannot_do_without_an_image_is_refused_only_where_there_is_none():
    network = NormalisedWindows()
    together = Cooperation(network, ALONE, PROTOCOLS.make_one("smoke"))
    assert together(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    mean = network.norm.running_mean.clone()
    with pytest.raises(TrainingError, match=r"fails without an image \(.*last_batch=drop"):
        together(torch.zeros(0, 1, 8, 8))
    assert network.training
    assert torch.equal(network.norm.running_mean, mean)


def test_a_network_that_normalises_and_does_without_an_image_is_given_none():
    network = training.fresh_network(RESNET, small_job("").train, 0)
    together = Cooperation(network, ALONE, PROTOCOLS.make_one("smoke"))
    logits = together(torch.zeros(0, 1, 8, 8))
    assert logits.shape == (0, 10)
    assert logits.requires_grad
