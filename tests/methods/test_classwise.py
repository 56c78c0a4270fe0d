from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bench.budgets import Budget
from bench.components import parameters
from bench.conformance import subjects
from bench.contract import METHODS, CompressedSet, ImageDataset, Method, MethodInfo
from bench.errors import DataError, UsageError
from bench.selecting import select
from methods.classwise import reason_against

TWENTY = Budget.parse("20")
CHEAP = {
    "extractor": "resnet8[width=4]",
    "iterations": 1,
    "batch_real": 8,
    "mae_epochs": 1,
    "extractor_epochs": 1,
    "epochs": 2,
    "score_epoch": 1,
    "bins": 3,
}
LEARNER = "learner=resnet8[width=4],learner_epochs=2,learners=1"


def cheap(name, **changes):
    """Return a method with these parameters that is fast."""
    known = [p.name for p in parameters(METHODS.get(name))]
    given_ = {key: value for key, value in CHEAP.items() if key in known} | changes
    return METHODS.make_one(written(name, given_)).spec


def written(name, values):
    told = ",".join(f"{key}={value}" for key, value in values.items())
    return f"{name}[{told}]" if told else name


def variants(name):
    """Return a method's parameters: all defaults, and every edition and choice of each."""
    known = {p.name: p for p in parameters(METHODS.get(name))}
    found = [{}]
    for parameter in known.values():
        for choice in (True, False) if parameter.type is bool else parameter.choices:
            if choice != parameter.default:
                needed = {"kernel": "cosine"} if parameter.name == "greedy" else {}
                found.append({parameter.name: str(choice).lower(), **needed})
    if "alignment" in known:
        found += [{"drop": "0.25"}, {"drop": "0.25", "alignment": "misaligned"}]
    return [values for values in found if values != {"shares": "position-segments"}]  # in editions


def refused():
    """Return the bases that are refused, with the reason: names, and what is given to them."""
    asked = [(name, values) for name in others() for values in variants(name)]
    reasons = {written(*one): reason_against(METHODS.make_one(written(*one))) for one in asked}
    return {spec: reason for spec, reason in reasons.items() if reason is not None}


def others():
    """Return our methods; plugins that are installed are not on the page."""
    ours = [n for n in METHODS.names() if METHODS.get(n).__module__.startswith("methods.")]
    return [name for name in ours if name != "classwise"]


def bases():
    return [name for name in others() if name not in refused()]


