"""The published study is what its records give, and so is what the front page shows of it."""

from __future__ import annotations

import re
import tomllib
from itertools import permutations
from pathlib import Path

import pytest

from bench import planfiles
from bench.components import Component
from bench.contract import METHODS
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.results import Results
from reports.report import stale_files
from reports.runs import accuracy, difference, evaluation_s, selection_s, series_of
from reports.tables import signed

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


def told(text):
    """The means of text with half intervals and n, as (mean, half, n) of its own digits."""
    return re.findall(r"([+−]?\d+\.\d+) ± (\d+\.\d+) \(n = (\d+)\)", " ".join(text.split()))


def as_told(estimate, show, digits=2):
    """An estimate as texts have it; nothing of one run, which has no interval."""
    if estimate is None or estimate.half_width is None:
        return None
    return show(estimate.mean), f"{estimate.half_width:.{digits}f}", str(estimate.n)


def test_findings_are_what_the_records_give(study):
    """Every number with n is a mean, a cost or a paired difference; none stays of older records."""
    found = (study / "README.md").read_text(encoding="utf-8").split("## ")
    (findings,) = [part for part in found if part.startswith("What was found")]
    series = series_of(Results(study).records())
    given = {as_told(one.estimate(accuracy), "{:.2f}".format) for one in series}
    minutes = [lambda record: selection_s(record) / 60, lambda record: evaluation_s(record) / 60]
    given |= {as_told(one.estimate(cost), "{:.1f}".format, 1) for one in series for cost in minutes}
    given |= {as_told(difference(*two, accuracy), signed) for two in permutations(series, 2)}
    assert told(findings)
    assert set(told(findings)) <= given


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
