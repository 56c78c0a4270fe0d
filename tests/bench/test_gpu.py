from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from bench import execution, training
from bench.augment import DeviceImages, Normalisation
from bench.batches import ResidentBatches
from bench.budgets import Budget
from bench.calibration import calibrate
from bench.cells import Plan, Sweep
from bench.checkpoints import Checkpoint
from bench.contract import METHODS
from bench.datasets import DATASETS, Source
from bench.devices import free_memory
from bench.execution import resolve_device
from bench.feeding import Feed
from bench.models import MODELS, networks
from bench.precision import choose
from bench.protocols import PROTOCOLS
from bench.results import Results
from bench.stepping import WARM_UP, Trainer
from bench.streaming import StreamedBatches

pytestmark = pytest.mark.gpu


@pytest.fixture
def job():
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    execution.prepare_torch(torch.get_num_threads())
    splits = DATASETS.make_one("digits").load(Source())
    return training.Job(
        model=MODELS.make_one("resnet8[width=8]"),
        protocol=PROTOCOLS.make_one("smoke[epochs=4]"),
        train=splits.train.subset(np.arange(0, 1400, 5)),
        test=splits.test,
        normalisation=Normalisation.of(splits.train.images),
        seed=0,
        device=resolve_device("auto"),
    )


def test_auto_takes_the_gpu(job):
    assert job.device == "cuda"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_job_gives_the_same_weights_on_a_gpu(job, precision):
    job = dataclasses.replace(job, protocol=dataclasses.replace(job.protocol, precision=precision))
    first, again = (training.weights_digest(training.run(job)[0]) for _ in range(2))
    assert first == again


def test_resumed_equals_uninterrupted_on_a_gpu(job, tmp_path):
    straight, _ = training.run(job)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(job, Checkpoint(tmp_path), stop)
    resumed, _ = training.run(job, Checkpoint(tmp_path))
    assert training.weights_digest(resumed) == training.weights_digest(straight)


def test_a_gpu_gives_a_cpus_accuracy_within_chance(job):
    _, on_gpu = training.run(job)
    _, on_cpu = training.run(dataclasses.replace(job, device="cpu"))
    assert abs(sum(on_gpu.tests[4]) - sum(on_cpu.tests[4])) < 40  # of 360


SPECS = [
    "smoke[epochs=4]",
    "smoke[epochs=4,precision=bf16]",
    "smoke[epochs=4,optimizer=adamw]",
    "smoke[epochs=4,last_batch=even]",
    "smoke[epochs=4,augmentation_splits=2,split_norm=true,jsd_weight=1]",
]


def eager(job, monkeypatch):
    """Train without a captured step."""
    with monkeypatch.context() as patch:
        patch.setattr("bench.stepping.WARM_UP", 10**9)
        network, curve = training.run(job)
    assert not curve.is_captured
    return training.weights_digest(network), curve.train_loss


@pytest.mark.parametrize("spec", SPECS)
def test_captured_steps_give_the_weights_of_eager_ones(job, monkeypatch, spec):
    job = dataclasses.replace(job, protocol=PROTOCOLS.make_one(spec))
    network, curve = training.run(job)
    assert curve.is_captured
    assert (training.weights_digest(network), curve.train_loss) == eager(job, monkeypatch)


@pytest.mark.parametrize("spec", SPECS)
def test_the_next_seeds_are_trained_by_the_same_graphs(job, spec):
    trainers = training.Trainers()
    for seed in (0, 1, 2, 0):
        again = dataclasses.replace(job, protocol=PROTOCOLS.make_one(spec), seed=seed)
        shared, _ = training.run(again, trainers=trainers)
        digest = training.weights_digest(shared)
        alone, _ = training.run(again)
        assert digest == training.weights_digest(alone)


def resident(job, device):
    padding = job.protocol.padding
    held = DeviceImages(job.train.images, job.train.labels, job.normalisation, device, padding)
    return ResidentBatches(held, job.train.labels, job)


def streamed(job, device):
    return StreamedBatches(job.train, dataclasses.replace(job, feed=Feed(workers=1)), device)


