"""Registries: names to components."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.components import AddedLater, Between, Component
from bench.contract import METHODS, MethodInfo
from bench.datasets import DATASETS
from bench.errors import UsageError
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.registry import Registry

REAL = [METHODS, DATASETS, MODELS, PROTOCOLS]


class Thing(Component):
    """The base of this file's components."""


THINGS: Registry[Thing] = Registry("thing", Thing)


@THINGS.register("toy")
@dataclass(frozen=True)
class Toy(Thing):
    bins: Annotated[int, Between(1, 1000)] = 10
    alpha: float = 0.5
    scores: Literal["none", "rs", "rs+ds"] = "rs"
    mirrored: bool = False
    extractor: str = "resnet8"


@THINGS.register("grown")
@dataclass(frozen=True)
class Grown(Toy):
    order: Annotated[Literal["straight", "reversed"], AddedLater()] = "straight"
    scale: Annotated[float, AddedLater()] = 1.0


@THINGS.register("plain")
@dataclass(frozen=True)
class Plain(Thing):
    pass


# names to components


def test_names_are_sorted_and_lead_to_their_classes():
    assert THINGS.names() == ["grown", "plain", "toy"]
    assert THINGS.get("toy") is Toy
    assert Toy.name == "toy"


def test_an_unknown_name_is_told_with_the_closest_one_and_the_command_that_lists_them():
    with pytest.raises(UsageError) as caught:
        THINGS.get("tpy")
    assert "unknown thing 'tpy'. Did you mean 'toy'?" in str(caught.value)
    assert "Known: grown, plain, toy" in str(caught.value)
    assert "bench list things" in str(caught.value)


def test_a_name_like_no_other_gets_no_wrong_hint():
    with pytest.raises(UsageError) as caught:
        THINGS.get("zzzzzzz")
    assert "Did you mean" not in str(caught.value)


def test_a_list_of_specs_is_expanded_in_the_order_given():
    made = THINGS.make("toy[alpha=[1,0]], plain")
    assert made == [Toy(alpha=1.0), Toy(alpha=0.0), Plain()]


@pytest.mark.parametrize("text", ["toy,toy", "toy[alpha=[1,1.0]]", "toy,toy[bins=10]"])
def test_a_component_named_twice_is_refused_however_it_is_spelled(text):
    with pytest.raises(UsageError, match="is named twice"):
        THINGS.make(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("toy,toy", "thing 'toy' is named twice. Name it once"),
        (
            "toy[bins=[5,10]],toy",
            "thing 'toy' is named twice, as 'toy[bins=10]' and as 'toy': what is left out has its "
            "default. Leave one of them out",
        ),
    ],
)
def test_both_spellings_of_what_is_named_twice_are_told(text, told):
    with pytest.raises(UsageError) as caught:
        THINGS.make(text)
    assert str(caught.value) == told


@pytest.mark.parametrize("text", ["", " , "])
def test_an_empty_list_names_the_command_that_lists_what_there_is(text):
    with pytest.raises(UsageError, match=r"no thing given. See: bench list things"):
        THINGS.make(text)


def test_one_component_is_asked_for_and_two_are_given():
    assert THINGS.make_one("toy[bins=3]") == Toy(bins=3)
    with pytest.raises(UsageError, match=r"names 2 things. Name one"):
        THINGS.make_one("toy,plain")


@given(
    st.builds(
        Toy,
        bins=st.integers(1, 1000),
        alpha=st.floats(allow_nan=False, allow_infinity=False),
        scores=st.sampled_from(["none", "rs", "rs+ds"]),
        mirrored=st.booleans(),
        extractor=st.sampled_from(["a", "timm[architecture=vgg11.tv_in1k,pretrained=true]"]),
    )
)
def test_a_spec_and_an_identity_lead_back_to_their_component(toy):
    assert THINGS.make_one(toy.spec) == toy
    assert THINGS.from_identity(toy.identity()) == toy


@pytest.mark.parametrize("registry", REAL, ids=lambda registry: registry.kind)
def test_every_real_component_is_named_by_its_own_spec(registry):
    for name in registry.names():
        component = registry.make_one(name)
        assert component.spec == name
        assert registry.from_identity(component.identity()) == component


# another version of a component


def test_another_version_is_refused_with_both_versions(monkeypatch):
    identity = Toy().identity()
    monkeypatch.setattr(Toy, "version", 2)
    with pytest.raises(UsageError, match=r"version 2 here and 1 in the plan. Plan again"):
        THINGS.from_identity(identity)


def test_a_parameter_that_the_plan_does_not_know_is_named():
    identity = Toy().identity()
    del identity["parameters"]["bins"]
    with pytest.raises(UsageError, match=r"'toy'.*parameters.*bins.*Plan again"):
        THINGS.from_identity(identity)


def test_a_named_component_of_another_version_is_told_with_both_versions(monkeypatch):
    model = MODELS.make_one("resnet8")
    method = METHODS.make_one("classwise[base=dq]")
    identity = method.identity()
    assert identity["named"]
    monkeypatch.setattr(type(model), "version", model.version + 1)
    monkeypatch.setattr(METHODS.get("dq"), "version", METHODS.get("dq").version + 1)
    with pytest.raises(UsageError) as caught:
        METHODS.from_identity(identity)
    now = METHODS.get("dq").version
    assert f"base: dq of version {now} here, dq of version {now - 1} in the plan" in str(
        caught.value
    )


