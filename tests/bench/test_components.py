"""Components: parameters are read, checked and written back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.components import AddedLater, Between, Component, parameters
from bench.errors import UsageError
from bench.models import NamesModel


@dataclass(frozen=True)
class Toy(Component):
    name: ClassVar[str] = "toy"
    about: ClassVar[str] = "no parameter"

    bins: Annotated[int, Between(1, 1000)] = 10
    alpha: Annotated[float, Between(0, 1)] = 0.5
    rate: Annotated[float, Between(0)] = 0.1
    shift: float = 0.0
    scores: Literal["none", "rs", "rs+ds"] = "rs"
    rounds: Literal[1, 2, 4] = 1
    mirrored: bool = False
    extractor: str = "resnet8"


@dataclass(frozen=True)
class Bare(Component):
    name: ClassVar[str] = "bare"


def test_texts_become_values_of_the_parameters_types():
    toy = Toy.from_parameters(
        {"bins": "20", "alpha": "1", "rounds": "4", "mirrored": "Yes", "scores": "rs+ds"}
    )
    assert toy == Toy(bins=20, alpha=1.0, rounds=4, mirrored=True, scores="rs+ds")
    assert type(toy.alpha) is float


@pytest.mark.parametrize("texts", [("1", "1.0", "1e0", " 1 "), ("0", "-0", "0.0", "-0.0")])
def test_spellings_of_one_number_give_one_component(texts):
    made = [Toy.from_parameters({"alpha": text}) for text in texts]
    assert {repr(toy) for toy in made} == {repr(made[0])}


def test_a_whole_number_is_accepted_where_a_number_is_meant():
    assert Toy(alpha=1).identity() == Toy(alpha=1.0).identity()
    assert Toy(alpha=-0.0).identity() == Toy(alpha=0.0).identity()


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({"bins": "ten"}, "toy: bins=ten is not allowed. Give a whole number from 1 to 1000"),
        ({"bins": "2.5"}, "Give a whole number from 1 to 1000"),
        ({"bins": 0}, "bins=0 is not allowed"),
        ({"bins": True}, "bins=True is not allowed"),
        ({"bins": None}, "bins=None is not allowed"),
        ({"bins": 10.0}, "bins=10.0 is not allowed"),
        ({"alpha": "1.01"}, "alpha=1.01 is not allowed. Give a number from 0 to 1"),
        ({"alpha": "nan"}, "alpha=nan is not allowed"),
        ({"alpha": [0.5]}, "is not allowed. Give a number from 0 to 1"),
        ({"rate": -1}, "rate=-1 is not allowed. Give a number at least 0"),
        ({"rate": "inf"}, "rate=inf is not allowed. Give a number at least 0"),
        ({"shift": "nan"}, "shift=nan is not allowed. Give a number"),
        ({"shift": -math.inf}, "shift=-inf is not allowed. Give a number"),
        ({"scores": "ds"}, "scores=ds is not allowed. Give none or rs or rs+ds"),
        ({"rounds": "3"}, "rounds=3 is not allowed. Give 1 or 2 or 4"),
        ({"mirrored": "maybe"}, "mirrored=maybe is not allowed. Give true or false"),
        ({"mirrored": 1}, "mirrored=1 is not allowed"),
        ({"extractor": 3}, "extractor=3 is not allowed. Give a text"),
    ],
)
def test_a_value_that_is_not_allowed_is_told_with_what_is(given, allowed):
    with pytest.raises(UsageError) as caught:
        Toy(**given)
    assert allowed in str(caught.value)


def test_a_replaced_value_is_checked_too():
    with pytest.raises(UsageError, match="bins=-1 is not allowed"):
        replace(Toy(), bins=-1)
    with pytest.raises(FrozenInstanceError):
        Toy().bins = 3


def test_an_unknown_parameter_is_told_with_the_closest_one():
    with pytest.raises(UsageError, match=r"parameter of toy 'aplha'. Did you mean 'alpha'"):
        Toy.from_parameters({"aplha": "1"})


def test_a_component_without_parameters_says_so():
    with pytest.raises(UsageError, match=r"bare has no parameters.*alpha"):
        Bare.from_parameters({"alpha": "1"})


def test_class_variables_are_no_parameters():
    assert [p.name for p in parameters(Toy)] == [
        "bins", "alpha", "rate", "shift", "scores", "rounds", "mirrored", "extractor",
    ]  # fmt: skip


def test_the_identity_has_every_parameter_with_defaults_filled_in():
    identity = Toy(alpha=0.7).identity()
    assert identity["name"] == "toy"
    assert identity["version"] == 1
    assert identity["parameters"] == Toy().values() | {"alpha": 0.7}


def test_a_spec_names_only_what_differs_from_the_defaults():
    assert Toy().spec == "toy"
    assert Toy(bins=10, alpha=0.5).spec == "toy"
    assert Toy(mirrored=True, alpha=0.25).spec == "toy[alpha=0.25,mirrored=true]"


@given(
    first=st.floats(0, 1),
    second=st.floats(0, 1),
    bins=st.integers(1, 3),
    mirrored=st.booleans(),
)
def test_specs_are_equal_exactly_where_components_are(first, second, bins, mirrored):
    one = Toy(alpha=first, bins=bins, mirrored=mirrored)
    other = Toy(alpha=second, bins=2)
    assert (one == other) == (one.spec == other.spec) == (one.identity() == other.identity())


@dataclass(frozen=True)
class ListOfNumbers(Component):
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class WithoutDefault(Component):
    bins: int


@pytest.mark.parametrize("component", [ListOfNumbers, WithoutDefault])
def test_a_parameter_that_no_user_could_leave_out_or_type_is_a_programming_error(component):
    with pytest.raises(TypeError, match=r"parameter (sizes|bins)"):
        parameters(component)


@dataclass(frozen=True)
class Edited(Component):
    """A component with two editions."""

    name: ClassVar[str] = "edited"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "released": {"kernel": "cosine", "rounds": 0}
    }
    edition: Literal["paper", "released"] = "paper"
    kernel: Literal["sqeuclidean", "cosine"] = "sqeuclidean"
    rounds: int = 10


@pytest.mark.parametrize(
    ("given", "spec", "values"),
    [
        ({}, "edited", ("paper", "sqeuclidean", 10)),
        ({"edition": "released"}, "edited[edition=released]", ("released", "cosine", 0)),
        (
            {"edition": "released", "kernel": "sqeuclidean", "rounds": "10"},
            "edited[edition=released,kernel=sqeuclidean,rounds=10]",
            ("released", "sqeuclidean", 10),
        ),
        (
            {"edition": "released", "rounds": 0},
            "edited[edition=released]",
            ("released", "cosine", 0),
        ),
        ({"kernel": "cosine"}, "edited[kernel=cosine]", ("paper", "cosine", 10)),
    ],
)
def test_an_edition_brings_its_own_defaults_and_is_named_by_what_differs(given, spec, values):
    made = Edited.from_parameters(given)
    assert made.spec == spec
    assert tuple(made.values().values()) == values
    assert Edited.from_parameters(made.values()) == made


# parameters that came later


@dataclass(frozen=True)
class Grown(Edited):
    """A component with three parameters that records of it do not know."""

    name: ClassVar[str] = "grown"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"released": {"order": "reversed"}}
    order: Annotated[Literal["straight", "reversed"], AddedLater()] = "straight"
    scale: Annotated[float, Between(0, 1), AddedLater()] = 1
    smooth: Annotated[bool, AddedLater()] = False


def test_a_parameter_added_later_is_in_the_identity_where_it_differs_from_its_default():
    known = Edited().identity()["parameters"]
    assert Grown().identity()["parameters"] == known
    assert Grown(scale=1.0, smooth=False).identity()["parameters"] == known
    assert Grown(scale=0.5).identity()["parameters"] == known | {"scale": 0.5}
    assert Grown(smooth=True).identity()["parameters"] == known | {"smooth": True}


def test_what_an_edition_gives_a_parameter_added_later_is_the_default_there():
    released = Grown.from_parameters({"edition": "released"})
    assert released.order == "reversed"
    known = Edited().identity()["parameters"] | {"edition": "released"}
    assert released.identity()["parameters"] == known
    straight = Grown.from_parameters({"edition": "released", "order": "straight"})
    assert straight.identity()["parameters"] == known | {"order": "straight"}


def test_a_parameter_added_later_is_checked_and_spelled_as_any_other():
    assert [p.name for p in parameters(Grown) if p.is_added_later] == ["order", "scale", "smooth"]
    assert Grown().values() == Edited().values() | {
        "order": "straight", "scale": 1.0, "smooth": False,
    }  # fmt: skip
    assert Grown(order="reversed").spec == "grown[order=reversed]"
    with pytest.raises(UsageError, match=r"order=up is not allowed\. Give straight or reversed"):
        Grown(order="up")
    with pytest.raises(UsageError, match=r"scale=2 is not allowed\. Give a number from 0 to 1"):
        Grown(scale=2)


@dataclass(frozen=True)
class NamesLater(Component):
    model: Annotated[str, NamesModel(), AddedLater()] = "resnet8"


def test_what_names_a_component_is_in_every_identity():
    with pytest.raises(TypeError, match=r"parameter model.*version of what it names"):
        parameters(NamesLater)
