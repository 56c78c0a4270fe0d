"""Registries: from the names that users type to components, ours and those of plugins."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from bench.components import Component, parameters
from bench.errors import UsageError, unknown
from bench.specs import expand, split_list

C = TypeVar("C", bound=Component)
_OURS = "builtin"
"""Our entry point; it is loaded first, so that no plugin takes a name of ours."""


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
    """

    def __init__(self, kind: str, base: type, plugins: str = "") -> None:
        self.kind = kind
        self._base = base
        self._plugins = plugins
        self._loaded = not plugins
        self._classes: dict[str, type[C]] = {}
        self._broken: dict[str, str] = {}

    def register(self, name: str) -> Callable[[type[C]], type[C]]:
        """Return the decorator that enters a component class under a name."""

        def enter(component: type[C]) -> type[C]:
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
            component.name = name
            self._classes[name] = component
            return component

        return enter

    def names(self) -> list[str]:
        """Return all names, sorted."""
        self._load_plugins()
        return sorted(self._classes)

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
            reason = f" ({self._broken[name]})" if name in self._broken else ""
            then = f"See: bench list {self.kind}s{reason}"
            raise unknown(self.kind, name, self._classes, then) from None

    def make(self, text: str) -> list[C]:
        """Return the components that a comma list of specs names, grids expanded, each once."""
        made: dict[str, C] = {}
        for item in split_list(text):
            for spec in expand(item):
                component = self.get(spec.name).from_parameters(dict(spec.parameters))
                if component.spec in made:
                    raise UsageError(
                        f"{self.kind} '{component.spec}' is named twice in '{text}'. Name it once"
                    )
                made[component.spec] = component
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
        """Return the component that an identity tells of; refuse another version of it."""
        component = self.get(identity["name"]).from_parameters(identity["parameters"])
        if component.version != identity["version"]:
            raise UsageError(
                f"{self.kind} '{identity['name']}' has version {component.version} here and "
                f"{identity['version']} in the plan. Plan again with this version of bench"
            )
        if component.identity() != identity:
            new = sorted(component.values().keys() - identity["parameters"].keys())
            raise UsageError(
                f"{self.kind} '{identity['name']}' has other parameters or spellings here than in "
                f"the plan (new: {', '.join(new) or 'none'}). Plan again with this version of bench"
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
        try:
            point.load()
        except (Exception, SystemExit) as error:  # a plugin may fail in any way; others go on
            self._broken[point.name] = f"{point.value}: {type(error).__name__}: {error}"