def test_a_parameter_that_is_gone_is_named():
    identity = Toy().identity()
    identity["parameters"]["old"] = 1
    with pytest.raises(UsageError, match="parameter of toy 'old'"):
        THINGS.from_identity(identity)


@given(
    st.builds(
        Grown,
        bins=st.integers(1, 1000),
        order=st.sampled_from(["straight", "reversed"]),
        scale=st.sampled_from([1.0, 0.5]),
    )
)
def test_an_identity_without_what_was_added_later_has_its_default(grown):
    assert THINGS.from_identity(grown.identity()) == grown


def test_an_identity_from_before_a_parameter_leads_to_the_component_of_today():
    before = {**Toy(bins=3).identity(), "name": "grown"}
    assert THINGS.from_identity(before) == Grown(bins=3)
    assert THINGS.nearest(before) == Grown(bins=3)


def test_another_parameter_that_is_lacking_is_refused_and_named_alone():
    identity = Grown().identity()
    del identity["parameters"]["bins"]
    with pytest.raises(UsageError, match=r"\(new: bins\)"):
        THINGS.from_identity(identity)


# registering


def test_a_name_belongs_to_one_class():
    registry: Registry[Thing] = Registry("thing", Thing)
    registry.register("toy")(Toy)
    registry.register("toy")(Toy)  # a module that is imported again does no harm
    with pytest.raises(TypeError, match="thing 'toy' exists twice"):
        registry.register("toy")(Plain)
    assert registry.get("toy") is Toy


def test_a_class_has_one_name():
    registry: Registry[Thing] = Registry("thing", Thing)
    registry.register("plain")(Plain)
    with pytest.raises(TypeError, match="is 'plain' already"):
        registry.register("simple")(Plain)
    assert Plain.name == "plain"


def test_a_class_of_another_base_is_refused():
    with pytest.raises(TypeError, match=r"thing 'text'.*must derive from.*Thing"):
        Registry("thing", Thing).register("text")(str)


class NotADataclass(Thing):
    alpha: float = 0.5


def test_a_class_that_is_no_dataclass_is_refused_for_its_fields_would_be_no_parameters():
    with pytest.raises(TypeError, match=r"must be a dataclass. Write @dataclass"):
        Registry("thing", Thing).register("thing")(NotADataclass)


@dataclass(frozen=True)
class Untypable(Thing):
    sizes: tuple[int, ...] = ()


def test_a_class_with_a_parameter_that_cannot_be_typed_is_refused_where_it_is_written():
    registry: Registry[Thing] = Registry("thing", Thing)
    with pytest.raises(TypeError, match="parameter sizes"):
        registry.register("untypable")(Untypable)
    assert registry.names() == []


class Asking(Thing):
    """A base that asks for more than parameters."""

    info: ClassVar[MethodInfo]

    @abstractmethod
    def compress(self) -> None:
        """Be defined."""


INFO = MethodInfo(title="t", paper="p", year=2025, kind="selection", code="c")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"compress": print}, r"has no info. Give it one, info = MethodInfo\("),
        ({"compress": print, "info": "t"}, "has info='t', which is no MethodInfo"),
        ({"info": INFO}, r"does not define compress\(\)"),
    ],
)
def test_a_class_that_lacks_what_its_base_asks_for_is_refused_where_it_is_written(body, reason):
    registry: Registry[Asking] = Registry("thing", Asking)
    with pytest.raises(TypeError, match=reason):
        registry.register("thing")(dataclass(frozen=True)(type("Made", (Asking,), body)))
    assert registry.names() == []


@pytest.mark.parametrize("name", ["", "two words", "a,b", "a=b", "a[b]"])
def test_a_name_that_cannot_be_typed_is_refused(name):
    with pytest.raises(TypeError, match="a name has no space"):
        Registry("thing", Thing).register(name)(Toy)


# what a base leaves open


class Open(Component):
    info: ClassVar[str]
    anything: ClassVar[Any]
    count: ClassVar[int | None]


def registered(**values):
    """Register a class with these values, and class variables of its own that nobody asks for."""
    own = {"scale": ClassVar[float], "free": ClassVar[Any], "later": ClassVar[int | None]}
    body = {"__annotations__": own, "scale": 1, "free": 1, **values}
    made = dataclass(frozen=True)(type("Given", (Open,), body))
    return Registry("thing", Open).register("given")(made)


def test_a_class_gives_what_its_base_leaves_open_and_its_own_variables_are_its_own():
    assert registered(info="told", anything=1, count=None).name == "given"
    for values, told in (
        ({}, "has no info. Give it one, info = str"),
        ({"info": 3}, "has info=3, which is no str"),
        ({"info": "told"}, "has no anything. Give it one, anything = Any"),
        ({"info": "told", "anything": 1}, "has no count. Give it one, count = int | None"),
    ):
        with pytest.raises(TypeError) as caught:
            registered(**values)
        assert told in str(caught.value)
