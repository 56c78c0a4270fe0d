"""Streamed images: the same for every number of workers, and the same as those on the device."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import random
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from bench import feeding, resources, streaming, testing, training
from bench.augment import DeviceImages, Normalisation
from bench.batches import ResidentBatches, Targets
from bench.checkpoints import Checkpoint
from bench.contract import ImageDataset
from bench.datasets import DATASETS, Source
from bench.errors import DataError, TrainingError, UsageError
from bench.feeding import Feed, Stream
from bench.losses import loss_of
from bench.models import MODELS
from bench.protocols import PROTOCOLS, Load
from bench.schedules import learning_rate
from bench.streaming import StreamedBatches, StreamedImages
from bench.team import Team

CPU = torch.device("cpu")
WHOLE = "imagenet[epochs=2,batch_size=8,batch_shards=2,test_every=1]"


def dataset(count=21, side=12, channels=3):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    return ImageDataset(
        pixels, np.arange(count) % 3, ("a", "b", "c"), tuple(f"{k:03d}" for k in range(count))
    )


def job(protocol, train=None, workers=0, **more):
    train = train or dataset()
    return training.Job(
        model=MODELS.make_one("resnet8[width=4]"),
        protocol=PROTOCOLS.make_one(protocol),
        train=train,
        test=train,
        normalisation=Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.25)),
        seed=3,
        device="cpu",
        feed=Feed(Stream.ALWAYS, workers),
        **more,
    )


def seen(batches, steps):
    with contextlib.closing(batches):
        return [[(part.images, part.index) for part in batches.at(step)] for step in steps]


def assert_same(some, others):
    for parts, other_parts in zip(some, others, strict=True):
        for (images, index), (others_images, others_index) in zip(parts, other_parts, strict=True):
            assert index.tolist() == others_index.tolist()
            assert torch.equal(images, others_images)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "protocol",
    [
        "cpu[batch_size=8]",
        "cpu[batch_size=8,augmentation=crop,crop_fill=reflect,crop_padding=2]",
        "cpu[batch_size=8,augmentation=none]",
        "cpu[batch_size=8,last_batch=keep]",
        "dm[batch_size=8]",
    ],
)
def test_streamed_batches_are_bit_for_bit_those_on_the_device(protocol, workers):
    asked = job(protocol, workers=workers)
    held = DeviceImages(
        asked.train.images, asked.train.labels, asked.normalisation, CPU,
        asked.protocol.padding, asked.protocol.crop_fill,
    )  # fmt: skip
    resident = ResidentBatches(held, asked.train.labels, asked)
    streamed = StreamedBatches(asked.train, asked, CPU)
    steps = [0, 1, 2, 3, 4, 7]  # 21 images are three steps; the last one leaves some out
    assert_same(seen(streamed, steps), seen(resident, steps))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_step_sees_depends_on_neither_workers_nor_where_a_run_began(workers):
    whole = seen(StreamedBatches(dataset(), job(WHOLE), CPU), range(5))
    later = seen(StreamedBatches(dataset(), job(WHOLE, workers=workers), CPU), range(3, 5))
    assert_same(later, whole[3:])
    other = seen(StreamedBatches(dataset(), dataclasses.replace(job(WHOLE), seed=4), CPU), range(1))
    assert not torch.equal(other[0][0][0], whole[0][0][0])


def test_processes_see_together_what_one_sees():
    whole = seen(StreamedBatches(dataset(), job(WHOLE), CPU), range(3))
    shared = [
        seen(StreamedBatches(dataset(), job(WHOLE, team=Team(rank, 2)), CPU), range(3))
        for rank in range(2)
    ]
    together = [first + second for first, second in zip(*shared, strict=True)]
    assert_same(together, whole)


def test_streaming_leaves_everybody_elses_chance_alone():
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    batches = StreamedBatches(dataset(), job(WHOLE), CPU)
    batches.at(0)
    assert states() == before


@pytest.mark.parametrize("workers", [0, 2])
def test_a_streamed_run_has_the_weights_of_one_on_the_device(workers):
    streamed = job("cpu[epochs=2,batch_size=8,precision=fp32]", workers=workers)
    resident = dataclasses.replace(streamed, feed=Feed(Stream.NEVER))
    results = [training.run(one) for one in (streamed, resident)]
    assert [curve.is_streamed for _, curve in results] == [True, False]
    digests = {training.weights_digest(network) for network, _ in results}
    assert len(digests) == 1
    assert results[0][1].tests == results[1][1].tests


@pytest.mark.parametrize("protocol", [WHOLE, "cpu[epochs=2,batch_size=8,precision=fp32]"])
def test_a_resumed_streamed_run_equals_an_uninterrupted_one(protocol, tmp_path):
    asked = job(protocol, workers=1)
    straight, curve = training.run(asked)

    def stop(done, total):
        raise KeyboardInterrupt

    checkpoint = Checkpoint(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        training.run(asked, checkpoint, stop)
    resumed, again = training.run(asked, checkpoint)
    assert training.weights_digest(resumed) == training.weights_digest(straight)
    assert (again.train_loss, again.tests) == (curve.train_loss, curve.tests)


@pytest.mark.parametrize("fails", ["step", "test", "worker"])
def test_workers_have_ended_whatever_ends_a_run(monkeypatch, fails):
    """Also while somebody still holds the error, and with it all that its traceback names."""
    asked = job("cpu[epochs=1,batch_size=8]", workers=1)
    before = set(multiprocessing.active_children())

    def fail(*given, **named):
        assert set(multiprocessing.active_children()) - before
        raise ValueError("the end")

    if fails == "step":
        monkeypatch.setattr(training.Trainer, "step", fail)
    elif fails == "test":
        monkeypatch.setattr(testing, "autocast", fail)
    else:
        monkeypatch.setattr(streaming._Looks, "__getitem__", lambda self, wanted: 1 / 0)
    with pytest.raises((ValueError, ZeroDivisionError)) as held:
        training.run(asked)
    assert held.traceback
    assert not set(multiprocessing.active_children()) - before


class TestTheRule:
    def test_images_stream_where_they_do_not_fit(self, monkeypatch):
        by_rule = dataclasses.replace(job("cpu"), feed=feeding.BY_RULE)
        monkeypatch.setattr(resources, "available_memory", lambda: 10**9)
        assert not feeding.chosen(by_rule).is_streamed
        monkeypatch.setattr(resources, "available_memory", lambda: 10**4)
        found = feeding.chosen(by_rule)
        assert found.is_streamed
        assert "of memory free" in found.reason

    def test_what_is_asked_for_is_done_and_said(self):
        never = dataclasses.replace(job("cpu"), feed=Feed(Stream.NEVER))
        assert feeding.chosen(job("cpu")) == feeding.Feeding(True, "asked for")
        assert feeding.chosen(never) == feeding.Feeding(False, "asked for")

    def test_a_protocol_that_cuts_images_one_by_one_streams(self):
        asked = dataclasses.replace(job(WHOLE), feed=Feed(Stream.NEVER))
        assert feeding.chosen(asked).is_streamed


class TestFolders:
    @pytest.fixture
    def source(self, image_folder):
        return Source(image_folder(size=16), feed=Feed(Stream.ALWAYS, 2))

    def test_a_folder_that_streams_has_the_images_of_one_in_memory(self, source):
        folder = DATASETS.make_one("imagefolder[size=12]")
        lazy = folder.load(source).train
        held = folder.load(dataclasses.replace(source, feed=feeding.BY_RULE)).train
        assert isinstance(held.images, np.ndarray)
        assert not isinstance(lazy.images, np.ndarray)
        assert np.array_equal(np.asarray(lazy.images), held.images)
        assert (lazy.keys, lazy.classes) == (held.keys, held.classes)
        some = lazy.subset(np.array([5, 2]))
        assert np.array_equal(np.asarray(some.images), held.images[[5, 2]])

    def test_workers_read_a_zip_file_each_on_their_own(self, source, tmp_path):
        packed = tmp_path / "images.zip"
        with zipfile.ZipFile(packed, "w") as archive:
            for path in sorted(source.path.rglob("*.png")):
                archive.write(path, path.relative_to(source.path))
        folder = DATASETS.make_one("imagefolder[size=12]")
        lazy = folder.load(dataclasses.replace(source, path=packed)).train
        np.asarray(lazy.images)  # the archive is open before the workers begin
        asked = job("cpu[batch_size=4]", train=lazy, workers=2)
        alone = job("cpu[batch_size=4]", train=folder.load(source).train)
        streamed = StreamedBatches(lazy, asked, CPU)
        assert_same(
            seen(streamed, range(6)), seen(StreamedBatches(alone.train, alone, CPU), range(6))
        )

    @pytest.mark.parametrize("workers", [0, 2])
    def test_an_image_that_cannot_be_read_is_named_without_a_traceback(self, source, workers):
        broken = source.path / "train" / "cat" / "003.png"
        broken.write_bytes(broken.read_bytes()[:60])
        train = DATASETS.make_one("imagefolder[size=12]").load(source).train
        batches = StreamedBatches(train, job("cpu[batch_size=12]", train, workers), CPU)
        with pytest.raises(DataError, match=r"image train/cat/003.png cannot be read") as caught:
            batches.at(0)
        assert "Traceback" not in str(caught.value)


class TestTheRecipe:
    def test_the_learning_rate_is_that_of_timms_scheduler(self):
        from timm.scheduler import CosineLRScheduler

        recipe = PROTOCOLS.make_one("imagenet")
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.6)
        timms = CosineLRScheduler(
            optimizer, t_initial=260, lr_min=1e-6, warmup_t=3, warmup_lr_init=1e-4
        )
        for epoch in range(260):
            timms.step(epoch)
            expected = optimizer.param_groups[0]["lr"]
            assert learning_rate(recipe, epoch, 7, 10) == pytest.approx(expected)

    def test_the_loss_is_timms_for_hard_labels(self):
        from timm.loss import JsdCrossEntropy

        logits, labels = torch.randn(12, 5), torch.tensor([0, 1, 2, 4])
        ours = loss_of(PROTOCOLS.make_one("imagenet"))(logits, Targets(labels, None))
        theirs = JsdCrossEntropy(3, 12, 0.1)(logits, labels)
        assert float(ours) == pytest.approx(float(theirs), rel=1e-6)

    def test_weights_take_part_in_the_loss(self):
        logits, labels = torch.randn(6, 5), torch.tensor([0, 1])
        loss = loss_of(PROTOCOLS.make_one("imagenet"))
        some = loss(logits, Targets(labels, torch.tensor([2.0, 0.0])))
        assert float(some) != float(loss(logits, Targets(labels, None)))

    def test_the_first_look_is_clean_and_the_others_differ(self):
        train = dataset(count=8, side=24)
        plain = "[batch_size=8,batch_shards=1,rand_augment=none,erasing=0]"
        (part,) = StreamedBatches(train, job(f"imagenet{plain}", train), CPU).at(0)
        first, second, third = part.images.chunk(3)
        assert torch.equal(first, second)
        assert torch.equal(first, third)
        whole = "imagenet[batch_size=8,batch_shards=1,erasing=1]"
        (part,) = StreamedBatches(train, job(whole, train), CPU).at(0)
        clean, second, third = part.images.chunk(3)
        assert torch.equal(clean, first)
        assert (second != third).flatten(1).any(1).all()
        assert (second != clean).flatten(1).any(1).all()

    def test_weights_of_normalisations_and_biases_do_not_decay(self):
        from bench.adapting import parameter_groups

        network = MODELS.make_one("resnet8[width=4]").build((12, 12, 3), 3)
        groups = parameter_groups(network, PROTOCOLS.make_one("imagenet"))
        decays = {p.ndim > 1: group["weight_decay"] for group in groups for p in group["params"]}
        assert decays == {True: 2e-5, False: 0.0}

    def test_every_look_has_a_batch_normalisation_and_the_first_is_tested(self):
        from bench.adapting import tested_parameters

        asked = job(WHOLE)
        network, _ = training.run(asked)
        plain = asked.model.build(asked.train.shape, 3)
        assert tested_parameters(network) == sum(p.numel() for p in plain.parameters())
        assert any(".aux_bn.1." in name for name in network.state_dict())

    def test_grey_images_are_refused_in_words(self):
        grey = dataset(channels=1)
        with pytest.raises(TrainingError, match="RandAugment needs colour images"):
            StreamedBatches(grey, job(WHOLE, grey), CPU)

    def test_a_policy_that_timm_would_not_understand_is_refused(self):
        with pytest.raises(UsageError, match=r"such as rand-m9-mstd0.5-inc1"):
            PROTOCOLS.make_one("imagenet[rand_augment=strong]")

    def test_a_policy_and_erasing_go_with_any_protocol(self):
        asked = job("cpu[batch_size=8,rand_augment=rand-m9-n1,erasing=0.5]")
        (part,) = StreamedBatches(asked.train, asked, CPU).at(0)
        assert part.images.shape == (7, 3, 12, 12)  # 21 images, evenly

    def test_a_last_batch_that_is_not_full_is_left_out(self):
        recipe = PROTOCOLS.make_one("imagenet[epochs=2]")
        load = Load.of_all(2500)
        assert recipe.steps(load) == 4
        assert recipe.images_seen(load) == 2 * 2048
        assert recipe.steps(Load.of_all(100)) == 2
        assert recipe.images_seen(Load.of_all(100)) == 200

    def test_shards_are_normalised_apart_and_their_statistics_averaged(self):
        """One step: each half's own mean and variance, then the mean of both halves'."""
        train = dataset(count=8)
        asked = job("cpu[epochs=1,batch_size=8,batch_shards=2,augmentation=none]", train)
        network, _ = training.run(dataclasses.replace(asked, feed=Feed(Stream.NEVER)))
        fresh = training.fresh_network(asked.model, train, asked.seed)
        batches = StreamedBatches(train, asked, CPU)
        maps = [fresh.stem[0](part.images) for part in batches.at(0)]
        means = torch.stack([one.mean((0, 2, 3)) for one in maps])
        expected = 0.1 * means.mean(0)
        assert len(maps) == 2
        torch.testing.assert_close(network.stem[1].running_mean, expected, rtol=0.02, atol=2e-3)


def test_test_images_are_the_centre_of_larger_ones(tmp_path):
    from torchvision.transforms import v2

    asked = job(WHOLE, dataset(count=5, side=14))
    (block,) = StreamedImages(asked.test, asked, CPU).blocks(10)
    first = Image.fromarray(asked.test.images[0])
    cut = v2.Compose(
        [v2.PILToTensor(), v2.Resize(16, antialias=True), v2.CenterCrop(14),
         v2.ToDtype(torch.float32, scale=True),
         v2.Normalize(asked.normalisation.mean, asked.normalisation.deviation)]
    )  # fmt: skip
    torch.testing.assert_close(block[0], cut(first), atol=1e-5, rtol=1e-5)
