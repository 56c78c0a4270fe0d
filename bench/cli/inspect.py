"""``bench report``, ``why`` and ``list``: what there is, and where a number comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import debug_option, json_option, results_option
from bench.errors import UsageError
from bench.identity import IDENTITY_VERSION

if TYPE_CHECKING:
    from bench.contract import Method, MethodInfo
    from bench.registry import Registry

KINDS = ("methods", "datasets", "models", "protocols")


@click.command()
@results_option
@json_option
@debug_option
def report(results: Path, as_json: bool) -> None:
    """Write report.md and its figures anew from all records of a results folder."""
    from bench.results import Results
    from reports import markdown, tables
    from reports.summary import Collection, all_tables

    folder = Results(results, warn=_warn)
    folder.require()
    records, failures = list(folder.records()), list(folder.failures())
    path = markdown.write_report(results, records, failures, anew=True)
    if as_json:
        shown = all_tables(Collection.of(records, failures))
        content = {"tables": [tables.as_json(table) for table in shown], "report": str(path)}
        click.echo(json.dumps(content, indent=1))
    else:
        click.echo(str(path))


@click.command()
@click.argument("cell")
@results_option
@debug_option
def why(cell: str, results: Path) -> None:
    """Print all that is recorded of a cell; the id's first characters are enough."""
    from bench.results import Results

    folder = Results(results, warn=_warn)
    folder.require()
    ids = {
        path.stem for kind in ("records", "failures") for path in (results / kind).glob("*.json")
    }
    prefixes = (cell, f"cell-{cell}", f"cell-{IDENTITY_VERSION}-{cell}")
    found = sorted(i for i in ids if i.startswith(prefixes))
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} cells in {results} begin with '{cell}'. Give the id of one, as in the "
            "names of the files in records/"
        )
    told = folder.record(found[0]) or folder.failure(found[0])
    if told is None:
        raise UsageError(f"nothing readable is recorded of {found[0]}. Run its sweep again")
    click.echo(json.dumps(told, indent=1))


def _warn(message: str) -> None:
    click.echo(f"warning: {message}", err=True)


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS))
@json_option
@debug_option
def listing(kind: str, as_json: bool) -> None:
    """Show the methods, data sets, models or protocols, with their parameters."""
    components = registry(kind)
    described = [_described(components.get(name)) for name in components.names()]
    if as_json:
        content: dict[str, Any] = {kind: described}
        if components.broken():
            content["broken"] = components.broken()
        click.echo(json.dumps(content, indent=1))
        return
    for entry in described:
        click.echo(f"{entry['name']}: {entry['about']}")
        for parameter in entry["parameters"]:
            click.echo(f"    {parameter['name']}={parameter['default']}   {parameter['allowed']}")
    for name, reason in components.broken().items():
        click.echo(f"{name}: broken plugin, not available ({reason})")


def registry(kind: str) -> Registry[Any]:
    """Return the registry of a kind of component."""
    from bench.contract import METHODS
    from bench.datasets import DATASETS
    from bench.models import MODELS
    from bench.protocols import PROTOCOLS

    found: dict[str, Registry[Any]] = {
        "methods": METHODS,
        "datasets": DATASETS,
        "models": MODELS,
        "protocols": PROTOCOLS,
    }
    return found[kind]


def _about(info: MethodInfo) -> str:
    label = ", a reconstruction" * info.reconstruction
    return f"{info.title}{label} ({info.paper})"


def _editions(component: type[Method]) -> dict[str, dict[str, Any]]:
    """Return what a method's editions set besides their own name."""
    from bench.components import EDITION, parameters

    choices = next((p.choices for p in parameters(component) if p.name == EDITION), ("paper",))
    return {edition: dict(component.presets.get(edition, {})) for edition in choices}


def _described(component: Any) -> dict[str, Any]:
    from bench.components import parameters

    told: dict[str, Any] = {"name": component.name, "version": component.version}
    if info := getattr(component, "info", None):
        told |= {"about": _about(info), **vars(info)}
        told["editions"] = _editions(component)
    else:
        told["about"] = component.about
    told["parameters"] = [
        {"name": p.name, "default": p.default, "allowed": p.allowed} for p in parameters(component)
    ]
    return told
