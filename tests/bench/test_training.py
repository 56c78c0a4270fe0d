from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import training
from bench.augment import Normalisation
from bench.checkpoints import Checkpoint
from bench.contract import ImageDataset
from bench.datasets import DATASETS, Source
from bench.errors import DataError, LossNotFiniteError, UsageError
from bench.models import MODELS
from bench.protocols import PROTOCOLS, Load
from bench.schedules import learning_rate


@pytest.fixture(scope="module")
def splits():
    return DATASETS.make_one("digits").load(Source())


@pytest.fixture
def job(splits):
    train = splits.train.subset(np.arange(0, len(splits.train), 10))
    return training.Job(
        model=MODELS.make_one("resnet8[width=8]"),
        protocol=PROTOCOLS.make_one("smoke[epochs=6]"),
        train=train,
        test=splits.test,
        normalisation=Normalisation.of(splits.train.images),
        seed=0,
        device="cpu",
    )


class StopAfter:
    """Raises after an epoch, as an interruption would."""

    def __init__(self, epoch):
        self.epoch = epoch

    def __call__(self, done, total):
        if done == self.epoch:
            raise KeyboardInterrupt


def test_a_network_learns_the_digits(splits, job):
    network, curve = training.run(job)
    accuracy = sum(curve.tests[6]) / len(splits.test)
    assert accuracy > 0.5  # by chance 0.1
    assert curve.train_loss[-1] < 0.7 * curve.train_loss[0]
    assert not network.training


