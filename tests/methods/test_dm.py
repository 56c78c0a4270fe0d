"""Distribution matching: against a plain loop over the classes, its seeds, resuming, budgets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench import training
from bench.augment import Normalisation
from bench.budgets import Budget, ClassBudget
from bench.contract import METHODS, CompressedSet
from bench.dsa import SiameseAugmentation
from bench.errors import TrainingError, UsageError
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.selecting import select
from methods.dm import stored
from methods.parts import matching
from methods.parts.draws import lowest, priorities
from methods.parts.matching import Side, groups_within, loss_and_gradient

TINY = "extractor=convnet3[width=8],batch_real=16"
MODEL = MODELS.make_one("convnet3[width=8]")


def dm(given="", iterations=5):
    return METHODS.make_one(f"dm[{TINY},iterations={iterations}{given and ','}{given}]")


def budget_of(ipc, train):
    return ClassBudget.of_classes([ipc] * len(train.classes), len(train))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def compress(context, digits):
    """Return a function that runs a method on the digits, or another split."""

    def give(method, budget=None, train=digits, seed=0) -> CompressedSet:
        return select(method, train, budget or budget_of(1, train), context(seed, str(len(train))))

    return give


@pytest.mark.parametrize("edition", ["paper", "released"])
def test_images_are_those_of_a_plain_loop_over_the_classes(edition, noise, context):
    """The equation with autograd and torch's SGD, one class and one network at a time."""
    iterations, counts = 3, [2, 1, 3]
    method = dm(f"edition={edition},storage=float32,normalisation=dataset,lr_img=100", iterations)
    budget = ClassBudget.of_classes(counts, len(noise))
    ctx = context(dataset="noise")
    found = select(method, noise, budget, ctx)

    normalisation = Normalisation.of(noise.images)
    mean = torch.tensor(normalisation.mean, dtype=torch.float64).view(3, 1, 1)
    deviation = torch.tensor(normalisation.deviation, dtype=torch.float64).view(3, 1, 1)
    pixels = torch.from_numpy(noise.images).permute(0, 3, 1, 2).double() / 255
    real = (pixels - mean) / deviation
    members = [np.flatnonzero(noise.labels == label) for label in range(3)]
    priority = priorities(noise, ctx)
    picked = [lowest(one, priority, n) for one, n in zip(members, counts, strict=True)]
    synthetic = [real[one].clone().requires_grad_() for one in picked]
    optimizer = torch.optim.SGD(synthetic, lr=100.0, momentum=0.5)
    augmentation = SiameseAugmentation()
    losses = []
    for now in range(1, iterations + 1 + (edition == "released")):
        network = training.fresh_network(MODEL, noise, ctx.seed("network", now)).double()
        batches = torch.Generator().manual_seed(ctx.seed("real", now))
        drawn = torch.Generator().manual_seed(ctx.seed("augmentation", now))
        draws = augmentation.draw(3, drawn)
        loss = torch.zeros((), dtype=torch.float64)
        for label in range(3):
            order = torch.randperm(len(members[label]), generator=batches)[:16]
            ours = draws.take(torch.full((len(order),), label))
            theirs = draws.take(torch.full((counts[label],), label))
            batch = augmentation.apply(real[members[label]][order], ours)
            of_real = network.features(batch).penultimate.mean(0)
            of_synthetic = network.features(augmentation.apply(synthetic[label], theirs))
            loss = loss + (of_real - of_synthetic.penultimate.mean(0)).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    expected = (torch.cat(synthetic).detach() * deviation + mean) * 255
    assert found.images == pytest.approx(expected.permute(0, 2, 3, 1).numpy(), abs=0.05)
    assert found.labels.tolist() == [0, 0, 1, 2, 2, 2]
    assert found.notes["first_loss"] == pytest.approx(losses[0], rel=1e-4)
    assert found.notes["last_loss"] == pytest.approx(losses[-1], rel=1e-4)
    moved = np.abs(found.images - noise.images[np.concatenate(picked)])
    assert moved.max((1, 2, 3)).min() > 1


