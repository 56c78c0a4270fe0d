"""Fixtures of the tests on a real Slurm cluster: the cluster, and a folder on it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_daemons import PROGRAMS, Cluster
from cluster_site import Site


@pytest.fixture(scope="session", autouse=True)
def _needs_packages() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"the test cluster's packages are missing ({', '.join(missing)})")
    if os.geteuid() != 0:
        pytest.skip("the test cluster needs root")


def _started(has_accounting: bool) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    cluster = Cluster(folder, has_accounting)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster with accounting."""
    yield from _started(True)


@pytest.fixture(scope="session")
def cluster_without_accounting() -> Iterator[Cluster]:
    """A cluster without slurmdbd."""
    yield from _started(False)


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for Python's path in which the toy plugin is installed."""
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copy(Path(__file__).with_name("toy.py"), folder)
    facts = folder / "toy-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[bench.methods]\ntoy = toy\n")
    return folder


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory, plugins: Path) -> Iterator[Path]:
    """A folder for the local runs of this process, which knows the plugin's methods from now on."""
    folder = tmp_path_factory.mktemp("local")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(plugins)
        patch.setenv("BENCH_TALLY", str(folder))
        yield folder


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path, plugins: Path, local: Path) -> Iterator[Site]:
    """A folder of the test's own on the cluster; no job is left behind."""
    yield from _site(cluster, tmp_path, plugins, local)


@pytest.fixture
def site_without_accounting(
    cluster_without_accounting: Cluster, tmp_path: Path, plugins: Path, local: Path
) -> Iterator[Site]:
    """The same on a cluster without slurmdbd."""
    yield from _site(cluster_without_accounting, tmp_path, plugins, local)


def _site(cluster: Cluster, folder: Path, plugins: Path, local: Path) -> Iterator[Site]:
    yield Site(cluster, folder, plugins, local)
    cluster.mend()