@pytest.fixture
def uneven() -> ImageDataset:
    """Three classes: one of dark images, and two of noise that nothing tells apart."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], 80)).astype(np.int64)
    images = rng.integers(60, 256, (240, 8, 8, 1), dtype=np.uint8)
    images[labels == 0] //= 12
    keys = tuple(f"{number:03d}" for number in range(240))
    return ImageDataset(images, labels, ("dark", "noise", "also noise"), keys)


@pytest.mark.parametrize("name", bases())
def test_uniform_is_the_base_itself(name, noise, context):
    base = METHODS.make_one(cheap(name))
    control = METHODS.make_one(f"classwise[base={base.spec},allocation=uniform]")
    for budget in (TWENTY, Budget.parse("100")):
        straight = select(base, noise, budget, context())
        wrapped = select(control, noise, budget, context())
        assert wrapped.indices.tolist() == straight.indices.tolist()
        assert np.array_equal(wrapped.images, straight.images)
        assert wrapped.bin_counts == straight.bin_counts
    assert [a.id for a in control.artefacts(noise, context())] == [
        a.id for a in base.artefacts(noise, context())
    ]


@pytest.mark.parametrize("name", bases())
@pytest.mark.usefixtures("small_autoencoder")
def test_what_is_not_refused_follows_the_classes_numbers(name, uneven, context):
    not_refused = [v for v in variants(name) if written(name, v) not in refused()]
    for values in not_refused:
        base = cheap(name, **values)
        method = METHODS.make_one(f"classwise[base={base},allocation=error,{LEARNER}]")
        kept = select(method, uneven, TWENTY, context())
        counts = kept.training_set(uneven).class_counts
        assert counts.tolist() == kept.notes["classwise"]["by_class"], base
        assert counts.tolist() != TWENTY.images_by_class(uneven.class_counts).tolist()


def test_the_page_tells_exactly_which_bases_are_refused_and_why():
    page = (Path(__file__).parents[2] / "docs/methods/classwise.md").read_text()
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \|$", page.split("## Bases")[1], re.MULTILINE)
    told = {}
    for reason, names, settings in rows[1:]:
        for name in re.findall("`(.*?)`", names):
            if settings == "all parameters":
                told |= {written(name, values): reason for values in variants(name)}
            else:
                told |= {f"{name}[{one}]": reason for one in re.findall("`(.*?)`", settings)}
    assert told == refused()
    for spec, reason in told.items():
        with pytest.raises(UsageError, match=reason):
            METHODS.make_one(f"classwise[base={spec}]")


@pytest.mark.parametrize(
    "base",
    [
        cheap("graphcut", edition="released", rounding="exact"),
        cheap("adq", edition="released-intended", rounding="exact", class_quota="true"),
    ],
)
def test_released_editions_follow_with_what_keeps_their_own_count_set_back(base, uneven, context):
    method = METHODS.make_one(f"classwise[base={base},allocation=error,{LEARNER}]")
    kept = method.compress(uneven, TWENTY, context())
    assert uneven.subset(kept.indices).class_counts.tolist() == kept.notes["classwise"]["by_class"]


def test_synthetic_images_get_the_classes_numbers_within_their_bytes(uneven, context):
    base = cheap("dm", storage="float32")
    method = METHODS.make_one(f"classwise[base={base},allocation=error,{LEARNER}]")
    budget = Budget.parse("20b")
    kept = select(method, uneven, budget, context())
    assert len(kept) == 12  # of the 48 that are one byte a value
    assert method.looks(uneven.class_counts, budget) == METHODS.make_one(base).looks(
        uneven.class_counts, budget
    )


@pytest.mark.usefixtures("own_methods")
def test_a_base_of_others_that_promises_nothing_is_judged_by_what_it_kept(uneven, context):
    @dataclass(frozen=True)
    class FirstOnes(Method):
        info = MethodInfo("toy", "none", None, "selection", "here")

        def refuse_unready(self, keys):
            raise UsageError(f"not for {len(keys())} images")

        def compress(self, train, budget, ctx):
            return CompressedSet(np.arange(budget.images(len(train))))

    METHODS.register("first-ones")(FirstOnes)
    method = METHODS.make_one("classwise[base=first-ones,allocation=uniform]")
    with pytest.raises(DataError, match=r"kept .* images by class where .* were asked for"):
        method.compress(uneven, TWENTY, context())
    with pytest.raises(UsageError, match="not for 240 images"):
        method.refuse_unready(lambda: uneven.keys)


def test_the_classes_that_nothing_tells_apart_get_images_of_the_easy_one(uneven, context):
    spec = f"classwise[base=random,allocation=error,learner_epochs=8,{LEARNER}]"
    spec = spec.replace(",learner_epochs=2", "")
    kept = METHODS.make_one(spec).compress(uneven, TWENTY, context())
    easy, one, other = uneven.subset(kept.indices).class_counts.tolist()
    assert easy < 10  # of the 16 that is its share
    assert one + other == 48 - easy


@pytest.mark.parametrize("allocation", ["error", "gain"])
def test_the_numbers_follow_from_what_the_record_tells(allocation, digits, context):
    spec = f"classwise[base=random,allocation={allocation},exponent=0.7,{LEARNER}]"
    kept = METHODS.make_one(spec).compress(digits, TWENTY, context())
    told = kept.notes["classwise"]
    judged = np.array(told["judged"])
    accuracy = np.array(told["right"]) / judged
    score = 1 - accuracy[-1] if allocation == "error" else accuracy[1] - accuracy[0]
    wanted = digits.class_counts * np.maximum(score, 1 / judged) ** 0.7
    wanted *= TWENTY.images(len(digits)) / wanted.sum()
    counts = digits.subset(kept.indices).class_counts
    assert np.abs(counts - wanted).max() < 1
    assert counts.tolist() == told["by_class"]
    assert len(told["right"]) == (1 if allocation == "error" else 2)


def test_the_released_adq_numbers_are_for_ten_classes(digits, noise, context):
    method = METHODS.make_one("classwise[base=random,allocation=released-adq]")
    counts = digits.subset(method.compress(digits, TWENTY, context()).indices).class_counts
    wanted = digits.class_counts * np.array(
        [60, 59.2, 64.5, 68.1, 69, 63.7, 60.2, 60.1, 60.1, 60.1]
    )
    assert np.abs(counts - wanted / wanted.sum() * 287).max() < 1
    with pytest.raises(UsageError, match="10 classes, not for 3"):
        method.compress(noise, TWENTY, context())


def test_seeds_decide_and_repeat(uneven, context):
    method = METHODS.make_one(f"classwise[base=random,allocation=gain,{LEARNER}]")
    first, again, other = (
        method.compress(uneven, TWENTY, context(seed, place))
        for seed, place in ((0, "a"), (0, "b"), (1, "a"))
    )
    assert first.indices.tolist() == again.indices.tolist()
    assert first.notes == again.notes
    assert set(first.indices) != set(other.indices)


def test_it_is_charged_for_its_learners_and_its_base(uneven, context):
    method = METHODS.make_one(f"classwise[base={cheap('dq')},allocation=gain,{LEARNER}]")
    ctx = context()
    declared = {one.id for one in method.artefacts(uneven, ctx)}
    method.compress(uneven, TWENTY, ctx)
    kinds = {cost["kind"] for cost in ctx.costs.values()}
    assert kinds == {"extractor", "embeddings", "bins", "learner", "sensitivity"}
    assert declared <= set(ctx.costs)


def test_the_base_takes_part_in_the_identity_with_its_defaults_and_version(monkeypatch):
    method = METHODS.make_one("classwise[base=adq[alpha=0.65]]")
    assert method.base == "adq"
    assert METHODS.from_identity(method.identity()) == method
    before = method.identity()
    monkeypatch.setattr(METHODS.get("adq"), "version", 99)
    assert method.identity() != before
    with pytest.raises(UsageError, match="Plan again"):
        METHODS.from_identity(before)


@pytest.mark.parametrize(
    ("asked", "base"),
    [
        ("classwise", "dq[extractor_epochs=3]"),
        ("classwise[base=dm]", "dm[extractor=convnet3[width=16],iterations=10]"),
        ("classwise[base=dm[iterations=5]]", "dm[extractor=convnet3[width=16],iterations=5]"),
    ],
)
def test_a_check_is_quick_about_the_base_where_nothing_is_typed(asked, base):
    (subject,) = subjects(asked)
    assert subject.method.values()["base"] == base
    assert subject.method.values()["learner_epochs"] == 3


def test_a_base_keeps_its_own_parameters_and_bases_make_a_grid():
    spec = "classwise[base=adq[alpha=0.7],allocation=error]"
    assert METHODS.make_one(spec).spec == spec
    assert len(METHODS.make("classwise[base=[random,dq[bins=3]],exponent=[0,1]]")) == 4


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("classwise[base=dqq]", "Did you mean 'dq'"),
        ("classwise[base=adq[alfa=1]]", "Did you mean 'alpha'"),
        ("classwise[base=adq[alpha=[0,1]]]", "names 2 methods"),
        ("classwise[base=classwise]", "cannot be its own base"),
        ("classwise[allocation=best]", "error or gain or released-adq or uniform"),
        ("classwise[low=30,high=10]", "Give low < high"),
        ("classwise[high=90]", "high at most 80"),
        ("classwise[learner=resnet9]", "Did you mean 'resnet8'"),
    ],
)
def test_wrong_parameters_are_refused_when_the_method_is_made(spec, hint):
    with pytest.raises(UsageError, match=hint):
        METHODS.make_one(spec)
