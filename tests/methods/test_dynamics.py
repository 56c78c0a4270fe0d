"""Recorded training runs: what is recorded, against references in float64, and how it survives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bench import training
from bench.augment import DeviceImages, Normalisation
from bench.contract import METHODS
from methods.parts.dynamics import Dynamics, forgetting_events, measures
from methods.parts.embeddings import Extractor

SMALL = Dynamics("resnet8[width=4]", 4)


@pytest.fixture
def few(digits):
    return digits.subset(np.arange(150))


def plain_events(correct):
    events = [0] * len(correct[0])
    for image in range(len(correct[0])):
        was_right = False
        for row in correct:
            events[image] += was_right and not row[image]
            was_right = row[image]
    return events


@pytest.mark.parametrize("epochs", [1, 2, 9])
def test_forgetting_events_are_those_of_a_plain_loop(epochs):
    correct = np.random.default_rng(epochs).random((epochs, 40)) < 0.6
    assert forgetting_events(correct).tolist() == plain_events(correct.tolist())


def test_measures_are_those_of_autograd_in_float64():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(5, 7), nn.Tanh()).double()
    last = nn.Linear(7, 4).double()
    images, labels = torch.randn(30, 5, dtype=torch.float64), torch.randint(0, 4, (30,))
    hidden = body(images)
    with torch.no_grad():
        found = measures(last(hidden), hidden, labels)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        logits = last(body(image))
        loss = nn.functional.cross_entropy(logits[None], torch.tensor([label]))
        gradient = torch.autograd.grad(loss, list(last.parameters()))
        norm = torch.cat([part.flatten() for part in gradient]).norm()
        p = logits.softmax(0).tolist()
        error = sum((value - (c == label)) ** 2 for c, value in enumerate(p)) ** 0.5
        margin = p[label] - max(value for c, value in enumerate(p) if c != label)
        assert float(found["gradient"][number]) == pytest.approx(norm.item(), rel=1e-12)
        assert float(found["error"][number]) == pytest.approx(error, rel=1e-12)
        assert float(found["margin"][number]) == pytest.approx(margin, rel=1e-10)
        assert bool(found["correct"][number]) == (margin > 0)


def test_measures_of_one_class_are_finite():
    found = measures(torch.randn(3, 1), torch.randn(3, 2), torch.zeros(3, dtype=torch.int64))
    assert all(torch.isfinite(values.float()).all() for values in found.values())


def test_a_record_tells_every_epoch_and_recording_changes_no_training(few, context):
    ctx = context()
    recorded = SMALL.recorded(few, ctx)
    for name, dtype in [
        ("correct", bool), ("error", np.float32), ("margin", np.float32), ("gradient", np.float32)
    ]:  # fmt: skip
        assert recorded[name].shape == (4, 150)
        assert recorded[name].dtype == dtype
    extractor = Extractor(SMALL.spec, SMALL.epochs)
    normalisation = Normalisation.of(few.images)
    seed = context().seed("dynamics", 0)
    job = training.Job(
        extractor.model, extractor.recipe, few, None, normalisation, seed, device="cpu"
    )
    network, _ = training.run(job)
    images = DeviceImages(few.images, few.labels, normalisation, torch.device("cpu"))
    with torch.no_grad():
        features = network.features(images.plain(0, 150)).penultimate
        exact = measures(network.classify(features).double(), features.double(), images.labels)
    np.testing.assert_allclose(recorded["features"], features.numpy(), atol=1e-5)
    assert recorded["correct"][-1].tolist() == exact["correct"].tolist()
    for name in ("error", "margin", "gradient"):
        np.testing.assert_allclose(recorded[name][-1], exact[name].numpy(), atol=1e-4)
        assert not np.array_equal(recorded[name][0], recorded[name][-1])


@pytest.mark.parametrize("stopped_after", [1, 3, 4])
def test_an_interrupted_record_is_whole_and_the_same(stopped_after, few, context, monkeypatch):
    interrupted, epochs = context(), []

    def stop(stage, done, total):
        if stage == "dynamics" and done == stopped_after:
            raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, "progress", stop)
    with pytest.raises(KeyboardInterrupt):
        SMALL.recorded(few, interrupted).arrays()
    resumed = context()
    monkeypatch.setattr(resumed, "progress", lambda stage, done, total: epochs.append(done))
    found = SMALL.recorded(few, resumed).arrays()
    straight = SMALL.recorded(few, context(dataset="the same elsewhere")).arrays()
    # Its first epoch is always saved, later ones as often as they pay.
    assert epochs == list(range(5 - len(epochs), 5))
    assert 4 - stopped_after <= len(epochs) < 4
    assert found.keys() == straight.keys()
    for name, array in straight.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_runs_and_seeds_give_other_records(few, context):
    first, second = (SMALL.recorded(few, context(), run) for run in (0, 1))
    other = SMALL.recorded(few, context(seed=1))
    assert len({first.id, second.id, other.id}) == 3
    assert not np.array_equal(first["error"], second["error"])
    assert not np.array_equal(first["error"], other["error"])


def test_five_methods_share_one_recorded_run(few, context):
    shared = "extractor=resnet8[width=4],epochs=4"
    ids = set()
    for spec in ("forgetting[{}]", "el2n[{},score_epoch=2]", "grand[{},score_epoch=4]",
                 "ccs[{}]", "d2[{}]"):  # fmt: skip
        ctx, method = context(), METHODS.make_one(spec.format(shared))
        (declared,) = method.artefacts(few, ctx)
        method.compress(few, budget("20"), ctx)
        assert list(ctx.costs) == [declared.id]
        ids |= set(ctx.costs)
    assert len(ids) == 1


def test_scores_of_more_networks_are_means_and_the_first_run_is_the_shared_one(few, context):
    ctx = context()
    method = METHODS.make_one("grand[extractor=resnet8[width=4],epochs=4,score_epoch=3,networks=2]")
    first, second = method.artefacts(few, ctx)
    assert first.id == SMALL.recorded(few, ctx).id
    expected = (first["gradient"][2].astype(float) + second["gradient"][2]) / 2
    np.testing.assert_allclose(method.scores(few, ctx), expected, rtol=1e-12)


def budget(percent):
    from bench.budgets import Budget

    return Budget.parse(percent)