@pytest.mark.parametrize("made", [resident, streamed])
@pytest.mark.parametrize("augmentation", ["crop", "crop+flip", "dsa"])
def test_no_step_waits_for_the_gpu(job, augmentation, made):
    protocol = dataclasses.replace(job.protocol, augmentation=augmentation)
    job = dataclasses.replace(job, protocol=protocol)
    device = torch.device("cuda")
    network = training.fresh_network(job.model, job.train, 0)
    trainer = Trainer(network, protocol, choose(protocol, job.model, "cuda"), device)
    batches = made(job, device)
    steps = protocol.steps_per_pass(job.load)
    with contextlib.closing(batches), training.deterministic(), trainer.at_work():
        trainer.begin_epoch()
        first = steps * (WARM_UP + 2)
        for step in range(first):
            trainer.step(batches.at(step), batches, 0.01)
        batches.at(first)  # the order of the next pass is drawn
        torch.cuda.set_sync_debug_mode("error")
        try:
            for step in range(first + 1, first + steps):
                trainer.step(batches.at(step), batches, 0.01)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_networks_with_random_layers_are_not_captured_and_resume(job, tmp_path):
    protocol = dataclasses.replace(PROTOCOLS.make_one("transformer"), epochs=3, warmup_epochs=1)
    job = dataclasses.replace(
        job, model=MODELS.make_one("swin"), protocol=protocol, train=job.train.subset(range(64))
    )
    straight, curve = training.run(job)
    assert not curve.is_captured

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(job, Checkpoint(tmp_path), stop)
    resumed, _ = training.run(job, Checkpoint(tmp_path))
    assert training.weights_digest(resumed) == training.weights_digest(straight)


class Waits(networks.ResNet):
    """A network that reads a value from the device in every step, which no graph can hold."""

    def classify(self, penultimate):
        float(penultimate.detach().sum())
        return super().classify(penultimate)


def test_a_step_that_cannot_be_captured_is_made_operation_by_operation(job, monkeypatch):
    def fresh(model, train, seed):
        torch.manual_seed(seed)
        return Waits(1, 10, [4], [1]).to(memory_format=torch.channels_last)

    with monkeypatch.context() as patch:
        patch.setattr(training, "fresh_network", fresh)
        network, curve = training.run(job)
        assert not curve.is_captured
        assert curve.capture_failure
        assert (training.weights_digest(network), curve.train_loss) == eager(job, monkeypatch)
    _, curve = training.run(job)  # the GPU is none the worse for it
    assert (curve.is_captured, curve.capture_failure) == (True, "")


def test_packed_cells_are_those_of_a_run_one_after_the_other_on_a_gpu(job, tmp_path):
    sweep = Sweep(
        dataset=DATASETS.make_one("digits"),
        fingerprint="f",
        methods=METHODS.make("random"),
        budgets=[Budget.parse("10"), Budget.parse("30")],
        models=[job.model],
        protocols=[job.protocol],
        seeds=2,
    )
    plan = Plan.of(sweep)
    packed, plain = Results(tmp_path / "packed"), Results(tmp_path / "plain")
    execution.execute(plan, packed, Source(), "cuda", pack=3)
    execution.execute(plan, plain, Source(), "cuda")
    for cell in plan.cells:
        one, other = packed.record(cell.id), plain.record(cell.id)
        assert one["weights_digest"] == other["weights_digest"]
        assert one["cost"]["gpu_hours"] > 0
        assert one["provenance"]["device"]["driver"]


def test_a_batch_that_does_not_fit_is_told_with_one_that_does(job):
    from bench.fitting import fitting_batch

    protocol = dataclasses.replace(job.protocol, batch_size=2**20)
    many = np.zeros(2**20, np.int64)
    train = dataclasses.replace(
        job.train, images=np.broadcast_to(job.train.images[:1], (2**20, 8, 8, 1)), labels=many,
        keys=tuple(map(str, range(2**20))),
    )  # fmt: skip
    wide = MODELS.make_one("resnet8[width=1024]")
    job = dataclasses.replace(job, protocol=protocol, train=train, model=wide, test=None)
    with pytest.raises(torch.OutOfMemoryError):
        training.run(job)
    size = fitting_batch(job)
    assert 0 < size < 2**20


@pytest.mark.parametrize("last", ["keep", "even"])
def test_graphs_of_all_batch_shapes_share_one_pool(job, last):
    job = dataclasses.replace(job, protocol=dataclasses.replace(job.protocol, last_batch=last))
    trainers = training.Trainers()
    training.run(job, trainers=trainers)  # 280 images: steps of 32 and one of 24, or of 32 and 31
    (_, trainer) = trainers._kept
    graphs = [captured.run.__self__ for captured in trainer._graphs.values()]
    assert len(graphs) == 2
    assert len({graph.pool() for graph in graphs}) == 1


def test_all_trainers_of_a_process_share_a_stream_and_its_workspaces(job):
    device = torch.device("cuda")
    streams = {
        Trainer(training.fresh_network(job.model, job.train, seed), job.protocol,
                job.precision, device)._stream
        for seed in range(2)
    }  # fmt: skip
    assert len(streams) == 1


