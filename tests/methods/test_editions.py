"""The editions of random, graphcut, dq and adq: what each keeps, and what each difference does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bench.budgets import Budget, ClassBudget
from bench.contract import METHODS, Keeps
from bench.errors import UsageError
from bench.models import MODELS
from methods.dq import split_bins
from methods.parts.embeddings import Extractor, loss_residuals
from methods.parts.gradients import Gradients
from methods.parts.released import ADQ_IMPORTANCES, ADQ_SEGMENTS, adq_segments
from methods.parts.submodular import graphcut_bins, graphcut_order

SMALL = "extractor=resnet8[width=4],extractor_epochs=0"
EIGHTH = Budget.parse("12.5")
RELEASED = {
    "extractor": "timm[architecture=resnet18.tv_in1k,pretrained=true]",
    "extractor_epochs": 0,
    "embedding": "gradients",
    "loss": "double-softmax",
    "head": "random",
    "normalisation": "data",
    "kernel": "cosine",
    "greedy": "released",
    "rounding": "released",
}


@pytest.fixture
def pretrained(monkeypatch):
    """Let ResNet-8 count as a network with pretrained weights."""
    monkeypatch.setattr(
        MODELS.get("resnet8"), "uses_pretrained_weights", property(lambda self: True)
    )


def rounded_by_class(labels, fraction):
    return [round(fraction * n) for n in np.bincount(labels).tolist()]


# What the editions set


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("graphcut", {}),
        ("dq", {"draw": "released"}),
        ("adq", {"draw": "released", "class_quota": False, "shares": "segments"}),
    ],
)
def test_the_released_edition_sets_every_difference(name, more):
    released = METHODS.make_one(f"{name}[edition=released]")
    assert released.spec == f"{name}[edition=released]"
    for key, value in (RELEASED | more).items():
        assert getattr(released, key) == value, key
    assert released.keeps is Keeps.ITS_OWN_COUNT
    assert METHODS.make_one(name).keeps is Keeps.IMAGES


@pytest.mark.parametrize("spec", ["random", "graphcut", "dq", "adq"])
def test_an_edition_is_nothing_but_its_parameters(spec, digits, context):
    few = digits.subset(np.arange(300))
    more = {"random": "", "graphcut": f",{SMALL}"}.get(spec, f",bins=2,{SMALL}")
    name = f"{spec}[edition=released{more}]"
    released = METHODS.make_one(name)
    spelled = dataclasses.replace(released, edition="paper")
    by_edition = released.compress(few, EIGHTH, context())
    by_parameters = spelled.compress(few, EIGHTH, context())
    assert by_parameters.indices.tolist() == by_edition.indices.tolist()
    assert spelled.identity() != released.identity()


DIFFERENCES = [
    "random[balance=false]",
    "random[rounding=released]",
    "random[draw=released]",
    "graphcut[embedding=gradients]",
    "graphcut[embedding=gradients,loss=double-softmax]",
    "graphcut[embedding=gradients,head=random]",
    "graphcut[kernel=cosine]",
    "graphcut[kernel=cosine,greedy=released]",
    "graphcut[balance=false]",
    "graphcut[rounding=released]",
    "dq[embedding=gradients,kernel=cosine]",
    "dq[embedding=gradients,kernel=cosine,greedy=released]",
    "dq[balance=false]",
    "dq[class_quota=false]",
    "dq[balance=false,class_quota=false,rounding=released]",
    "dq[draw=released]",
    "dq[rounding=released]",
    "adq[class_quota=false,draw=released]",
    "adq[rounding=floor]",
    "adq[rounding=released]",
    "adq[shares=literal]",
    "adq[shares=product]",
    "adq[shares=segments,scores=released,class_quota=false]",
    "adq[shares=segments,scores=none,class_quota=false,rounding=floor,bins=1]",
    "adq[scores=released,bins=10]",
    "adq[scores=released,bins=4]",
    "adq[diversity=gram,scores=ds]",
]


@pytest.mark.parametrize("spec", DIFFERENCES)
def test_each_difference_is_a_parameter_of_its_own_and_gives_a_sound_set(spec, noise, context):
    small = "" if spec.startswith("random") else f",{SMALL}"
    method = METHODS.make_one(spec.replace("]", f"{small}]"))
    for percent in ("10", "41.3", "100"):
        budget = Budget.parse(percent)
        compressed = method.compress(noise, budget, context())
        compressed.check(noise, budget, method.keeps)
        if compressed.bin_counts:
            assert sum(compressed.bin_counts) == len(compressed)
        if method.keeps is Keeps.ITS_OWN_COUNT and method.budgeted:
            assert compressed.notes["kept_images"] == len(compressed)
            assert compressed.notes["asked_images"] == budget.images(len(noise))


def test_the_declared_artefacts_are_those_that_are_read(noise, context):
    kinds = {}
    for spec in (
        "graphcut[edition=released]",
        "dq[edition=released,bins=2]",
        "adq[edition=released,bins=2]",
        "adq[edition=released-intended,bins=4]",
    ):
        ctx = context()
        method = METHODS.make_one(spec.replace("]", f",{SMALL}]"))
        declared = {artefact.id for artefact in method.artefacts(noise, ctx)}
        method.compress(noise, EIGHTH, ctx)
        assert declared <= set(ctx.costs)
        kinds[spec] = {cost["kind"] for cost in ctx.costs.values()}
    vectors = {"extractor", "embeddings", "residuals"}
    assert kinds["graphcut[edition=released]"] == vectors
    assert kinds["dq[edition=released,bins=2]"] == vectors | {"bins"}
    assert kinds["adq[edition=released,bins=2]"] == vectors | {"bins"}
    scores = {"bins", "texture", "gram vectors", "scores"}
    assert kinds["adq[edition=released-intended,bins=4]"] == vectors | scores


# Wrong use


def test_weights_that_cannot_be_had_are_told_with_the_way_out(noise, context, monkeypatch):
    from bench.models import pretrained

    def offline(url):
        raise OSError("no route to host")

    monkeypatch.setattr(pretrained, "_ask", offline)
    with pytest.raises(UsageError, match=r"resnet18.tv_in1k.*no route(.|\n)*extractor=resnet8"):
        METHODS.make_one("dq[edition=released]").compress(noise, EIGHTH, context())


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("dq[greedy=released]", "kernel=cosine"),
        ("graphcut[greedy=released]", "greedy=exact"),
        ("adq[edition=released,scores=rs]", "scores=released or none"),
        ("adq[edition=released,class_quota=true]", "class_quota=false"),
        ("adq[edition=literal,scores=none]", "scores=rs"),
        ("dq[edition=literal]", "paper or released"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(spec, hint):
    with pytest.raises(UsageError, match=hint):
        METHODS.make_one(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "random[balance=false]",
        "random[rounding=released]",
        "graphcut[balance=false,extractor_epochs=0]",
        "dq[class_quota=false,extractor_epochs=0]",
        "dq[rounding=released,extractor_epochs=0]",
    ],
)
def test_what_knows_no_classes_refuses_classes_with_shares_of_their_own(spec, noise, context):
    budget = ClassBudget.of_classes([4, 3, 3], len(noise))
    with pytest.raises(UsageError, match="class"):
        METHODS.make_one(spec).compress(noise, budget, context())


# random


def test_released_random_is_that_of_uniform_py(digits, context):
    before = np.random.get_state()
    try:
        np.random.seed(3)
        expected = np.concatenate([
            np.random.choice(np.flatnonzero(digits.labels == label), count, replace=False)
            for label, count in enumerate(rounded_by_class(digits.labels, 0.125))
        ])  # fmt: skip
    finally:
        np.random.set_state(before)
    kept = METHODS.make_one("random[edition=released]").compress(digits, EIGHTH, context(3))
    assert kept.indices.tolist() == expected.tolist()


def test_unbalanced_random_takes_the_lowest_priorities_of_all(digits, context):
    unbalanced = METHODS.make_one("random[balance=false]")
    small = unbalanced.compress(digits, EIGHTH, context()).indices
    large = unbalanced.compress(digits, Budget.parse("50"), context()).indices
    assert large[: len(small)].tolist() == small.tolist()
    counts = np.bincount(digits.labels[small], minlength=10)
    assert counts.sum() == EIGHTH.images(len(digits))
    assert counts.tolist() != EIGHTH.images_by_class(digits.class_counts).tolist()


# graphcut and dq


def test_released_graphcut_keeps_rounded_classes_sorted(digits, context):
    method = METHODS.make_one(f"graphcut[edition=released,{SMALL}]")
    picks = method.compress(digits, EIGHTH, context()).indices
    labels = digits.labels[picks]
    assert np.bincount(labels).tolist() == rounded_by_class(digits.labels, 0.125)
    for label in range(10):
        assert (np.diff(picks[labels == label]) > 0).all()


def test_released_and_exact_picks_differ_by_near_ties_only(digits, context):
    few = digits.subset(np.arange(400))
    specs = [f"graphcut[kernel=cosine,greedy={greedy},{SMALL}]" for greedy in ("released", "exact")]
    released, exact = (METHODS.make_one(s).compress(few, EIGHTH, context()).indices for s in specs)
    assert len(set(released) & set(exact)) > 0.9 * len(exact)


def test_released_dq_rounds_every_class_of_every_bin(digits, context):
    method = METHODS.make_one(f"dq[edition=released,bins=4,{SMALL}]")
    ctx = context()
    compressed = method.compress(digits, EIGHTH, ctx)
    bins = split_bins(method.bins_of(digits, ctx))
    expected = [sum(rounded_by_class(digits.labels[one], 0.125)) for one in bins]
    assert list(compressed.bin_counts) == expected
    assert compressed.notes["search"] == ["released"]
    assert sorted(np.concatenate(bins).tolist()) == list(range(len(digits)))
    assert (np.diff(bins[-1]) > 0).all()  # the last bin is what is left, in the order of positions


def released_graphcut(rows, budget):
    """NaiveGreedy on the released GraphCut: float32 cosines, sums over the picks for every gain."""
    unit_of = np.linalg.norm(rows, axis=1)
    similar = 0.5 + 0.5 * (rows @ rows.copy().T) / (unit_of[:, None] * unit_of)
    total = np.sum(similar[:, np.ones(len(rows), bool)], axis=0)  # the copy's layout decides bits
    picked = np.zeros(len(rows), bool)
    for _ in range(budget):
        left = np.flatnonzero(~picked)
        gain = -2.0 * np.sum(similar[np.ix_(picked, ~picked)], axis=0) + total[left]
        picked[left[gain.argmax()]] = True
    return np.flatnonzero(picked)


def quantize_sample(rows, labels, bins):
    """The released bins: recursively, each class on its own, the last bin what is left."""
    left, found, size = np.arange(len(rows)), [], round(len(rows) / bins)
    for _ in range(bins - 1):
        fraction, picks = size / len(left), []
        for label in range(labels.max() + 1):
            pool = left[labels[left] == label]
            picks.append(pool[released_graphcut(rows[pool], round(fraction * len(pool)))])
        found.append(np.concatenate(picks))
        left = np.setdiff1d(left, found[-1])
    return [*found, left]


def test_released_dq_is_the_released_scripts_one_after_the_other(digits, context):
    few = digits.subset(np.arange(240))
    method = METHODS.make_one("dq[edition=released,bins=4,extractor=resnet8[width=4]]")
    ctx = context(5)
    rows = method.vectors(method.vector_artefacts(few, ctx)).rows(np.arange(240))
    assert rows.shape == (240, 10 * 17)
    kept = []
    for one in quantize_sample(rows, few.labels, 4):
        state = np.random.RandomState(5)
        for label in range(10):
            members = one[few.labels[one] == label]
            kept += state.choice(members, round(0.3 * len(members)), replace=False).tolist()
    assert method.compress(few, Budget.parse("30"), ctx).indices.tolist() == kept


@pytest.mark.parametrize("name", ["graphcut", "dq"])
def test_records_say_how_the_picks_were_found(name, noise, context):
    released = METHODS.make_one(f"{name}[edition=released,{SMALL}]")
    third = Budget.parse("33")
    assert released.compress(noise, third, context()).notes["search"] == ["released"]
    compressed = METHODS.make_one(f"{name}[{SMALL}]").compress(noise, EIGHTH, context())
    assert compressed.notes["search"]
    assert set(compressed.notes["search"]) <= {"matrix", "products"}
    assert compressed.notes["smallest_gap"] is None or compressed.notes["smallest_gap"] >= 0


def test_an_unbalanced_pool_gives_the_bins_of_the_whole_set(noise, context):
    method = METHODS.make_one(f"dq[balance=false,{SMALL}]")
    ctx = context()
    features = method.embeddings(noise, ctx)["features"]
    expected = graphcut_bins(features, None, 10, "sqeuclidean", balance=False)
    found = split_bins(method.bins_of(noise, ctx))
    assert [one.tolist() for one in found] == [one.tolist() for one in expected]


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


# adq


def test_released_adq_draws_segments_of_every_bin(digits, context):
    method = METHODS.make_one(f"adq[edition=released,bins=3,{SMALL}]")
    ctx = context()
    compressed = method.compress(digits, EIGHTH, ctx)
    bins = split_bins(method.bins_of(digits, ctx))
    start = 0
    for one, count in zip(bins, compressed.bin_counts, strict=True):
        sizes = adq_segments(len(one))
        weights = sizes * np.array(ADQ_IMPORTANCES)
        wanted = [round(w / weights.sum() * int(0.125 * len(one))) for w in weights]
        drawn = [np.flatnonzero(one == i)[0] for i in compressed.indices[start : start + count]]
        places = np.searchsorted(np.cumsum(sizes), drawn, side="right")
        assert np.bincount(places, minlength=10).tolist() == wanted
        start += count
    assert compressed.notes["scaled_segments"] is True
    assert compressed.notes["capped_segments"] is False
    assert compressed.notes["segment_importance"] == list(ADQ_IMPORTANCES)


def test_bins_of_5000_have_the_released_segments():
    method = METHODS.make_one("adq[edition=released]")
    bins = [np.arange(5000) + 5000 * n for n in range(10)]
    train = type("Train", (), {"labels": np.zeros(50000, int), "classes": ("a",)})()
    plan, notes = method.plan(bins, train, EIGHTH, None)
    assert [[len(part) for part, _ in pools] for pools in plan] == [list(ADQ_SEGMENTS)] * 10
    assert [sum(count for _, count in pools) for pools in plan] == [625] * 10
    assert notes["scaled_segments"] is False


def test_released_adq_without_importances_draws_segments_by_size():
    method = METHODS.make_one("adq[edition=released,scores=none]")
    train = type("Train", (), {"labels": np.zeros(5000, int), "classes": ("a",)})()
    (pools,), notes = method.plan([np.arange(5000)], train, EIGHTH, None)
    assert [count for _, count in pools] == [round(n / 5000 * 625) for n in ADQ_SEGMENTS]
    assert notes["segment_importance"] == [1.0] * 10


def test_intended_adq_shares_the_budget_by_size_times_importance(digits, context):
    method = METHODS.make_one(f"adq[edition=released-intended,{SMALL}]")
    ctx = context()
    compressed = method.compress(digits, EIGHTH, ctx)
    weights = method.bins_of(digits, ctx)["sizes"] * np.array(ADQ_IMPORTANCES)
    expected = [round(w / weights.sum() * int(0.125 * len(digits))) for w in weights]
    assert list(compressed.bin_counts) == expected
    assert compressed.notes["importance_of"] == "released constants"
    assert compressed.notes["importance"] == list(ADQ_IMPORTANCES)


def test_released_importances_give_way_to_own_scores_where_there_are_not_ten_bins(digits, context):
    few = digits.subset(np.arange(300))
    compressed = METHODS.make_one(f"adq[edition=released-intended,bins=4,{SMALL}]").compress(
        few, EIGHTH, context()
    )
    assert compressed.notes["importance_of"] == "rs+ds"
    assert len(compressed.notes["importance"]) == 4
    assert max(compressed.notes["importance"]) <= 2


def test_literal_adq_keeps_the_same_whatever_is_asked(digits, context):
    method = METHODS.make_one(f"adq[edition=literal,{SMALL}]")
    kept = [method.compress(digits, Budget.parse(p), context()) for p in ("10", "30")]
    assert kept[0].bin_counts == kept[1].bin_counts
    sizes = method.bins_of(digits, context())["sizes"]
    importance = np.array(kept[0].notes["importance"])
    rates = 0.65 * importance + 0.35 * sizes / sizes.sum()
    assert list(kept[0].bin_counts) == np.minimum(np.floor(rates * sizes + 1e-9), sizes).tolist()
    assert "asked_images" not in kept[0].notes
    assert method.keeps is Keeps.ITS_OWN_COUNT
    assert not method.budgeted


@pytest.mark.parametrize("spec", ["adq[edition=literal,alpha=0,bins=17]", "dq[rounding=released]"])
def test_a_reading_that_keeps_nothing_is_told(spec, noise, context):
    even = noise.subset(np.concatenate([np.flatnonzero(noise.labels == n)[:17] for n in range(3)]))
    method = METHODS.make_one(spec.replace("]", f",{SMALL}]"))
    with pytest.raises(UsageError, match="take fewer bins"):
        method.compress(even, Budget.parse("2"), context())


def test_a_class_without_images_does_no_harm(noise, context):
    two = noise.subset(np.flatnonzero(noise.labels != 1))
    more = {
        "random": "",
        "graphcut": f",{SMALL}",
        "dq": f",bins=2,{SMALL}",
        "adq": f",bins=2,{SMALL}",
    }
    for name, parameters in more.items():
        method = METHODS.make_one(f"{name}[edition=released{parameters}]")
        compressed = method.compress(two, Budget.parse("50"), context())
        compressed.check(two, Budget.parse("50"), method.keeps)


def test_nothing_touches_the_global_generators(noise, context):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    for spec in ("adq[diversity=gram]", "graphcut[edition=released]"):
        method = METHODS.make_one(
            spec.replace("]", ",extractor=resnet8[width=4],extractor_epochs=1]")
        )
        method.compress(noise, EIGHTH, context())
    assert (torch.get_rng_state() == before[0]).all()
    assert (np.random.get_state()[1] == before[1]).all()


@pytest.mark.parametrize(
    "spec", ["adq[scores=none]", "adq[alpha=0]", "adq[shares=product,scores=none]"]
)
def test_adq_without_importance_is_dq_in_its_details_too(spec, digits, context):
    for more in ("draw=released", "class_quota=false"):
        dq = METHODS.make_one(f"dq[{more},{SMALL}]").compress(digits, EIGHTH, context())
        adq = METHODS.make_one(spec.replace("]", f",{more},{SMALL}]")).compress(
            digits, EIGHTH, context()
        )
        assert adq.indices.tolist() == dq.indices.tolist()


def test_adq_with_released_importances_is_the_papers_rule_with_them(digits, context):
    compressed = METHODS.make_one(f"adq[scores=released,rounding=floor,{SMALL}]").compress(
        digits, EIGHTH, context()
    )
    total = EIGHTH.images(len(digits))
    sizes = METHODS.make_one(f"dq[{SMALL}]").bins_of(digits, context())["sizes"]
    shares = 0.65 * np.array(ADQ_IMPORTANCES) / sum(ADQ_IMPORTANCES) + 0.35 * sizes / sizes.sum()
    assert list(compressed.bin_counts) == np.floor(shares * total).astype(int).tolist()
    assert total - 10 <= len(compressed) <= total
