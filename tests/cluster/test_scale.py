"""Many cells, and the accounts of long ones."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
MANY = (
    "--methods", "random", "--no-baselines", "--ratios", "1,2", "--seeds", "1000",
    "--models", "resnet8[width=1]", "--protocol", "smoke[epochs=1]",
)  # fmt: skip
NAP = (
    "--methods", "nap", "--no-baselines", "--ratios", "10", "--seeds", "2",
    "--protocol", "smoke[epochs=1]",
)  # fmt: skip


def test_two_thousand_cells_in_arrays_of_at_most_a_hundred(site):
    told = site.submit(*MANY, cells_per_job=19, array_parallelism=4)
    assert told.count("job ") == 2
    site.wait(3000)
    site.require_same_as_local(*MANY, cells=2000)
    assert len(list(site.results.glob("slurm/*/*"))) < 100
    site.bench("clean")
    assert list(site.results.glob("slurm/*/*")) == []


def test_sacct_and_records_agree_on_device_time(site):
    site.set("nap", 600)  # beside it, starting Python and torch is less than 5 % on a busy machine
    site.submit(*NAP, cells_per_job=2, max_minutes=40)
    site.wait(2000)
    told = site.status("--costs")
    (account,) = told["accounts"]
    assert account["device"] == "gpu"
    assert account["used_s"] == pytest.approx(account["allocated_s"], rel=0.05)
    assert account["asked_s"] == 40 * 60
    assert (site.results / "accounting" / f"{account['job']}.json").exists()