def test_the_same_job_gives_the_same_weights_and_another_seed_gives_others(job):
    digests = [
        training.weights_digest(training.run(dataclasses.replace(job, seed=seed))[0])
        for seed in (0, 0, 1)
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    "changed",
    [
        {"precision": "fp32"},
        {"precision": "bf16"},
        {"optimizer": "adamw"},
        {"schedule": "drop", "warmup_epochs": 0.0, "augmentation": "dsa"},
    ],
)
@pytest.mark.parametrize("epoch", [1, 4, 5])
def test_resumed_equals_uninterrupted(job, tmp_path, epoch, changed):
    protocol = dataclasses.replace(job.protocol, **changed)
    job = dataclasses.replace(job, protocol=protocol)
    straight, curve = training.run(job)
    checkpoint = Checkpoint(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        training.run(job, checkpoint, StopAfter(epoch))
    epochs = []
    resumed, resumed_curve = training.run(job, checkpoint, lambda done, _: epochs.append(done))
    assert epochs == list(range(epoch + 1, 7))
    assert training.weights_digest(resumed) == training.weights_digest(straight)
    assert resumed_curve.tests == curve.tests
    assert resumed_curve.train_loss == curve.train_loss
    assert 0 < resumed_curve.before_s < resumed_curve.training_s + resumed_curve.testing_s


def test_time_of_other_jobs_is_told_apart_from_that_of_this_one_s_earlier_runs(
    job, tmp_path, monkeypatch
):
    checkpoint = Checkpoint(tmp_path)
    for number, epoch in (("1", 2), ("2", 4), ("2", 5)):
        monkeypatch.setenv("SLURM_JOB_ID", number)
        with pytest.raises(KeyboardInterrupt):
            training.run(job, checkpoint, StopAfter(epoch))
        if number == "1":
            first = checkpoint.load().seconds
    _, curve = training.run(job, checkpoint)
    assert curve.elsewhere_s == first < curve.before_s
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    state = checkpoint.load()
    assert state.elsewhere_s == state.seconds == curve.before_s


def test_a_damaged_checkpoint_counts_as_none(job, tmp_path):
    checkpoint = Checkpoint(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        training.run(job, checkpoint, StopAfter(3))
    (data,) = tmp_path.glob("epoch-*.safetensors")
    content = bytearray(data.read_bytes())
    content[-1] ^= 1
    data.write_bytes(content)
    assert checkpoint.load() is None
    resumed, _ = training.run(job, checkpoint)
    straight, _ = training.run(job)
    assert training.weights_digest(resumed) == training.weights_digest(straight)


def test_a_loss_that_is_not_finite_is_told_with_its_epoch(job):
    protocol = PROTOCOLS.make_one("smoke[learning_rate=1e30,warmup_epochs=0,epochs=3]")
    with pytest.raises(LossNotFiniteError, match=r"epoch . of 3"):
        training.run(dataclasses.replace(job, protocol=protocol))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_the_last_step_spoils_are_told(job, monkeypatch, value):
    protocol = dataclasses.replace(job.protocol, epochs=1)
    steps, step = [], training.Trainer.step

    def spoiled(self, *given):
        step(self, *given)
        steps.append(given)
        if len(steps) == protocol.steps(job.load):
            with torch.no_grad():
                self.network.stem[0].weight[0, 0, 0, 0] = value

    monkeypatch.setattr(training.Trainer, "step", spoiled)
    with pytest.raises(LossNotFiniteError, match="weights are not finite after epoch 1 of 1"):
        training.run(dataclasses.replace(job, protocol=protocol))


def test_tests_happen_at_the_protocols_epochs_and_the_last_one(job):
    protocol = dataclasses.replace(job.protocol, epochs=7, test_every=3)
    _, curve = training.run(dataclasses.replace(job, protocol=protocol))
    assert list(curve.tests) == [3, 6, 7]


def test_a_last_image_alone_joins_the_batch_before(job):
    protocol = dataclasses.replace(job.protocol, batch_size=len(job.train) - 1, epochs=1)
    assert protocol.steps(job.load) == 1
    network = MODELS.make_one("resnet18")  # its last map of an 8x8 image has a single place
    _, curve = training.run(dataclasses.replace(job, protocol=protocol, model=network))
    assert math.isfinite(curve.train_loss[0])


@pytest.mark.parametrize(("images", "steps"), [(1, 1), (2, 1), (32, 1), (33, 1), (34, 2), (65, 2)])
def test_an_epoch_has_a_step_a_batch(images, steps):
    assert PROTOCOLS.make_one("smoke").steps_per_epoch(Load.of_all(images)) == steps


def test_a_checkpoint_of_other_code_or_another_device_counts_as_none(job, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        training.run(job, Checkpoint(tmp_path, "one"), StopAfter(3))
    assert Checkpoint(tmp_path, "another").load() is None
    assert Checkpoint(tmp_path, "one").load().epoch == 3


def test_a_batch_larger_than_the_set_takes_the_set(job):
    protocol = dataclasses.replace(job.protocol, batch_size=10_000, epochs=1)
    assert protocol.steps(job.load) == 1
    training.run(dataclasses.replace(job, protocol=protocol))


def test_the_learning_rate_warms_up_and_ends_at_zero():
    cpu = PROTOCOLS.make_one("cpu")
    rates = [learning_rate(cpu, e, s, 10) for e in range(30) for s in range(10)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(cpu.learning_rate)
    assert peak == 19
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_the_papers_schedule_is_torchs_cosine_annealing_by_epoch():
    paper = PROTOCOLS.make_one("paper")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=paper.learning_rate)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=paper.epochs)
    for epoch in range(paper.epochs):
        found = learning_rate(paper, epoch, 3, 10)
        assert found == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        reference.step()


def test_accuracies_are_weighted_by_the_images_of_a_class():
    from bench.recording import metrics

    test = ImageDataset(
        np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 0, 0, 1]), ("a", "b"), tuple("wxyz")
    )
    curve = training.Curve([1.0] * 3, {1: [3, 1], 2: [3, 1], 3: [3, 0]})
    found = metrics(curve, test)
    assert (found["accuracy"], found["epoch"]) == (75.0, 3)
    assert (found["best_accuracy"], found["best_epoch"]) == (100.0, 1)
    assert found["per_class_accuracy"] == {"a": 100.0, "b": 0.0}


# protocols


