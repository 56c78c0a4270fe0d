"""Registries: names to components, ours and those of plugins."""

from __future__ import annotations

import subprocess
import sys
from abc import abstractmethod
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Annotated, Any, ClassVar, Literal

import plugins
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


def with_plugins(monkeypatch, **modules):
    """Return a registry whose plugins are these entry points."""

    def entry_points(group):
        return [EntryPoint(name, value, group) for name, value in modules.items()]

    monkeypatch.setattr("bench.registry.entry_points", entry_points)
    return Registry("thing", Thing, plugins="some.group")


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


# plugins


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("import a_package_that_is_not_there", "ModuleNotFoundError"),
        ("this is no Python", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_a_plugin_that_fails_is_listed_and_harms_nothing(monkeypatch, tmp_path, source, reason):
    (tmp_path / "failing_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    registry = with_plugins(monkeypatch, failing="failing_plugin", fine=__name__)
    registry.register("toy")(Toy)
    assert registry.names() == ["toy"]
    assert registry.make_one("toy") == Toy()
    assert list(registry.broken()) == ["failing"]
    assert "failing_plugin" in registry.broken()["failing"]
    assert reason in registry.broken()["failing"]


def test_a_plugin_that_registers_nothing_is_told_so(monkeypatch):
    registry = with_plugins(monkeypatch, forgetful="json")
    registry.register("toy")(Toy)
    told = "json: it registers no thing. Write @register(NAME) above the class"
    assert registry.broken() == {"forgetful": told}


def test_asking_for_a_broken_plugin_by_name_tells_why_it_is_not_there(monkeypatch):
    registry = with_plugins(monkeypatch, gone="a_module_that_is_not_there")
    with pytest.raises(UsageError, match=r"unknown thing 'gone'.*No module named"):
        registry.get("gone")


def test_plugins_are_imported_when_a_name_is_asked_for_and_once(monkeypatch, tmp_path):
    (tmp_path / "counting_plugin.py").write_text(
        f"open({str(tmp_path / 'log')!r}, 'a').write('imported ')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = with_plugins(monkeypatch, counting="counting_plugin")
    assert not (tmp_path / "log").exists()
    registry.names()
    registry.broken()
    monkeypatch.delitem(sys.modules, "counting_plugin")
    with pytest.raises(UsageError):
        registry.get("none")
    assert (tmp_path / "log").read_text() == "imported "


INSTALLED_PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar
from bench.contract import Method, MethodInfo, register

INFO = MethodInfo(title="t", paper="p", year=2025, kind="selection", code="c")

@register("mine")
@dataclass(frozen=True)
class Mine(Method):
    info: ClassVar[MethodInfo] = INFO
    alpha: float = 0.5

    def compress(self, train, budget, ctx):
        raise NotImplementedError

@register("random")
@dataclass(frozen=True)
class Clash(Method):
    info: ClassVar[MethodInfo] = INFO
"""


def test_an_installed_plugin_adds_methods_and_cannot_take_the_name_of_ours(tmp_path):
    # its folder comes first on the path, so that its entry point is found first
    environment = plugins.install(tmp_path, "aaa", INSTALLED_PLUGIN)
    code = (
        "from bench.contract import METHODS\n"
        "print(METHODS.names())\n"
        "print(METHODS.get('random').__module__, METHODS.make_one('mine[alpha=1]').spec)\n"
        "print(METHODS.broken())\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=60, check=True, env=environment,
    )  # fmt: skip
    names, made, broken = answer.stdout.splitlines()
    assert "'adq'" in names
    assert "'mine'" in names
    assert made == "methods.random mine[alpha=1.0]"
    assert "method 'random' exists twice" in broken
    assert "'builtin'" not in broken


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
