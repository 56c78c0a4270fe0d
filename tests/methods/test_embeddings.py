"""What methods look at: features, residuals of losses, heads and the extractor they come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from selections import graphcut_order

from bench.budgets import Budget
from bench.contract import METHODS
from bench.identity import digest
from methods.parts.embeddings import Extractor
from methods.parts.gradients import Gradients, loss_residuals
from methods.parts.holdout import Learners

SMALL = "extractor=resnet8[width=4],extractor_epochs=0"
EIGHTH = Budget.parse("12.5")


# Gradients


def autograd_residuals(logits, labels, loss):
    """The released way: gradients of a summed loss by autograd, in float64."""
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    inner = torch.softmax(z, dim=1) if loss == "double-softmax" else z
    total = torch.nn.functional.cross_entropy(inner, torch.from_numpy(labels), reduction="sum")
    (gradient,) = torch.autograd.grad(total, z)
    return gradient.numpy()


@pytest.mark.parametrize("loss", ["cross-entropy", "double-softmax"])
@pytest.mark.parametrize("scale", [0.1, 5.0, 300.0])
def test_residuals_are_the_losses_gradients_by_the_logits(loss, scale):
    rng = np.random.default_rng(0)
    logits = (scale * rng.normal(size=(40, 7))).astype(np.float32)
    labels = rng.integers(0, 7, 40)
    found = loss_residuals(logits, labels, loss)
    assert found.dtype == np.float32
    assert found == pytest.approx(autograd_residuals(logits, labels, loss), rel=1e-5, abs=1e-12)


def test_residuals_and_features_make_the_last_layers_gradients(digits, context):
    few = digits.subset(np.arange(60))
    ctx = context()
    extractor = Extractor("resnet8[width=4]", 1)
    embeddings = extractor.embeddings(few, ctx)
    residuals = extractor.residuals(few, ctx, embeddings, "double-softmax", "trained")
    network = extractor.load(extractor.network(few, ctx), few, ctx)
    features = torch.from_numpy(embeddings["features"].copy())
    rows = Gradients(residuals["residuals"], embeddings["features"]).rows(np.arange(60))
    for i in (0, 17, 59):
        network.zero_grad()
        logits = network.classify(features[i : i + 1])
        probabilities = torch.softmax(logits, dim=1)
        label = torch.from_numpy(few.labels[i : i + 1])
        torch.nn.functional.cross_entropy(probabilities, label).backward()
        bias, weight = network.last.bias.grad, network.last.weight.grad
        expected = torch.cat([bias, weight.flatten()]).numpy()
        assert rows[i] == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("kernel", ["cosine", "sqeuclidean"])
def test_gradients_are_searched_as_if_they_were_multiplied_out(kernel, digits, context):
    few = digits.subset(np.arange(200))
    ctx = context()
    method = METHODS.make_one(f"graphcut[embedding=gradients,kernel={kernel},{SMALL}]")
    gradients = method.vectors(method.vector_artefacts(few, ctx))
    rows = gradients.rows(np.arange(len(few)))
    counts = EIGHTH.images_by_class(few.class_counts)
    expected = graphcut_order(rows, few.labels, counts, kernel=kernel)
    found = method.compress(few, EIGHTH, ctx).indices
    assert len(set(found) & set(expected)) > 0.9 * len(expected)  # rows are rounded products


def test_losses_and_heads_share_one_extraction(noise, context):
    ctx = context()
    for choice in ("head=random", "head=trained", "loss=double-softmax"):
        spec = f"dq[embedding=gradients,{choice},{SMALL}]"
        METHODS.make_one(spec).compress(noise, EIGHTH, ctx)
    METHODS.make_one(f"dq[{SMALL}]").compress(noise, EIGHTH, ctx)
    kinds = [cost["kind"] for cost in ctx.costs.values()]
    assert kinds.count("embeddings") == 1
    assert kinds.count("residuals") == 3


@pytest.mark.usefixtures("pretrained")
def test_a_random_head_follows_the_seed_where_its_extractor_does_not(noise, context):
    extractor = Extractor("resnet8[width=4]", 0)
    told = {}
    for seed in (0, 1):
        ctx = context(seed)
        embeddings = extractor.embeddings(noise, ctx)
        for head in ("random", "trained"):
            residuals = extractor.residuals(noise, ctx, embeddings, "cross-entropy", head)
            told[seed, head] = residuals["residuals"]
    ids = {extractor.embeddings(noise, context(seed)).id for seed in (0, 1)}
    assert len(ids) == 1
    assert (told[0, "random"] != told[1, "random"]).any()
    assert (told[0, "trained"] == told[1, "trained"]).all()


@pytest.mark.usefixtures("pretrained")
def test_the_normalisation_matters_for_pretrained_extractors(noise, context, monkeypatch):
    from bench.augment import Normalisation
    from bench.models.networks import ResNet

    own = Normalisation((0.5,) * 3, (0.5,) * 3)
    monkeypatch.setattr(ResNet, "own_normalisation", own)
    ctx = context()
    by_own = Extractor("resnet8[width=4]", 0, "own").embeddings(noise, ctx)
    by_data = Extractor("resnet8[width=4]", 0, "data").embeddings(noise, ctx)
    assert by_own.id != by_data.id
    assert (by_own["features"] != by_data["features"]).any()


def test_the_normalisation_of_a_trained_extractor_is_the_datas(noise, context):
    ids = {
        Extractor("resnet8[width=4]", 1, choice).embeddings(noise, context()).id
        for choice in ("own", "data")
    }
    assert len(ids) == 1


def test_an_extractor_of_no_epochs_has_the_seeds_initial_weights(noise, context):
    extractor = Extractor("resnet8[width=4]", 0)
    first = extractor.network(noise, context(0))["last.weight"]
    again = extractor.network(noise, context(0))["last.weight"]
    other = extractor.network(noise, context(1))["last.weight"]
    assert (first == again).all()
    assert (first != other).any()


def test_other_images_can_be_looked_at_instead(noise, context):
    ctx = context()
    inverted = ctx.artefact("inverted", lambda: {"images": 255 - noise.images})
    method = METHODS.make_one(f"dq[{SMALL}]")
    usual, others = method.bins_of(noise, ctx), method.bins_of(noise, ctx, inverted)
    same = ctx.artefact("copied", lambda: {"images": noise.images})
    assert others.id != usual.id
    assert inverted.id in {a.id for e in others.inputs for a in e.inputs}
    assert (others["order"] != usual["order"]).any()
    assert (method.bins_of(noise, ctx, same)["order"] == usual["order"]).all()


RECIPE = "f0ed240d05b1650fb573"


@pytest.mark.parametrize(
    "trained", [Extractor("resnet8", 10), Learners("resnet8", 10, count=1, share=0.2)]
)
def test_the_recipe_that_methods_train_by_is_the_one_of_their_versions(trained):
    """Cells' ids hold a method's version, not its recipe, which a protocol's settings spell."""
    assert digest(trained.recipe.identity()) == RECIPE, (
        "the recipe of extractors, recorded runs and learners has changed: raise the versions of "
        "the methods that train by it (not where only a parameter is new, and trains as before), "
        "then put the new digest here"
    )
