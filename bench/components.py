"""Components: the named, parametrised parts of a cell (methods, data sets, models, protocols)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Protocol,
    Self,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from bench.errors import UsageError, unknown

if TYPE_CHECKING:
    from bench.weights import Weights

EDITION = "edition"
"""The parameter that presets depend on; its own default is never preset."""

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Rule(Protocol):
    """What a parameter's value must meet besides its type; stands in ``Annotated``."""

    def accept(self, value: Any) -> Any:
        """Return the value in its one spelling; raise ValueError or UsageError for a wrong one."""


@runtime_checkable
class NamingRule(Rule, Protocol):
    """The rule of a text parameter that names another component, e.g. an extractor."""

    def identity(self, value: str) -> dict[str, Any]:
        """Return the identity of the component that a value names."""


@runtime_checkable
class WeighingRule(Rule, Protocol):
    """The rule of a parameter whose values may need pretrained weights."""

    def weights(self, value: Any) -> tuple[Weights, ...]:
        """Return the pretrained weights that a value needs."""


@dataclass(frozen=True)
class Between:
    """The closed range of a number parameter, for ``Annotated[float, Between(0, 1)]``."""

    low: float
    high: float = math.inf

    def accept(self, value: float) -> float:
        """Return the value; raise ValueError when it is outside or not finite."""
        if not (self.low <= value <= self.high and math.isfinite(value)):
            raise ValueError(value)
        return value

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"at least {self.low:g}"
        return f"from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class AddedLater:
    """The mark of a parameter that is younger than records of its component; in ``Annotated``.

    An identity leaves it out while it has its default, so that those records keep their ids. That
    default is what the component did before, and never changes without a raised ``version``.
    """


@dataclass(frozen=True)
class Parameter:
    """One parameter of a component: its name, type, default and what it may be."""

    name: str
    type: type
    default: Any
    choices: tuple[Any, ...] = ()
    rule: Rule | None = None
    is_added_later: bool = False
    """Whether it is marked as :class:`AddedLater`."""

    @property
    def allowed(self) -> str:
        """What the parameter may be, in words."""
        if self.choices:
            return " or ".join(str(choice) for choice in self.choices)
        if self.type is bool:
            return "true or false"
        noun = {int: "a whole number", float: "a number", str: "a text"}[self.type]
        return f"{noun} {self.rule}" if self.rule else noun

    @cached_property
    def naming_rule(self) -> NamingRule | None:
        """The rule that names another component, if it does; asked once, since that is slow."""
        return self.rule if isinstance(self.rule, NamingRule) else None

    def convert(self, value: Any, owner: str) -> Any:
        """Return the value in the parameter's type, or raise a UsageError.

        Texts are read as users type them; an int is accepted where a float is meant.
        """
        refusal = UsageError(f"{owner}: {self.name}={value} is not allowed. Give {self.allowed}")
        try:
            converted = self._read(value) if isinstance(value, str) else value
            if self.type is float and type(converted) in (int, float):
                converted = _finite(float(converted))
            if type(converted) is not self.type or (self.choices and converted not in self.choices):
                raise ValueError(converted)
            return self.rule.accept(converted) if self.rule else converted
        except (KeyError, ValueError, OverflowError):
            raise refusal from None
        except UsageError as error:
            raise UsageError(f"{owner}: {self.name}: {error}") from None

    def _read(self, text: str) -> Any:
        if self.type is bool:
            return _TRUTH[text.lower()]
        return self.type(text)


def parameters(component: type) -> tuple[Parameter, ...]:
    """Return a component class's parameters in their order of definition."""
    return _parameters(component)


@cache
def _parameters(component: Any) -> tuple[Parameter, ...]:
    hints = get_type_hints(component, include_extras=True)
    return tuple(
        _parameter(field.name, hints[field.name], field.default)
        for field in dataclasses.fields(component)
        if field.init
    )


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    notes: list[Any] = []
    if default is dataclasses.MISSING:
        raise TypeError(f"parameter {name} has no default; give it one")
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
    rule = next((note for note in notes if hasattr(note, "accept")), None)
    is_added_later = any(isinstance(note, AddedLater) for note in notes)
    if is_added_later and isinstance(rule, NamingRule):
        raise TypeError(
            f"parameter {name}: the version of what it names must be in every id; "
            "leave out AddedLater and raise the version"
        )
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return Parameter(name, type(choices[0]), default, choices, None, is_added_later)
    if hint not in (bool, int, float, str):
        raise TypeError(f"parameter {name}: {hint}; use bool, int, float, str or Literal")
    return Parameter(name, hint, default, (), rule, is_added_later)