@pytest.mark.parametrize("block", [1, 4, 5, 1000])
def test_loss_and_gradient_do_not_depend_on_the_blocks(block):
    generator = torch.Generator().manual_seed(0)
    network = MODEL.build((8, 8, 3), 4).double()
    real, synthetic = (
        torch.randn(count, 3, 8, 8, generator=generator, dtype=torch.float64) for count in (12, 6)
    )
    augmentation = SiameseAugmentation()
    draws = augmentation.draw(3, generator)

    def side(images, counts):
        return Side(lambda start, stop: images[start:stop], counts, augmentation, draws)

    ours = side(real, (6, 2, 4))
    loss, gradient = loss_and_gradient(network, ours, side(synthetic, (1, 3, 2)), block)
    leaf = synthetic.clone().requires_grad_()
    means = [side(leaf, (1, 3, 2)), ours]
    embedded = [
        one.embed(one.take(0, len(one)), torch.repeat_interleave(torch.tensor(one.counts)), network)
        for one in means
    ]
    gap = embedded[0][1] @ embedded[0][0] - embedded[1][1] @ embedded[1][0]
    expected = gap.square().sum()
    expected.backward()
    assert float(loss) == pytest.approx(float(expected.detach()))
    assert gradient.numpy() == pytest.approx(leaf.grad.numpy(), abs=1e-10)


def test_groups_hold_whole_classes_up_to_a_block():
    assert groups_within([3, 3, 3, 9, 1], 6) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 5)]
    assert groups_within([1] * 10, 10) == [slice(0, 10)]
    assert groups_within([5], 1) == [slice(0, 1)]


def test_smaller_blocks_give_the_same_images(compress, monkeypatch):
    method = dm("storage=float32")
    whole = compress(method, seed=0)
    monkeypatch.setattr(matching, "BLOCK_PIXELS", {"cpu": 64 * 3})
    monkeypatch.setattr(method.__class__, "version", 99)
    blocked = compress(method, seed=0)
    assert blocked.images == pytest.approx(whole.images, abs=0.05)
    assert not np.array_equal(blocked.images, whole.images)  # other sums: it was computed anew


def test_the_loss_falls(compress):
    found = compress(dm("init=noise,lr_img=5", iterations=60))
    assert found.notes["last_loss"] < 0.5 * found.notes["first_loss"]


def test_the_seed_decides_and_nothing_else(compress, context, digits, tmp_path):
    method = dm("storage=float32", iterations=2)
    first, other = compress(method, seed=0), compress(method, seed=1)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    again = select(method, digits, budget_of(1, digits), context(0, "another name"))
    assert torch.get_rng_state().equal(before)
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)