def test_matched_steps_give_every_set_the_steps_of_the_full_one(splits, job):
    protocol = PROTOCOLS.make_one("smoke[epochs=4,match=steps,test_every=1]")
    full = Load.of_all(len(splits.train))
    for images in (1, 5, 33, 144, len(splits.train)):
        assert protocol.steps(Load(images, full.images)) == protocol.steps(full)
    matched = dataclasses.replace(job, protocol=protocol, full_images=len(splits.train))
    _, curve = training.run(matched)
    assert list(curve.tests) == [1, 2, 3, 4]
    passes, rest = divmod(protocol.steps(full), protocol.steps_per_pass(matched.load))
    assert protocol.images_seen(matched.load) == passes * len(job.train) + 32 * rest


def test_matched_steps_of_the_full_set_are_the_plain_protocol(job):
    matched = dataclasses.replace(job.protocol, match="steps")
    digests = {
        training.weights_digest(training.run(dataclasses.replace(job, protocol=protocol))[0])
        for protocol in (job.protocol, matched)
    }
    assert len(digests) == 1


@pytest.mark.parametrize(("epoch", "last"), [(1, "keep"), (3, "keep"), (1, "even"), (3, "even")])
def test_an_epoch_that_ends_within_a_pass_is_resumed_there(job, tmp_path, epoch, last):
    protocol = dataclasses.replace(job.protocol, match="steps", epochs=4, last_batch=last)
    job = dataclasses.replace(job, protocol=protocol, full_images=203)
    steps = range(protocol.steps_per_pass(job.load))
    assert len({len(protocol.places(job.load, step)) for step in steps}) == 2
    assert protocol.steps_per_epoch(job.load) % protocol.steps_per_pass(job.load) != 0
    straight, curve = training.run(job)
    with pytest.raises(KeyboardInterrupt):
        training.run(job, Checkpoint(tmp_path), StopAfter(epoch))
    resumed, again = training.run(job, Checkpoint(tmp_path))
    assert training.weights_digest(resumed) == training.weights_digest(straight)
    assert again.train_loss == curve.train_loss


