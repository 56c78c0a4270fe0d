"""The published study is what its records give, and so is what the front page shows of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bench import planfiles
from bench.components import Component
from bench.contract import METHODS
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.results import Results
from reports.report import stale_files

ROOT = Path(__file__).parents[1]
STUDIES = sorted((ROOT / "studies").glob("[0-9]*"))


@pytest.fixture(scope="module", params=STUDIES, ids=lambda folder: folder.name)
def study(request):
    return request.param


def test_reports_and_pages_are_current(study):
    results = Results(study)
    records, failures = list(results.records()), list(results.failures())
    pages = [ROOT / "README.md", study / "README.md"]
    assert stale_files(study, records, failures, pages=pages) == {}


def test_every_record_is_a_cell_of_a_frozen_plan(study):
    planned = {cell for path in (study / "plans").glob("*.json") for cell in planfiles.read(path)}
    recorded = {record["id"] for record in Results(study).records()}
    assert recorded
    assert recorded <= planned


def test_no_record_comes_from_uncommitted_code(study):
    sources = [record["provenance"]["source"] for record in Results(study).records()]
    assert all(one["commit"] and not one["uncommitted_changes"] for one in sources)


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*/sweeps/**/*.toml")), ids=str)
def test_a_sweep_names_what_there_is(path):
    sweep = tomllib.loads(path.read_text(encoding="utf-8"))
    listed = {key: sweep.get(key, []) for key in ("methods", "models", "protocol")}
    for (key, value), registry in zip(listed.items(), (METHODS, MODELS, PROTOCOLS), strict=True):
        specs = [value] if isinstance(value, str) else value
        made: list[Component] = [one for spec in specs for one in registry.make(spec)]
        assert made, key