@pytest.mark.parametrize("extractor", ["convnet3[width=4]", "resnet8[width=4]"])
def test_resumed_equals_uninterrupted(extractor, digits, context, monkeypatch):
    monkeypatch.setattr(matching, "CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(matching, "TELL_EVERY", 1)
    given = f"extractor={extractor},batch_real=8,iterations=11,storage=float32"
    method, budget = METHODS.make_one(f"dm[{given}]"), budget_of(2, digits)
    straight = select(method, digits, budget, context(0, "straight"))
    told = []

    def progress(stage, done, total):
        told.append(done)
        if len(told) == 11:
            raise KeyboardInterrupt

    ctx = context(0, "digits")
    monkeypatch.setattr(ctx, "progress", progress)
    with pytest.raises(KeyboardInterrupt):
        select(method, digits, budget, ctx)
    assert told == list(range(11))
    told.clear()
    ctx = context(0, "digits")
    monkeypatch.setattr(ctx, "progress", progress)
    resumed = select(method, digits, budget, ctx)
    assert told == [8, 9, 10, 11]
    assert np.array_equal(resumed.images, straight.images)
    assert resumed.notes == straight.notes


def test_another_runs_checkpoint_is_not_gone_on_from(digits, context, monkeypatch):
    """Two methods inside one artefact share the checkpoint's place."""
    monkeypatch.setattr(matching, "CHECKPOINT_EVERY", 2)
    ctx, budget, found = context(), budget_of(1, digits), {}

    def make():
        for spec in ("lr_img=2", "lr_img=1"):
            found[spec] = dm(f"{spec},storage=float32").compress(digits, budget, ctx).images
        return found

    ctx.artefact("both", make).arrays()
    alone = select(dm("lr_img=1,storage=float32"), digits, budget, context(0, "alone"))
    assert np.array_equal(found["lr_img=1"], alone.images)


def test_it_begins_with_the_images_that_random_keeps(compress, digits):
    """A learning rate of almost nothing leaves the first images as they are."""
    budget = Budget.parse("2")
    found = compress(dm("lr_img=1e-12", iterations=1), budget)
    random = compress(METHODS.make_one("random"), budget)
    assert np.array_equal(found.images, digits.images[random.indices])
    assert np.array_equal(found.labels, digits.labels[random.indices])


def test_noise_begins_with_unit_deviation(compress, digits):
    found = compress(
        dm("init=noise,lr_img=1e-12,storage=float32", iterations=1), budget_of(3, digits)
    )
    normalisation = Normalisation.of(digits.images)
    normal = (found.images / 255 - normalisation.mean[0]) / normalisation.deviation[0]
    assert abs(normal.mean()) < 0.1
    assert normal.std() == pytest.approx(1, abs=0.1)


def test_both_storages_hold_the_same_images(compress, digits):
    floats = compress(dm("storage=float32,lr_img=20"), budget_of(2, digits))
    bytes_ = compress(dm("storage=uint8,lr_img=20"), budget_of(2, digits))
    assert (floats.images.dtype, bytes_.images.dtype) == (np.float32, np.uint8)
    assert floats.images.max() > 255  # not clipped
    assert np.array_equal(bytes_.images, stored(floats.images, "uint8"))
    assert np.abs(floats.images.clip(0, 255) - bytes_.images).max() <= 0.5
    assert bytes_.stored_bytes == 20 * (64 + 1)
    assert floats.stored_bytes == 20 * (4 * 64 + 1)


@pytest.mark.parametrize("edition", ["paper", "released"])
@pytest.mark.parametrize("ipc", [7, 51, 120])  # main_DM.py stops at each
def test_a_class_may_have_any_number_of_images(edition, ipc, compress, digits):
    found = compress(dm(f"edition={edition}", iterations=1), budget_of(ipc, digits))
    assert np.bincount(found.labels).tolist() == [ipc] * 10
    assert np.isfinite(found.images).all()


@pytest.mark.parametrize("storage", ["uint8", "float32"])
def test_budgets_in_images_and_in_bytes(storage, compress, digits):
    method = dm(f"storage={storage}", iterations=1)
    by_images = compress(method, Budget.parse("3"))
    assert len(by_images) == Budget.parse("3").images(len(digits))
    by_bytes = compress(method, Budget.parse("3b"))
    allowed = Budget.parse("3b").bytes(len(digits) * digits.bytes_per_image)
    each = method.bytes_each(digits)
    assert by_bytes.stored_bytes <= allowed < by_bytes.stored_bytes + each
    assert by_bytes.bytes(digits) == len(by_bytes) * each
    with pytest.raises(UsageError, match="holds no image"):
        compress(method, Budget.parse("0.001b"))
    with pytest.raises(UsageError, match=r"0\.001 % of \d+ images are none"):
        compress(method, Budget.parse("0.001"))


def test_one_small_image_alone_is_refused_by_batch_normalisation_in_a_line(digits, context):
    small = replace(digits, images=digits.images[:, :1, :1])
    method = METHODS.make_one("dm[iterations=1,extractor=resnet8[width=4]]")
    text = r"cannot embed 1 image of 1 x 1 .*\. Raise the ratio, or name an extractor without batch"
    with pytest.raises(UsageError, match=text):
        select(method, small, Budget.exactly(1, len(small)), context())
    assert len(select(method, small, Budget.exactly(2, len(small)), context())) == 2


@pytest.mark.parametrize("ratio", ["3", "3b"])
@pytest.mark.parametrize("given", ["storage=uint8", "storage=float32", "edition=released"])
def test_a_plan_knows_the_images_that_its_networks_will_see(
    given, ratio, compress, digits, monkeypatch
):
    seen = []

    def counted(network, real, synthetic, block):
        seen.append(len(real) + len(synthetic))
        return loss_and_gradient(network, real, synthetic, block)

    monkeypatch.setattr("methods.parts.matching.loss_and_gradient", counted)
    method, budget = dm(given, iterations=2), Budget.parse(ratio)
    compress(method, budget)
    assert method.looks(digits.class_counts, budget) == pytest.approx(sum(seen), rel=0.01)


def test_uneven_classes_and_classes_without_images(compress, noise):
    budget = ClassBudget.of_classes([4, 0, 1], len(noise))
    found = compress(dm("storage=float32"), budget, noise)
    assert found.labels.tolist() == [0, 0, 0, 0, 2]
    assert found.notes["images_per_class"] == [4, 0, 1]
    assert np.isfinite(found.images).all()


@pytest.mark.parametrize(
    ("counts", "given", "expected"),
    [
        ([1] * 10, 0, 1), ([50] * 10, 0, 1), ([100] * 10, 0, 10), ([1250] * 10, 0, 10),
        ([1500] * 10, 0, 10), ([100] * 100, 0, 1), ([125] * 100, 0, 1), ([500] * 10, 3, 3),
        ([60] * 5 + [140] * 5, 0, 10),
    ],
)  # fmt: skip
def test_the_rule_for_the_learning_rate_is_the_readmes(counts, given, expected):
    assert dm(f"lr_img={given}").learning_rate(np.array(counts)) == expected


def test_editions_differ_as_told(compress, noise):
    paper, released = METHODS.make_one("dm"), METHODS.make_one("dm[edition=released]")
    assert (paper.updates, released.updates) == (20_000, 20_001)
    assert (paper.storage, released.storage) == ("uint8", "float32")
    assert (paper.normalisation, released.normalisation) == ("dataset", "released")
    found = compress(dm("edition=released", iterations=2), train=noise)
    assert found.notes["updates"] == 3


def test_the_released_edition_has_the_constants_of_utils_py(compress, digits):
    large = digits.images.repeat(4, axis=1).repeat(4, axis=2).repeat(3, axis=3)
    as_cifar10 = replace(digits, images=large).subset(np.arange(200))
    constants = Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    for train, expected in (
        (as_cifar10, constants),
        (digits, Normalisation.of(digits.images)),
    ):
        settings = dm("edition=released")._settings(train, np.ones(len(train.classes)))
        assert settings.normalisation == expected
    found = compress(dm("edition=released", iterations=2), train=as_cifar10)
    other = compress(dm("edition=released,normalisation=dataset", iterations=2), train=as_cifar10)
    assert not np.array_equal(found.images, other.images)


@pytest.mark.parametrize("given", ["augmentation=none", "augmentation=dsa-noflip"])
def test_the_augmentation_matters(given, compress):
    with_all, without = (compress(dm(f"storage=float32,{one}")) for one in ("init=real", given))
    assert not np.array_equal(with_all.images, without.images)


def test_a_loss_that_is_not_finite_is_told(compress):
    with pytest.raises(TrainingError, match="Lower lr_img"):
        compress(dm("lr_img=1e38", iterations=12))


def test_pretrained_networks_are_refused():
    with pytest.raises(UsageError, match="random networks"):
        METHODS.make_one("dm[extractor=timm[architecture=resnet18.tv_in1k,pretrained=true]]")


@pytest.mark.parametrize("storage", ["uint8", "float32"])
def test_synthetic_images_train_a_network(storage, compress, digits):
    found = compress(dm(f"storage={storage}", iterations=1), budget_of(3, digits))
    _, curve = training.run(job(found, digits, digits, "smoke[epochs=40]"))
    assert np.isfinite(curve.train_loss).all()
    assert sum(curve.tests[40]) > 0.3 * len(digits)  # ten classes: a guess is right in a tenth


def job(compressed, train, test, protocol):
    return training.Job(
        model=MODELS.make_one("convnet3[width=16]"),
        protocol=PROTOCOLS.make_one(protocol),
        train=compressed.training_set(train),
        test=test,
        normalisation=Normalisation.of(train.images),
        seed=0,
        device="cpu",
    )


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["uint8", "float32"])
def test_its_images_train_a_network_far_better_than_where_they_began(storage, compress, digits):
    """Noise teaches nothing; images matched from the same noise do, on images held out."""
    part = np.arange(len(digits)) % 4 == 0
    held_out, train = digits.subset(np.flatnonzero(part)), digits.subset(np.flatnonzero(~part))
    given = f"extractor=convnet3[width=32],batch_real=64,augmentation=dsa-noflip,storage={storage}"
    budget = budget_of(3, train)
    right = {}
    for iterations, rate in ((1, 1e-12), (300, 5)):
        spec = f"dm[{given},init=noise,lr_img={rate},iterations={iterations}]"
        compressed = compress(METHODS.make_one(spec), budget, train)
        protocol = "smoke[epochs=150,test_every=150,augmentation=none]"
        _, curve = training.run(job(compressed, train, held_out, protocol))
        right[iterations] = sum(curve.tests[150]) / len(held_out)
    assert right[300] > right[1] + 0.3


@pytest.mark.gpu
def test_a_gpu_gives_the_cpus_images_within_rounding_and_the_same_ones_every_time(digits, context):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    method, budget, found = dm("storage=float32"), budget_of(2, digits), []
    for name, device in (("one", "cuda"), ("two", "cuda"), ("three", "cpu")):
        ctx = context(0, name)
        ctx.device = device
        found.append(select(method, digits, budget, ctx).images)
    assert np.array_equal(found[0], found[1])
    assert found[0] == pytest.approx(found[2], abs=0.5)
