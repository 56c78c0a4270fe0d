"""Packages with methods from outside, as an installer leaves them."""

from __future__ import annotations

import os
from pathlib import Path


def install(site: Path, name: str, text: str) -> dict[str, str]:
    """Put a module with the method of that name into a folder; return an environment with it."""
    facts = site / f"{name}_plugin-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / f"{name}_plugin.py").write_text(text)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[bench.methods]\n{name} = {name}_plugin\n")
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
