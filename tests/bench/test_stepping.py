"""Steps: replayed, restarted and eager ones give the same weights; none waits for the device."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench import stepping, training
from bench.augment import Normalisation
from bench.datasets import DATASETS, Source
from bench.models import MODELS, networks
from bench.protocols import PROTOCOLS
from bench.recording import engine_facts
from bench.training import weights_digest


@pytest.fixture(scope="module")
def train():
    found = DATASETS.make_one("digits").load(Source()).train
    return found.subset(np.arange(0, len(found), 12))  # 120 images: steps of 32 and one of 24


def job_of(train, spec="smoke[epochs=3]", seed=0, **changed):
    return training.Job(
        model=MODELS.make_one(changed.pop("model", "resnet8[width=4]")),
        protocol=PROTOCOLS.make_one(spec),
        train=train,
        test=None,
        normalisation=Normalisation.of(train.images),
        seed=seed,
        device="cpu",
        **changed,
    )


class Replaying(stepping.Trainer):
    """A trainer that replays on the CPU: its graphs run the step on the captured places."""

    captured = 0

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.captures = True

    def _captured(self, images, targets):
        self.captured += 1
        held = torch.empty_like(images).copy_(images), targets.clone()

        def run():
            self.optimizer.zero_grad(set_to_none=True)
            self._backward(*held)
            self.optimizer.step()

        return stepping._Captured(run, *held)


@pytest.fixture
def replaying(monkeypatch):
    monkeypatch.setattr(training, "Trainer", Replaying)


LOOKS = "augmentation_splits=2,split_norm=true,jsd_weight=1"
OPTIMIZERS = [
    "smoke[epochs=3]",
    "smoke[epochs=3,optimizer=adamw]",
    "smoke[epochs=4,schedule=drop,warmup_epochs=0]",
    f"smoke[epochs=3,{LOOKS}]",
]


@pytest.mark.parametrize("spec", OPTIMIZERS)
def test_replayed_steps_give_the_weights_of_eager_ones(train, monkeypatch, spec):
    eager, curve = training.run(job_of(train, spec))
    monkeypatch.setattr(training, "Trainer", Replaying)
    trainers = training.Trainers()
    replayed, again = training.run(job_of(train, spec), trainers=trainers)
    assert weights_digest(replayed) == weights_digest(eager)
    assert again.train_loss == curve.train_loss
    assert (again.is_captured, curve.is_captured) == (True, False)
    assert trainers._kept[1].captured == (1 if "drop" not in spec else 2)


@pytest.mark.parametrize("spec", OPTIMIZERS)
def test_the_next_seed_is_trained_by_the_graphs_that_are_there(train, replaying, spec):
    trainers = training.Trainers()
    training.run(job_of(train, spec, seed=0), trainers=trainers)
    (_, trainer) = trainers._kept
    captured = trainer.captured
    other = train.subset(np.arange(96))  # another set, whose steps have the same batch size
    for one, seed in ((train, 1), (other, 2), (train, 0)):
        network, curve = training.run(job_of(one, spec, seed), trainers=trainers)
        alone, own_curve = training.run(job_of(one, spec, seed))
        assert network is trainer.network
        assert weights_digest(network) == weights_digest(alone)
        assert curve.train_loss == own_curve.train_loss
    assert trainer.captured <= captured + 1  # a last batch of another size at most


def test_another_protocol_or_network_gets_a_trainer_of_its_own(train, replaying):
    trainers = training.Trainers()
    first, _ = training.run(job_of(train), trainers=trainers)
    second, _ = training.run(job_of(train, "smoke[epochs=3,weight_decay=0]"), trainers=trainers)
    third, _ = training.run(
        job_of(train, "smoke[epochs=3,weight_decay=0]", model="resnet8[width=8]"), trainers=trainers
    )
    assert first is not second is not third


def test_soft_labels_and_weights_are_replayed_too(train, replaying, monkeypatch):
    rng = np.random.default_rng(0)
    given = {
        "soft_labels": rng.dirichlet(np.ones(10), len(train)).astype(np.float32),
        "weights": rng.uniform(0.5, 1.5, len(train)).astype(np.float32),
    }
    replayed, _ = training.run(job_of(train, **given))
    monkeypatch.undo()
    eager, _ = training.run(job_of(train, **given))
    assert weights_digest(replayed) == weights_digest(eager)


class Reads(TorchDispatchMode):
    """Counts how often a value is read from the device, which waits for all work before."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("batch", [8, 32])
@pytest.mark.parametrize("augmentation", ["crop+flip", "dsa"])
def test_the_device_is_read_once_an_epoch_however_many_steps_it_has(train, batch, augmentation):
    counts = []
    for epochs in (2, 5):
        spec = f"smoke[epochs={epochs},batch_size={batch},augmentation={augmentation}]"
        with Reads() as reads:
            training.run(job_of(train, spec))
        counts.append(reads.count)
    assert counts[1] - counts[0] <= 3  # the loss; what is left is read before the first step