@pytest.fixture
def peaks(job, tmp_path):
    """Return a function that computes cells and gives the most bytes of the GPU in each."""

    def of(model, protocol, seeds):
        sweep = Sweep(
            dataset=DATASETS.make_one("digits"),
            fingerprint="f",
            methods=METHODS.make("random"),
            budgets=[Budget.parse("10")],
            models=[MODELS.make_one(model)],
            protocols=[PROTOCOLS.make_one(protocol)],
            seeds=seeds,
        )
        results = Results(tmp_path)
        execution.execute(Plan.of(sweep), results, Source(), "cuda")
        found = [record["cost"]["device_peak_memory_bytes"] for record in results.records()]
        assert len(found) == seeds
        return found

    return of


def test_the_calibrations_memory_is_in_no_cells_peak(peaks):
    matrix = 4 * 8192**2
    free_memory()  # of what other tests left
    held = torch.cuda.memory_allocated()
    calibrate.cache_clear()
    assert max(peaks("resnet8[width=4]", "smoke[epochs=1]", seeds=2)) - held < matrix


FAILING_GPU = """
import json, sys
from pathlib import Path

import torch
from bench import execution, training
from bench.budgets import Budget
from bench.cells import Plan, Sweep
from bench.contract import METHODS
from bench.datasets import DATASETS, Source
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.results import Results

def fail(*given, **named):
    torch.zeros(4, device="cuda")[torch.tensor([9], device="cuda")].sum().item()

if __name__ == "__main__":  # the fresh process imports this file too
    training.run = fail
    sweep = Sweep(
        dataset=DATASETS.make_one("digits"), fingerprint="f", methods=METHODS.make("random"),
        budgets=[Budget.parse("10")], models=[MODELS.make_one("resnet8[width=4]")],
        protocols=[PROTOCOLS.make_one("smoke[epochs=1]")], seeds=3,
    )
    outcome = execution.execute(Plan.of(sweep), Results(Path(sys.argv[1])), Source(), "cuda")
    told = {"failed": len(outcome.failed), "computed": len(outcome.computed)}
    print(json.dumps(told), flush=True)  # how a process ends whose GPU has failed is torch's matter
"""


@pytest.mark.usefixtures("job")
def test_a_gpu_that_fails_under_a_cell_fails_no_other_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(FAILING_GPU)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert '{"failed": 1, "computed": 2}' in done.stdout, done.stderr
    (failure,) = Results(tmp_path).failures()
    assert "device-side assert" in failure["message"]


def test_a_cell_of_graphs_that_are_there_has_the_peak_of_the_one_that_captured_them(peaks):
    # The network's maps are most of what it holds.
    found = peaks("resnet8[width=256]", "smoke[epochs=2]", seeds=3)
    assert min(found) > 0.5 * max(found)


@pytest.mark.parametrize(
    "model",
    ["resnet18", "resnet50", "vit", "swin", "convnext", "mobilenetv2", "convnet3", "timm"],
)
def test_every_network_trains_by_deterministic_operations_alone(job, model):
    """An operation without a deterministic form on a GPU would raise here."""
    model = MODELS.make_one("timm[architecture=resnet50]" if model == "timm" else model)
    protocol = PROTOCOLS.make_one("smoke[epochs=1,precision=bf16,batch_size=8]")
    train = job.train.subset(range(40))
    few = dataclasses.replace(job, model=model, protocol=protocol, train=train, test=train)
    first, again = (training.weights_digest(training.run(few)[0]) for _ in range(2))
    assert first == again


def test_two_gpus_train_as_one_does_and_a_captured_step_is_none_of_theirs(job, tmp_path):
    if torch.cuda.device_count() < 2:
        pytest.skip("torch sees one CUDA device")
    sweep = Sweep(
        dataset=DATASETS.make_one("digits"),
        fingerprint="f",
        methods=METHODS.make("random"),
        budgets=[Budget.parse("30")],
        models=[job.model],
        protocols=[job.protocol],
        seeds=1,
    )
    plan, found = Plan.of(sweep), []
    for processes in (1, 2, 2):
        results = Results(tmp_path / f"{len(found)}")
        execution.execute(plan, results, Source(), "cuda", gpus_per_cell=processes)
        found.append(results.record(plan.cells[0].id))
    alone, together, again = found
    assert together["weights_digest"] == again["weights_digest"]
    assert together["engine"]["processes"] == 2
    assert not together["engine"]["is_captured"]
    losses = [one["metrics"]["curve"]["train_loss"][0] for one in (alone, together)]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
