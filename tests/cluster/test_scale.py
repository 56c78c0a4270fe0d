"""Many cells, and the accounts of long ones."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.cluster
MANY = (
    "--methods", "random", "--no-baselines", "--ratios", "1,2",
    "--models", "resnet8[width=1]", "--protocol", "smoke[epochs=1]",
)  # fmt: skip
NAP = (
    "--methods", "nap", "--no-baselines", "--ratios", "10", "--seeds", "2",
    "--protocol", "smoke[epochs=1]",
)  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "profile", "arrays"),
    [
        (500, {"cells_per_job": 50, "max_array_size": 4}, 3),
        pytest.param(2000, {"cells_per_job": 200, "max_array_size": 4}, 3, marks=pytest.mark.slow),
        pytest.param(2000, {"cells_per_job": 19}, 2, marks=pytest.mark.slow),  # the cluster's 100
        pytest.param(10_000, {"max_array_size": 5}, 4, marks=pytest.mark.slow),
    ],
)
def test_many_cells_through_small_arrays(site, cells, profile, arrays):
    sweep = (*MANY, "--seeds", str(cells // 2))
    began = time.perf_counter()
    told = site.submit(*sweep, array_parallelism=4, **profile)
    submitted = time.perf_counter()
    assert told.count("job ") == arrays
    site.status()
    watched = time.perf_counter()
    site.wait(6000)
    site.require_same_as_local(cells=cells, seeds=min(cells // 2, 1000))
    left = len(list(site.results.glob("slurm/*/*")))
    print(
        f"\n{cells} cells: planned and submitted in {submitted - began:.1f} s, status told in "
        f"{watched - submitted:.1f} s, {left} log files left"
    )
    assert left < 100
    site.bench("clean")
    assert list(site.results.glob("slurm/*/*")) == []


def test_sacct_and_records_agree_on_device_time(site):
    site.set("nap", 60)
    site.submit(*NAP, cells_per_job=2, max_minutes=40)
    site.wait()
    (account,) = site.status("--costs")["accounts"]
    shares = [record["allocation"] for record in site.records().values()]
    allocated = sum(share["allocated_s"] for share in shares)
    assert allocated == pytest.approx(account["allocated_s"], rel=0.05)
    assert {account["device"], *(share["device"] for share in shares)} == {"gpu"}
    assert account["asked_s"] == sum(share["asked_s"] for share in shares) == 40 * 60
    assert account["used_s"] == pytest.approx(sum(share["used_s"] for share in shares))
    assert 120 <= account["used_s"] <= account["allocated_s"]
    assert account["wasted_s"] == account["allocated_s"] - account["used_s"]
    report = site.results / "report.md"
    site.bench("report", "--no-figures")
    assert "Time of Slurm's jobs" in report.read_text()