class Drops(networks.ResNet):
    """A network that drops features by a function, as some of timm's do, and by no layer."""

    share = 0.5

    def classify(self, penultimate):
        return self.last(torch.nn.functional.dropout(penultimate, self.share, self.training))


@pytest.mark.parametrize(("share", "is_captured"), [(0.5, False), (0.0, True)])
def test_networks_that_draw_random_numbers_are_not_captured(
    train, replaying, monkeypatch, share, is_captured
):
    monkeypatch.setattr(training, "fresh_network", lambda *given: Drops(1, 10, [4], [1]))
    monkeypatch.setattr(Drops, "share", share)
    trainers = training.Trainers()
    _, curve = training.run(job_of(train), trainers=trainers)
    assert curve.is_captured == is_captured
    assert trainers._kept[1].captured == is_captured


class Refusing(Replaying):
    """A trainer whose captures fail from some number on, and leave what a broken one leaves."""

    fails_from = 0
    tried = 0

    def _captured(self, images, targets):
        self.tried += 1
        if self.tried <= self.fails_from:
            return super()._captured(images, targets)
        for parameter in self.network.parameters():
            parameter.grad = torch.full_like(parameter, torch.nan)
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")


TOLD = "RuntimeError: CUDA error: operation not permitted when stream is capturing"


@pytest.mark.parametrize(("fails_from", "is_captured"), [(0, False), (1, True)])
def test_where_a_capture_fails_steps_are_made_one_by_one_and_the_record_tells_why(
    train, monkeypatch, fails_from, is_captured
):
    spec = "smoke[epochs=6]"  # enough steps for the smaller last batch to be captured too
    eager, _ = training.run(job_of(train, spec))
    monkeypatch.setattr(training, "Trainer", Refusing)
    monkeypatch.setattr(Refusing, "fails_from", fails_from)
    trainers = training.Trainers()
    job = job_of(train, spec)
    network, curve = training.run(job, trainers=trainers)
    assert weights_digest(network) == weights_digest(eager)
    assert (curve.is_captured, curve.capture_failure) == (is_captured, TOLD)
    told = engine_facts(job, curve, packed=1)
    assert (told["is_captured"], told["capture_failure"]) == (is_captured, TOLD)

    again, curve = training.run(job_of(train, spec, seed=1), trainers=trainers)
    assert trainers._kept[1].tried == fails_from + 1  # the next seed does not try again
    assert curve.capture_failure == TOLD
    digest = weights_digest(again)
    monkeypatch.undo()
    assert digest == weights_digest(training.run(job_of(train, spec, seed=1))[0])


class Broken(Replaying):
    """A trainer whose first capture breaks by an error, and fails once more where it ends."""

    tried = 0
    broken_by = ValueError

    def _captured(self, images, targets):
        self.tried += 1
        if self.tried > 1:
            return super()._captured(images, targets)
        try:
            raise self.broken_by("of the step")
        finally:
            if self.broken_by is not torch.OutOfMemoryError:  # which leaves the capture whole
                raise RuntimeError("operation failed due to a previous error during capture")


def broken(monkeypatch, error):
    monkeypatch.setattr(training, "Trainer", Broken)
    monkeypatch.setattr(Broken, "broken_by", error)
    return training.Trainers()


def test_the_error_that_broke_a_capture_is_told_and_not_that_of_its_end(train, monkeypatch):
    _, curve = training.run(job_of(train), trainers=broken(monkeypatch, ValueError))
    assert curve.capture_failure == "ValueError: of the step"


def test_an_interruption_during_a_capture_ends_the_run(train, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        training.run(job_of(train), trainers=broken(monkeypatch, KeyboardInterrupt))


@pytest.mark.parametrize(
    ("error", "told"),
    [(torch.OutOfMemoryError, ""), (RuntimeError, "RuntimeError: of the step")],
)
def test_the_next_network_is_captured_where_memory_was_short(train, monkeypatch, error, told):
    trainers = broken(monkeypatch, error)
    _, first = training.run(job_of(train), trainers=trainers)
    assert (first.is_captured, first.capture_failure) == (
        False, f"{error.__name__}: of the step",
    )  # fmt: skip
    _, second = training.run(job_of(train, seed=1), trainers=trainers)
    assert (second.is_captured, second.capture_failure) == (told == "", told)


def test_a_run_without_captures_tells_of_no_failure(train):
    job = job_of(train, "smoke[epochs=1]")
    _, curve = training.run(job)
    assert engine_facts(job, curve, packed=1)["capture_failure"] is None


def test_the_rules_of_determinism_are_put_back_after_a_run(train):
    memory = torch.utils.deterministic
    before = torch.get_deterministic_debug_mode(), memory.fill_uninitialized_memory
    training.run(dataclasses.replace(job_of(train, "smoke[epochs=1]")))
    assert (torch.get_deterministic_debug_mode(), memory.fill_uninitialized_memory) == before
