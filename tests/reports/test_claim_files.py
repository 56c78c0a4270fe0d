"""Published numbers as files."""

from __future__ import annotations

import pytest
from made_up_claims import claim, gain

from bench.errors import UsageError
from reports.claims import read_claims


def test_the_margin_of_a_difference_never_reaches_nothing():
    assert gain("0.6", margin=None).tolerance == (-0.3, 0.3)
    assert gain("4.0", margin=None).tolerance == (-1.0, 1.0)
    assert gain(None, margin=None).tolerance == (-0.5, 0.5)
    assert claim(margin=None).tolerance == (-1.0, 1.0)


SOURCE = """[source]
id = "x"
name = "X"
paper = "p"
address = "https://example.org"
read = "r"
third_party = false
[[group]]
where = "Table 1"
metric = "accuracy"
compare = "value"
dataset = "cifar10"
protocol = "p"
error_bar = "not published"
models = ["resnet18"]
ratios = ["10", "20"]
"""


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('claims = [{ methods = ["a"], values = [1.0] }]', "1 values for 2 ratios"),
        ('claims = [{ methods = ["a"], values = [1, 2], valeu = 3 }]', "Did you mean 'value'"),
        ('claims = [{ methods = ["a"], values = [1, 2], metric = "acc" }]', "unknown metric"),
        ('claims = [{ methods = ["a"] }]', "a value without a number"),
        ('claims = [{ methods = ["a"], value = 1, compare = "difference" }]', "Give than"),
        ("claims = [{ methods = [], value = 1 }]", "no method"),
        ('claims = [{ methods = ["a"], value = 1, margin = 0 }]', "Give a margin > 0"),
        ('claims = [{ methods = ["a"], value = 1, ratios = [] }]', "no ratio"),
        ("claims = [{ value = 1 }]", "says too little"),
        ('claims = [{ methods = ["a"], value = 1 }, { methods = ["a"], value = 2 }]', "twice"),
        ("claims = [", "no valid TOML"),
    ],
)
def test_wrong_files_are_refused_with_what_is_wrong(tmp_path, lines, told):
    path = tmp_path / "x.toml"
    path.write_text(SOURCE + lines, encoding="utf-8")
    with pytest.raises(UsageError, match=told):
        read_claims([path])


def test_files_that_are_not_there_or_empty_are_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot read"):
        read_claims([tmp_path / "none.toml"])
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(UsageError, match="source"):
        read_claims([tmp_path / "empty.toml"])


def test_values_are_one_claim_for_each_ratio_as_printed(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(SOURCE + 'claims = [{ methods = ["a"], values = [45, 45.10] }]')
    claims = read_claims([path])
    assert [(one.ratios, one.published) for one in claims] == [(("10",), "45"), (("20",), "45.10")]
