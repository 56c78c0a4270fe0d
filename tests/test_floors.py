"""The house's floors: imports point down only, and light modules stay light.

bench (without bench.cli) < methods < reports, slurm < bench.cli
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "timm", "pandas", "sklearn", "matplotlib")
FLOORS = {"bench": 0, "methods": 1, "reports": 2, "slurm": 2, "bench.cli": 3}
ONLY_IN = {"matplotlib": "reports", "submitit": "slurm"}


def room_of(module: str) -> str:
    """The part of the house that a module lies in; what is outside is named by its package."""
    parts = module.split(".")
    return "bench.cli" if parts[:2] == ["bench", "cli"] else parts[0]


def imported(tree: ast.AST, package: list[str]) -> Iterator[tuple[int, str]]:
    """All modules that a file imports anywhere, with their lines; also by importlib."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, name.name) for name in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                above = package[: len(package) - level + 1] if level else []
                base = ".".join([*above, *([module] if module else [])])
                yield node.lineno, base
                yield from ((node.lineno, f"{base}.{name.name}") for name in names)
            case ast.Call(func=function, args=[ast.Constant(value=str(module)), *_]):
                called = function.attr if isinstance(function, ast.Attribute) else function
                called = called.id if isinstance(called, ast.Name) else called
                if called in ("import_module", "__import__"):
                    yield node.lineno, module


def forbidden(importer: str, target: str) -> str:
    """Why a room may not import a module; empty where it may."""
    room = room_of(target)
    if room in ONLY_IN and importer != ONLY_IN[room]:
        return f"only {ONLY_IN[room]} imports {room}"
    if room not in FLOORS or room == importer or FLOORS[room] < FLOORS[importer]:
        return ""
    return f"{importer} may not import {room}"


def violations(root: Path) -> list[str]:
    """Every import in the house below a folder that the rules forbid."""
    found = []
    rooms = [room for room in FLOORS if "." not in room]
    for file in sorted(path for room in rooms for path in (root / room).rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        module = [part for part in parts if part != "__init__"]
        package = module if parts[-1] == "__init__" else module[:-1]
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for line, target in imported(tree, package):
            reason = forbidden(room_of(".".join(module)), target)
            if reason:
                found.append(f"{'/'.join(parts)}.py:{line}: {reason} ({target})")
    return found


def test_every_import_points_down():
    assert violations(ROOT) == []


def test_every_room_is_looked_at():
    rooms = {"bench", "methods", "reports", "slurm"}
    assert all(list((ROOT / room).rglob("*.py")) for room in rooms)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests"} == rooms


def house(root: Path, file: str, source: str) -> Path:
    """Write a house with one file in it that says something."""
    for room in ("bench", "bench/cli", "methods", "reports", "slurm"):
        (root / room).mkdir(parents=True, exist_ok=True)
        (root / room / "__init__.py").write_text("import json\n")
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(source)
    return root


@pytest.mark.parametrize(
    ("file", "source", "reason"),
    [
        ("bench/low.py", "import methods", "bench may not import methods"),
        ("bench/low.py", "import methods.dq as dq", "bench may not import methods"),
        ("bench/low.py", "from reports import tables", "bench may not import reports"),
        ("bench/deep/low.py", "import slurm.worker", "bench may not import slurm"),
        ("bench/low.py", "import bench.cli.run", "bench may not import bench.cli"),
        ("bench/low.py", "from bench import cli", "bench may not import bench.cli"),
        ("bench/low.py", "from . import cli", "bench may not import bench.cli"),
        ("bench/deep/low.py", "from ..cli.run import run", "bench may not import bench.cli"),
        ("bench/__init__.py", "from .cli import main", "bench may not import bench.cli"),
        ("bench/low.py", "def f():\n    import reports", "bench may not import reports"),
        (
            "bench/low.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from methods.dq import X",
            "bench may not import methods",
        ),
        (
            "bench/low.py",
            "import importlib\nimportlib.import_module('methods.dq')",
            "bench may not import methods",
        ),
        ("bench/low.py", "__import__('slurm')", "bench may not import slurm"),
        ("methods/dq.py", "from reports.tables import Table", "methods may not import reports"),
        ("methods/parts/a.py", "import bench.cli", "methods may not import bench.cli"),
        ("reports/tables.py", "import slurm", "reports may not import slurm"),
        ("slurm/worker.py", "from reports import tables", "slurm may not import reports"),
        ("slurm/worker.py", "from bench.cli import main", "slurm may not import bench.cli"),
        ("bench/low.py", "import matplotlib.pyplot", "only reports imports matplotlib"),
        ("bench/cli/plot.py", "def f():\n    from matplotlib import cm", "only reports imports"),
        ("slurm/worker.py", "from matplotlib import cm", "only reports imports matplotlib"),
        ("bench/cli/go.py", "import submitit", "only slurm imports submitit"),
        ("reports/jobs.py", "from submitit import AutoExecutor", "only slurm imports submitit"),
    ],
)
def test_a_planted_import_is_found_with_its_place(tmp_path, file, source, reason):
    found = violations(house(tmp_path, file, source))
    assert found
    line = len(source.splitlines())
    assert all(told.startswith(f"{file}:{line}: {reason}") for told in found)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("bench/low.py", "from bench.errors import UsageError\nimport torch"),
        ("bench/low.py", "from . import client\nimport methodsx, bench.client"),
        ("methods/dq.py", "from bench.contract import Method\nfrom methods.parts import bins"),
        ("reports/tables.py", "import methods, bench, matplotlib\nfrom . import figures"),
        ("slurm/worker.py", "import methods, bench.cells, submitit"),
        ("bench/cli/run.py", "import reports, slurm, methods, bench.cells\nfrom . import codes"),
    ],
)
def test_what_points_down_is_no_violation(tmp_path, file, source):
    assert violations(house(tmp_path, file, source)) == []


@pytest.mark.parametrize("module", ["bench.cli", "bench.cells", "methods", "bench.planning"])
def test_naming_listing_and_planning_import_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout == "[]\n"


def test_registering_and_naming_components_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from bench.contract import METHODS\n"
        "from bench.datasets import DATASETS\n"
        "from bench.models import MODELS\n"
        "from bench.protocols import PROTOCOLS\n"
        "assert all(registry.names() for registry in (METHODS, DATASETS, MODELS, PROTOCOLS))\n"
        "METHODS.make('dq,adq[edition=released]')\n"
        "named = MODELS.make_one('timm[architecture=resnet34]')\n"
        "assert MODELS.from_identity(named.identity()) == named\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout == "[]\n"