@given(images=st.integers(1, 700), batch=st.integers(1, 300), way=st.sampled_from(["drop", "even"]))
def test_a_pass_shows_every_image_once_or_leaves_out_a_last_batch(images, batch, way):
    load = Load.of_all(images)
    kept, other = (
        PROTOCOLS.make_one(f"smoke[epochs=1,batch_size={batch},last_batch={one}]")
        for one in ("keep", way)
    )
    for protocol in (kept, other):
        steps = protocol.steps_per_pass(load)
        places = [protocol.places(load, step) for step in range(steps)]
        seen = [place for one in places for place in one]
        left_out = images - len(seen)
        assert seen == list(range(len(seen)))
        assert len(seen) == protocol.images_seen(load)
        assert left_out < batch if protocol.last_batch == "drop" else left_out == 0
        sizes = [len(one) for one in places]
        assert protocol.largest_batch(load) == max(sizes) <= batch + 1
        assert min(sizes) >= min(images, batch, 2)
        if protocol.last_batch == "even":
            assert max(sizes) - min(sizes) <= 1
            assert steps == -(-images // batch) or max(sizes) == batch + 1


@pytest.mark.parametrize("protocol", ["cpu", "matched-steps"])
def test_our_own_recipes_have_no_small_batch(protocol):
    """5,000 images in batches of 128 would leave 8 for the last one."""
    for images, size in ((5000, 125), (4990, 128), (6200, 127), (50_000, 128)):
        recipe = PROTOCOLS.make_one(protocol)
        assert recipe.largest_batch(Load(images, 50_000, images / 50_000)) == size


@pytest.mark.parametrize(
    ("images", "share", "steps"), [(6200, 0.0987, 388), (5000, 0.1, 313), (5001, 0.10002, 40)]
)
def test_the_released_recipe_takes_small_batches_up_to_a_tenth_of_the_bytes(images, share, steps):
    released = PROTOCOLS.make_one("released")
    assert released.steps_per_pass(Load(images, 50_000, share)) == steps
    assert PROTOCOLS.make_one("paper").batch(Load(images, 50_000, share)) == 128


def test_a_drop_lowers_the_rate_once_as_dms_loop_does():
    protocol = PROTOCOLS.make_one("dm")
    rates = [learning_rate(protocol, done, 0, 1) for done in range(1001)]
    # evaluate_synset: for ep in range(1000 + 1): train; if ep == 1000 // 2 + 1: lr *= 0.1
    reference, rate = [], 0.01
    for ep in range(1001):
        reference.append(rate)
        if ep == 501:
            rate *= 0.1
    assert rates == pytest.approx(reference)


def test_deepcores_cosine_ends_at_its_floor():
    deepcore = PROTOCOLS.make_one("deepcore")
    assert learning_rate(deepcore, 199, 9, 10) == pytest.approx(1e-4)


# labels and weights


def test_soft_labels_that_are_certain_are_hard_labels(job):
    soft = np.eye(10, dtype=np.float32)[job.train.labels]
    _, hard_curve = training.run(job)
    _, soft_curve = training.run(dataclasses.replace(job, soft_labels=soft))
    assert soft_curve.train_loss[0] == pytest.approx(hard_curve.train_loss[0], rel=1e-3)


def test_a_weight_of_zero_takes_an_image_out_of_the_loss(job):
    wrong = job.train.labels.copy()
    wrong[::2] = (wrong[::2] + 1) % 10
    weights = np.ones(len(wrong), np.float32) * 2
    weights[::2] = 0
    train = dataclasses.replace(job.train, labels=wrong)
    runs = [
        training.run(dataclasses.replace(job, train=train, weights=given))[1].tests[6]
        for given in (weights, None)
    ]
    assert sum(runs[0]) > 1.2 * sum(runs[1])


def test_a_class_without_an_image_is_told(job):
    train = job.train.subset(np.flatnonzero(job.train.labels != 3))
    with pytest.raises(DataError, match="class '3' has no image"):
        train.require_all_classes()


def test_dms_protocol_trains_on_distorted_images(job):
    protocol = PROTOCOLS.make_one("dm[epochs=4,learning_rate=0.05,test_every=2]")
    model = MODELS.make_one("convnet3[width=16]")
    distorted = dataclasses.replace(job, protocol=protocol, model=model)
    plain = dataclasses.replace(
        distorted, protocol=dataclasses.replace(protocol, augmentation="none")
    )
    curves = [training.run(one)[1] for one in (distorted, plain)]
    assert sum(curves[0].tests[4]) > sum(curves[0].tests[2]) * 0.9
    assert curves[0].train_loss[-1] > curves[1].train_loss[-1]  # distorted images are harder


# checkpoints


def test_states_are_saved_as_often_as_their_cost_allows():
    from bench.checkpoints import Pace

    now = [0.0]

    class Slow:
        """Takes two seconds to save."""

        def save(self, state):
            now[0] += 2

    pace = Pace(0.05, clock=lambda: now[0])
    saved = []
    for epoch in range(1, 101):
        now[0] += 1
        if pace.is_due:
            pace.save(Slow(), None)
            saved.append(epoch)
    assert saved == [1, 39, 77]  # 2 s of saving for 38 s of training
    always = Pace(1.0, clock=lambda: now[0])
    always.save(Slow(), None)
    assert always.is_due


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("paper[warmup_epochs=3]", "warmup_epochs=3 does nothing with schedule=epoch"),
        ("dm[warmup_epochs=3]", "warmup_epochs=3 does nothing with schedule=drop"),
        ("cpu[warmup_learning_rate=0.1]", "warmup_learning_rate=0.1 does nothing"),
    ],
)
def test_a_warm_up_that_would_do_nothing_is_refused(spec, told):
    with pytest.raises(UsageError, match=told):
        PROTOCOLS.make_one(spec)


def test_a_warm_up_goes_with_the_schedules_that_have_one():
    PROTOCOLS.make_one("paper[warmup_epochs=3,warmup_learning_rate=0.01]")
    PROTOCOLS.make_one("paper[warmup_epochs=3,schedule=step]")
