"""``bench list``: what there is, in a line each, and one component in full."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from bench.cli.options import debug_option, json_option, registry
from bench.components import EDITION, parameters
from bench.errors import UsageError, unknown
from bench.specs import Spec

if TYPE_CHECKING:
    from bench.components import Parameter
    from bench.registry import Registry

KINDS = ("methods", "datasets", "models", "protocols")
_MOST_COLUMNS = 100


class _Kind(click.Choice[str]):
    """A kind of component; the closest one is named for an unknown one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the kind; raise a UsageError for another."""
        if value not in KINDS:
            raise unknown("kind", str(value), KINDS)
        return str(value)


def _names(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    names = registry(context.params["kind"]).names()
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command("list")
@click.argument("kind", type=_Kind(KINDS), metavar="KIND")
@click.argument("name", required=False, shell_complete=_names)
@json_option
@debug_option
def listing(kind: str, name: str | None, as_json: bool) -> None:
    """Show the components of a KIND, protocols with all that they fix; with NAME, one in full.

    KIND is methods, datasets, models or protocols.

    NAME tells the parameters with their types, defaults and allowed values, what each edition
    sets, and where it comes from. With * and ? it is a pattern: 'resnet*' lists the models that
    begin so, timm's too.
    """
    components = registry(kind)
    if name is not None and not any(sign in name for sign in "*?"):
        entry = _entry(components, name)
        click.echo(json.dumps({kind: [entry]}, indent=1) if as_json else _in_full(entry))
        return
    names, others = (components.names(), []) if name is None else components.matching(name)
    if not names and not others:
        raise UsageError(f"no {components.kind} is like '{name}'. See: bench list {kind}")
    described = [_described(components.get(one)) for one in names]
    broken = components.broken()
    library = components.others.library if components.others else ""
    if as_json:
        more = {library: others, "broken": broken}
        content = {kind: described} | {key: found for key, found in more.items() if found}
        click.echo(json.dumps(content, indent=1))
        return
    for entry in described:
        click.echo(_line(entry))
        if kind == "protocols":  # what they fix is what they are
            click.echo(_fixed(entry))
    for other in others:
        click.echo(f"{other}: of {library}")
    for plugin, reason in broken.items():
        click.echo(f"{plugin}: broken plugin, not available ({reason})")
    also = f"; of {library}: bench list {kind} 'vit*'" if library and name is None else ""
    click.echo(f"\nOne in full: bench list {kind} NAME{also}")


def _entry(components: Registry[Any], name: str) -> dict[str, Any]:
    """Return what is known of a component's name, or of another one and what it stands for."""
    meant = components.meant(Spec(name))
    told = _described(components.get(meant.name))
    if components.others is None or meant.name == name:
        return told
    component = components.get(meant.name).from_parameters(dict(meant.parameters))
    for parameter in told["parameters"]:
        parameter["default"] = getattr(component, parameter["name"])
    facts = {"stands for": component.spec} | components.others.told(name)
    return told | {"name": name, "facts": facts}


def _line(entry: dict[str, Any]) -> str:
    editions = list(entry.get("editions", ()))
    told = f" [edition={'|'.join(editions)}]" if len(editions) > 1 else ""
    return f"{entry['name']}: {entry['about']}{told}"


def _fixed(entry: dict[str, Any]) -> str:
    """Return a component's version and all of its parameters, as they are typed."""
    told = [f"{one['name']}={_written(one['default'])}" for one in entry["parameters"]]
    words = ", ".join([f"version {entry['version']}", *told])
    return _wrapped("  ", words, _columns())


def _described(component: Any) -> dict[str, Any]:
    """Return what is known of a component's class, as JSON values."""
    told: dict[str, Any] = {"name": component.name, "version": component.version}
    if info := getattr(component, "info", None):
        told |= {"about": info.about, **vars(info), "editions": _editions(component)}
    else:
        told["about"] = component.about
        told["our_choice"] = getattr(component, "choice", "")
    told["parameters"] = [_parameter(component, one) for one in parameters(component)]
    return told | {"source": component.__module__, "text": inspect.getdoc(component) or ""}


def _editions(component: Any) -> dict[str, dict[str, Any]]:
    """Return what a component's editions set besides their own name."""
    only = (component.info.only_edition,)
    choices = next((p.choices for p in parameters(component) if p.name == EDITION), only)
    return {edition: dict(component.presets.get(edition, {})) for edition in choices}


def _parameter(component: Any, parameter: Parameter) -> dict[str, Any]:
    by_edition = {
        edition: preset[parameter.name]
        for edition, preset in component.presets.items()
        if parameter.name in preset
    }
    return {
        "name": parameter.name,
        "type": parameter.type.__name__,
        "default": parameter.default,
        "allowed": parameter.allowed,
    } | ({"by_edition": by_edition} if by_edition else {})


def _in_full(entry: dict[str, Any]) -> str:
    facts = [("source", entry["source"]), ("version", entry["version"])]
    facts = [*entry.get("facts", {}).items(), *facts]
    if "kind" in entry:
        year = [("year", entry["year"])] if entry["year"] else []
        facts = [
            ("kind", entry["kind"]),
            *year,
            ("editions", ", ".join(entry["editions"])),
            ("authors' code", f"{'' if entry['released'] else 'not '}released; {entry['code']}"),
            *facts,
        ]
    if choice := entry.get("our_choice"):
        facts = [*facts, ("our choice", choice)]
    width = _columns()
    lines = [f"{entry['name']}: {entry['about']}"]
    lines += [_wrapped(f"  {name:14}", str(value), width) for name, value in facts]
    lines.append("\nparameters" if entry["parameters"] else "\nIt has no parameters.")
    for one in entry["parameters"]:
        lines.append(f"  {one['name']} ({one['type']}) = {_written(one['default'])}")
        lines.append(_wrapped("      ", one["allowed"], width))
        lines += [_wrapped("      ", preset, width) for preset in _presets(one)]
    return "\n".join([*lines, "", _plain(entry["text"])])


def _plain(text: str) -> str:
    """Return a docstring without the marks of roles, literals and formulas."""
    text = re.sub(r":math:`([^`]*)`", lambda found: _formula(found[1]), text)
    text = re.sub(r":[a-z]+:`~?([^`]*)`", r"\1", text)
    return text.replace("``", "")


def _formula(latex: str) -> str:
    r"""Return a formula with its symbols as words: ``\alpha`` is alpha."""
    flat = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1)/(\2)", latex)
    bare = re.sub(r"\\(hat|mathcal|bar|tilde|mathrm|mathbf|text|left|right)\b ?", "", flat)
    return re.sub(r"\\([A-Za-z]+|.)", r"\1", bare).replace("{", "").replace("}", "")


def _presets(parameter: dict[str, Any]) -> list[str]:
    """Return a parameter's other defaults, with the editions that have them."""
    editions: dict[str, list[str]] = {}
    for edition, value in parameter.get("by_edition", {}).items():
        editions.setdefault(_written(value), []).append(edition)
    return [f"{value} with edition={' or '.join(names)}" for value, names in editions.items()]


def _written(value: Any) -> str:
    """Return a value as users type it."""
    return str(value).lower() if isinstance(value, bool) else f"{value}" or "(nothing)"


def _columns() -> int:
    return min(_MOST_COLUMNS, shutil.get_terminal_size().columns)


def _wrapped(begin: str, text: str, width: int) -> str:
    return textwrap.fill(
        text, width, initial_indent=begin, subsequent_indent=" " * len(begin),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
