"""Two processes train as one does; what becomes of a cell when one of them fails."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import augment, training
from bench.augment import Normalisation
from bench.cooperation import Cooperation, joined
from bench.datasets import DATASETS, Source
from bench.errors import DeviceError, TrainingError
from bench.launching import check_processes
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.team import ALONE, Team

COMMAND = [sys.executable, "-c", "from bench.cli import main; main()"]


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
SHARED = (PROTOCOL.format(more=""), PROTOCOL.format(more=",batch_shards=2,last_batch=drop"))
"""One batch normalisation over all processes, and one for each half of a batch."""


def small_job(protocol: str) -> training.Job:
    splits = DATASETS.make_one("digits").load(Source())
    train = splits.train.subset(np.arange(0, 1437, 21))  # 69 images: 32, 32 and 5
    return training.Job(
        model=MODELS.make_one("resnet8[width=4]"),
        protocol=PROTOCOLS.make_one(protocol),
        train=train,
        test=splits.test,
        normalisation=Normalisation.of(train.images),
        seed=0,
        device="cpu",
        weights=np.linspace(0.5, 1.5, len(train), dtype=np.float32),
    )


def in_double_precision() -> None:
    """Have this process compute in float64, where different roundings stay small."""
    fresh, normalised = training.fresh_network, augment.DeviceImages._normalised
    training.fresh_network = lambda *given: fresh(*given).double()
    augment.DeviceImages._normalised = lambda held, pixels: normalised(held, pixels).double()
    torch.Tensor.float = lambda values: values.double()


def run_one_of_two(rank: int, path: str, port: int) -> None:
    torch.set_num_threads(1)
    in_double_precision()
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2",
    }  # fmt: skip
    team = Team(rank, 2)
    with joined(team, torch.device("cpu")):
        trained = [
            training.run(dataclasses.replace(small_job(protocol), team=team)) for protocol in SHARED
        ]
    keep(trained, f"{path}/{rank}.pt")


def keep(trained: list, path: str) -> None:
    torch.save([(net.state_dict(), curve.train_loss, curve.tests) for net, curve in trained], path)


def run_alone(path: str) -> None:
    in_double_precision()
    keep([training.run(small_job(protocol)) for protocol in SHARED], f"{path}/alone.pt")


def test_two_processes_give_the_weights_losses_and_tests_of_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # the processes import this module
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = torch.multiprocessing.get_context("spawn")
    asked = [(run_alone, (str(tmp_path),))]
    asked += [(run_one_of_two, (rank, str(tmp_path), port)) for rank in range(2)]
    started = [context.Process(target=target, args=args) for target, args in asked]
    for process in started:
        process.start()
    for process in started:
        process.join(300)
        assert process.exitcode == 0
    alone, *two = (torch.load(tmp_path / f"{name}.pt") for name in ("alone", 0, 1))
    for rank in two:
        for (expected, losses, tests), found in zip(alone, rank, strict=True):
            weights, own_losses, own_tests = found
            assert own_tests == tests
            assert own_losses == pytest.approx(losses, rel=1e-6)
            for name, value in expected.items():
                if value.is_floating_point():
                    torch.testing.assert_close(weights[name], value, rtol=1e-9, atol=1e-12)


def test_shards_that_processes_cannot_share_are_told():
    from bench.stepping import Trainer

    job = small_job(PROTOCOL.format(more=",batch_shards=3"))
    network = training.fresh_network(job.model, job.train, 0)
    with pytest.raises(TrainingError, match=r"2 processes cannot share the 3 shards of smoke"):
        Trainer(network, job.protocol, job.precision, torch.device("cpu"), team=Team(0, 2))


def start(folder: Path, *more: str, protocol: str) -> subprocess.Popen[str]:
    asked = [
        "run", "--methods", "random", "--no-baselines", "--ratios", "10", "--seeds", "1",
        "--device", "cpu", "--threads", "1", "--gpus-per-cell", "2", "--models", "resnet8[width=4]",
        "--protocol", protocol, *more,
    ]  # fmt: skip
    return subprocess.Popen(
        [*COMMAND, *asked], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for_checkpoint(folder: Path, process: subprocess.Popen[str]) -> Path:
    limit = time.monotonic() + 200
    while time.monotonic() < limit and process.poll() is None:
        for newest in folder.glob("results/checkpoints/*/newest.json"):
            return newest
        time.sleep(0.02)
    pytest.fail(f"there was no checkpoint: {process.communicate()}")


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


def the(folder: Path, kind: str) -> dict:
    (path,) = folder.glob(f"results/{kind}/*.json")
    return json.loads(path.read_text())


LONG = "smoke[epochs=30,test_every=30]"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_killed_process_is_the_cells_failure_and_the_same_command_goes_on(tmp_path):
    process = start(tmp_path, protocol=LONG)
    newest = wait_for_checkpoint(tmp_path, process)
    (order,) = newest.parent.glob("processes-*/order.json")
    os.kill(ranks_of(order)[1], signal.SIGKILL)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1, err
    assert "FAILED in training" in err
    failure = the(tmp_path, "failures")
    assert failure["type"] == "Killed"
    assert "process 1 of 2 was ended by SIGKILL" in failure["message"]
    assert not ranks_of(order)
    state = json.loads(newest.read_text())
    state["progress"]["train_loss"][0] = 123.0
    from bench.storage import write_json

    state.pop("checksum", None)
    write_json(newest, state)

    process = start(tmp_path, protocol=LONG)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    record = the(tmp_path, "records")
    assert record["engine"]["processes"] == 2
    assert record["metrics"]["curve"]["train_loss"][0] == 123.0
    assert len(record["metrics"]["curve"]["train_loss"]) == 30
    assert not list(tmp_path.glob("results/checkpoints/*"))


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_when_the_command_is_killed_no_process_stays(tmp_path):
    process = start(tmp_path, protocol=LONG)
    newest = wait_for_checkpoint(tmp_path, process)
    (order,) = newest.parent.glob("processes-*/order.json")
    assert len(ranks_of(order)) == 2
    process.kill()
    process.communicate()
    limit = time.monotonic() + 60
    while ranks_of(order) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not ranks_of(order)


def test_what_a_process_raises_is_the_failure_record(tmp_path):
    process = start(tmp_path, protocol="smoke[epochs=3,learning_rate=1e30,warmup_epochs=0]")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1
    failure = the(tmp_path, "failures")
    assert failure["type"] == "LossNotFiniteError", failure
    assert "of 2: the loss is" in failure["message"]
    assert "Traceback" not in err


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
