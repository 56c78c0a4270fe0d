"""Registries: from the names that users type to components, ours and those of plugins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from bench.components import Component, missing, parameters
from bench.errors import UsageError, unknown
from bench.specs import Spec, expand, is_name, split_list

C = TypeVar("C", bound=Component)
_OURS = "builtin"
"""Our entry point; it is loaded first, so that no plugin takes a name of ours."""


@dataclass(frozen=True)
class Others:
    """Names that a library keeps; each stands for a value of a parameter of one component.

    Only a name that no component has is asked for there, since the library may be slow to import.
    """

    library: str
    component: str
    parameter: str
    has: Callable[[str], bool]
    matching: Callable[[str], list[str]]
    """The names that a pattern with ``*`` and ``?`` matches."""
    nearest: Callable[[str], list[str]]
    """The names that a wrong one may have meant, best first."""
    told: Callable[[str], dict[str, str]]
    """What the library knows of a name, by what it is."""

    def spec(self, name: str, parameters: tuple[tuple[str, str], ...] = ()) -> Spec:
        """Return what a name stands for."""
        if self.parameter in dict(parameters):
            raise UsageError(
                f"'{name}' stands for {self.component}[{self.parameter}={name}]. "
                f"Leave out the other {self.parameter}"
            )
        return Spec(self.component, ((self.parameter, name), *parameters))


class Registry(Generic[C]):
    """The components of one kind, by name.

    Parameters
    ----------
    kind : str
        The word for one of them, e.g. ``method``.
    base : type
        What each of them must derive from.
    plugins : str
        The entry-point group whose modules register more of them when they are imported.
    others : Others, optional
        More names, which a library keeps.
    """

    def __init__(
        self, kind: str, base: type, plugins: str = "", others: Others | None = None
    ) -> None:
        self.kind = kind
        self.others = others
        self._base = base
        self._plugins = plugins
        self._loaded = not plugins
        self._classes: dict[str, type[C]] = {}
        self._broken: dict[str, str] = {}

    def register(self, name: str) -> Callable[[type[C]], type[C]]:
        """Return the decorator that enters a component class under a name."""

        def enter(component: type[C]) -> type[C]:
            if not is_name(name):
                raise TypeError(f"{self.kind} '{name}': a name has no space, comma, = or bracket")
            if not issubclass(component, self._base):
                raise TypeError(f"{self.kind} '{name}': {component} must derive from {self._base}")
            present = self._classes.get(name)
            if present is not None and present is not component:
                raise TypeError(f"{self.kind} '{name}' exists twice: {present} and {component}")
            if present is None and component in self._classes.values():
                raise TypeError(f"{self.kind} '{name}': {component} is '{component.name}' already")
            if "__dataclass_fields__" not in vars(component):
                raise TypeError(
                    f"{self.kind} '{name}': {component} must be a dataclass. "
                    "Write @dataclass(frozen=True) between the registration and the class"
                )
            parameters(component)  # raises a TypeError for one that users could not type
            if open_ends := missing(component, self._base):
                raise TypeError(f"{self.kind} '{name}': {component} {open_ends}")
            component.name = name
            self._classes[name] = component
            return component

        return enter

    def names(self) -> list[str]:
        """Return all names, sorted."""
        self._load_plugins()
        return sorted(self._classes)

    def matching(self, pattern: str) -> tuple[list[str], list[str]]:
        """Return the names that a pattern matches: those of components, and others beside them."""
        own = [name for name in self.names() if fnmatchcase(name, pattern)]
        others = self.others.matching(pattern) if self.others else []
        return own, [name for name in others if name not in self._classes]

    def broken(self) -> dict[str, str]:
        """Return the plugins that could not be imported, with the reason."""
        self._load_plugins()
        return dict(self._broken)

    def get(self, name: str) -> type[C]:
        """Return the class of a name; raise a UsageError with hints if there is none."""
        self._load_plugins()
        try:
            return self._classes[name]
        except KeyError:
            raise self._unknown(name) from None

    def meant(self, spec: Spec) -> Spec:
        """Return the spec itself, or what it stands for where its name is one of the others."""
        self._load_plugins()
        if spec.name in self._classes or self.others is None or not self.others.has(spec.name):
            return spec
        return self.others.spec(spec.name, spec.parameters)

    def long_form(self, text: str) -> str:
        """Return what a text stands for if its name is one of the others; asks no library."""
        specs = list(expand(text))
        if self.others is None or len(specs) != 1 or specs[0].name == self.others.component:
            return text
        return str(self.others.spec(specs[0].name, specs[0].parameters))

    def _unknown(self, name: str) -> UsageError:
        see, near = f"bench list {self.kind}s", ""
        then = f"See: {see}"
        if self.others is not None:
            library = self.others.library
            alike = [one for one in self.others.nearest(name) if one not in self._classes]
            near = f"Nearest of {library}: {', '.join(alike)}.\n" if alike else ""
            then += f"; of {library}: {see} '{name[:3].lower() if alike else ''}*'"
        if name in self._broken:
            then += f" ({self._broken[name]})"
        return unknown(self.kind, name, self._classes, near + then)

    def _twice(self, first: str, second: str, component: C) -> UsageError:
        if first == second:
            return UsageError(f"{self.kind} '{first}' is named twice. Name it once")
        return UsageError(
            f"{self.kind} '{component.spec}' is named twice, as '{first}' and as '{second}': what "
            "is left out has its default. Leave one of them out"
        )

    def make(self, text: str) -> list[C]:
        """Return the components that a comma list of specs names, grids expanded, each once."""
        made: dict[str, C] = {}
        typed: dict[str, str] = {}
        for item in split_list(text):
            for spec in expand(item):
                meant = self.meant(spec)
                component = self.get(meant.name).from_parameters(dict(meant.parameters))
                if component.spec in made:
                    raise self._twice(typed[component.spec], str(spec), component)
                made[component.spec], typed[component.spec] = component, str(spec)
        if not made:
            raise UsageError(f"no {self.kind} given. See: bench list {self.kind}s")
        return list(made.values())

    def make_one(self, text: str) -> C:
        """Return the single component that a spec names."""
        made = self.make(text)
        if len(made) != 1:
            raise UsageError(f"'{text}' names {len(made)} {self.kind}s. Name one")
        return made[0]

    def from_identity(self, identity: dict[str, Any]) -> C:
        """Return the component that an identity tells of; refuse another version of it.

        A parameter that the identity lacks is refused too, unless identities leave it out.
        """
        component = self.get(identity["name"]).from_parameters(identity["parameters"])
        if component.version != identity["version"]:
            raise UsageError(
                f"{self.kind} '{identity['name']}' has version {component.version} here and "
                f"{identity['version']} in the plan. Plan again with this version of bench"
            )
        told = component.identity()
        if told != identity:
            raise UsageError(
                f"{self.kind} '{identity['name']}' has other parameters or versions here than in "
                f"the plan ({_difference(told, identity)}). Plan again with this version of bench"
            )
        return component

    def nearest(self, identity: dict[str, Any]) -> C | None:
        """Return the component with an identity's parameters, of whatever version; None if none."""
        try:
            return self.get(identity["name"]).from_parameters(identity["parameters"])
        except UsageError:
            return None

    def _load_plugins(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        points = entry_points(group=self._plugins)
        for point in sorted(points, key=lambda point: point.name != _OURS):
            self._load(point)

    def _load(self, point: EntryPoint) -> None:
        before = len(self._classes)
        try:
            point.load()
        except (Exception, SystemExit) as error:  # a plugin may fail in any way; others go on
            reason = " ".join(str(error).split())
            self._broken[point.name] = f"{point.value}: {type(error).__name__}: {reason}"
            return
        package = point.module.split(".")[0]
        has_own = any(one.__module__.split(".")[0] == package for one in self._classes.values())
        if len(self._classes) == before and not has_own:
            self._broken[point.name] = (
                f"{point.value}: it registers no {self.kind}. Write @register(NAME) above the class"
            )


def _difference(here: dict[str, Any], planned: dict[str, Any]) -> str:
    """Return in words what an identity here has otherwise than that of a plan."""
    if (here["name"], here["version"]) != (planned["name"], planned["version"]):
        return (
            f"{here['name']} of version {here['version']} here, "
            f"{planned['name']} of version {planned['version']} in the plan"
        )
    ours, theirs = here["parameters"], planned["parameters"]
    if new := sorted(ours.keys() - theirs.keys()):
        return f"new: {', '.join(new)}"
    told = [
        f"{k}={ours[k]} here, {k}={theirs[k]} in the plan" for k in ours if ours[k] != theirs[k]
    ]
    before = planned.get("named", {})
    for name, one in here.get("named", {}).items():
        if name in before and one != before[name]:
            told.append(f"{name}: {_difference(one, before[name])}")
    return "; ".join(told) or "of another form"