def missing(component: type, base: type) -> str:
    """Return what a component class leaves open that its base asks for; empty if nothing.

    A base asks by a ``ClassVar`` without a value and by an abstract method.
    """
    for name, hint in get_type_hints(base).items():
        if get_origin(hint) is not ClassVar or hasattr(base, name):
            continue
        wanted = get_args(hint)[0]
        told = getattr(wanted, "__name__", str(wanted))
        if not hasattr(component, name):
            return f"has no {name}. Give it one, {name} = {told}(...)"
        is_plain = isinstance(wanted, type) and wanted is not Any
        if is_plain and not isinstance(getattr(component, name), wanted):
            return f"has {name}={getattr(component, name)!r}, which is no {told}"
    for name in dir(component):
        if getattr(getattr(component, name), "__isabstractmethod__", False):
            return f"does not define {name}()"
    return ""


@dataclass(frozen=True)
class Component:
    """Base of everything that a cell names.

    A subclass is a frozen dataclass whose fields are its parameters (bool, int, float, str,
    ``Literal``, each with a default), validated when it is made. ``version`` is part of the
    identity: raise it when the same parameters begin to give other results.

    A class with an ``edition`` parameter may give other defaults to its editions in ``presets``.
    They hold where a component is named, ``dq[edition=released]``; a class that is called in
    Python takes what it is given.
    """

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """By edition: the defaults of the other parameters that differ from those of the class."""

    def __post_init__(self) -> None:
        for parameter in parameters(type(self)):
            value = parameter.convert(
                getattr(self, parameter.name), self.name or type(self).__name__
            )
            object.__setattr__(self, parameter.name, value)

    def values(self) -> dict[str, Any]:
        """Return all parameters with their values, defaults filled in."""
        return {p.name: getattr(self, p.name) for p in parameters(type(self))}

    @cached_property
    def spec(self) -> str:
        """The shortest text that names this component: only what differs from the defaults."""
        usual = self.defaults(getattr(self, EDITION, None))
        changed = {name: v for name, v in self.values().items() if v != usual[name]}
        return written(self.name, changed)

    def identity(self) -> dict[str, Any]:
        """Return what takes part in a cell's id.

        Name, version, all parameters but those :class:`AddedLater` that have their default (of
        the edition), and the identities of the components that parameters name.
        """
        usual = self.defaults(getattr(self, EDITION, None))
        later = {p.name for p in parameters(type(self)) if p.is_added_later}
        values = {k: v for k, v in self.values().items() if k not in later or v != usual[k]}
        told = {"name": self.name, "version": self.version, "parameters": values}
        named = {
            p.name: p.naming_rule.identity(getattr(self, p.name))
            for p in parameters(type(self))
            if p.naming_rule is not None
        }
        return told | ({"named": named} if named else {})

    def weights(self) -> tuple[Weights, ...]:
        """Return the pretrained weights that computing with it needs.

        By default those of the components that its parameters name.
        """
        return tuple(
            one
            for p in parameters(type(self))
            if isinstance(p.rule, WeighingRule)
            for one in p.rule.weights(getattr(self, p.name))
        )

    @classmethod
    def from_parameters(cls, given: dict[str, Any]) -> Self:
        """Make the component from values or texts; unknown parameters are told with hints."""
        known = {p.name for p in parameters(cls)}
        for key in given:
            if not known:
                raise UsageError(f"{cls.name} has no parameters. Leave out '{key}'")
            if key not in known:
                raise unknown(f"parameter of {cls.name}", key, known)
        return cls(**{**cls.presets.get(given.get(EDITION, ""), {}), **given})

    @classmethod
    def defaults(cls, edition: str | None = None) -> dict[str, Any]:
        """Return what the parameters are when they are not given, for one edition."""
        usual = {p.name: p.default for p in parameters(cls)}
        return {**usual, **cls.presets.get(edition or "", {})}


def written(name: str, values: Mapping[str, Any]) -> str:
    """Return the text that names a component with these values of its parameters."""
    told = [f"{parameter}={_write(value)}" for parameter, value in values.items()]
    return f"{name}[{','.join(told)}]" if told else name


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return value + 0.0  # -0.0 becomes 0.0: two spellings of one number have one identity


def _write(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"
