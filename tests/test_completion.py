"""Completion in the shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Bench = Callable[..., subprocess.CompletedProcess[str]]


class TestCompletion:
    @pytest.mark.parametrize(
        ("shell", "sign"),
        [("bash", "complete "), ("zsh", "#compdef bench"), ("fish", "complete --no-files")],
    )
    def test_each_shell_has_its_script(self, bench: Bench, shell: str, sign: str) -> None:
        script = bench("completion", shell)
        assert script.returncode == 0
        assert sign in script.stdout
        assert "_BENCH_COMPLETE" in script.stdout

    def test_another_shell_is_refused_with_those_that_there_are(self, bench: Bench) -> None:
        refused = bench("completion", "powershell")
        assert refused.returncode == 2
        assert "'bash', 'zsh', 'fish'" in refused.stderr

    def offered(self, bench: Bench, shell: str, typed: str, incomplete: str) -> list[str]:
        words = f"{typed} {incomplete}"
        environment = {**os.environ, "_BENCH_COMPLETE": f"{shell}_complete"}
        if shell == "fish":
            environment |= {"COMP_WORDS": words, "COMP_CWORD": incomplete}
        else:
            environment |= {"COMP_WORDS": words, "COMP_CWORD": str(len(typed.split()))}
        lines = bench(env=environment).stdout.splitlines()
        if shell == "zsh":  # three lines an offer: kind, value, help
            return lines[1::3]
        return [line.partition(",")[2] for line in lines]

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_methods_are_offered_after_a_comma(self, bench: Bench, shell: str) -> None:
        offered = self.offered(bench, shell, "bench run --methods", "random,d")
        assert "random,dq" in offered
        assert all(value.startswith("random,d") for value in offered)

    @pytest.mark.parametrize(
        ("option", "started", "value"),
        [
            ("--dataset", "dig", "digits"),
            ("--models", "resnet1", "resnet18"),
            ("--protocol", "sm", "smoke"),
        ],
    )
    def test_names_are_offered_for_the_other_options(
        self, bench: Bench, option: str, started: str, value: str
    ) -> None:
        assert self.offered(bench, "bash", f"bench run {option}", started) == [value]

    def test_the_fish_script_keeps_values_with_commas_whole(self, bench: Bench) -> None:
        assert 'string split --max 1 ","' in bench("completion", "fish").stdout

    @pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
    def test_bash_itself_completes_a_method_after_a_comma(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        (tmp_path / "bench").write_text(
            f"#!/bin/sh\nexec '{sys.executable}' -c 'from bench.cli import main; main()' \"$@\"\n"
        )
        (tmp_path / "bench").chmod(0o755)
        (tmp_path / "completion.sh").write_text(bench("completion", "bash").stdout)
        asked = (
            "source ./completion.sh; COMP_WORDS=(bench run --methods random,a); COMP_CWORD=3; "
            '_bench_completion bench; echo "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ["bash", "--norc", "-c", asked],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )  # fmt: skip
        assert done.stdout.split() == ["random,adq"], done.stderr
