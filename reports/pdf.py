"""A LaTeX document as PDF, where pdflatex is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.errors import BenchError
from bench.storage import replacing

_LIMIT_S = 300
_RUNS = 2
"""Tables over several pages know their widths after the first."""


def compile_pdf(document: Path) -> Path | None:
    """Compile a document and write its PDF beside it; None where there is no pdflatex.

    Raises
    ------
    BenchError
        When pdflatex fails.
    """
    program = shutil.which("pdflatex")
    if program is None:
        return None
    # Dates come from here, so that the same document gives the same PDF.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0", "FORCE_SOURCE_DATE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error",
                   f"-output-directory={folder}", document.name]  # fmt: skip
        for _ in range(_RUNS):
            try:
                done = subprocess.run(
                    command, cwd=document.parent, env=environment, capture_output=True,
                    timeout=_LIMIT_S, check=False, stdin=subprocess.DEVNULL,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise BenchError(
                    f"pdflatex did not finish {document} within {_LIMIT_S} s. The .tex is there"
                ) from None
            if done.returncode:
                raise BenchError(_reason(document, done.stdout.decode("utf-8", "replace")))
        path = document.with_suffix(".pdf")
        with replacing(path) as temporary:
            shutil.copyfile(Path(folder) / path.name, temporary)
    return path


def _reason(document: Path, told: str) -> str:
    errors = [line for line in told.splitlines() if line.startswith("!")] or ["no reason told"]
    return (
        f"pdflatex cannot compile {document}: {errors[0][:200]}. The .tex and its tables are there"
    )
