"""Reading names with parameters, as users type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.specs import Spec, expand, split_list

WORDS = st.text("abcxyz019.-_+ é", min_size=1).map(str.strip).filter(bool)
NESTED = st.recursive(
    WORDS,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda xs: f"n[{','.join(xs)}]"),
    max_leaves=6,
)


def specs(text):
    return list(expand(text))


def outcome(read, text):
    """What was read, and what a UsageError told."""
    try:
        return read(text), ""
    except UsageError as error:
        return [], str(error)


@given(st.lists(NESTED, max_size=5))
def test_a_list_splits_into_what_was_joined(parts):
    assert split_list(" , ".join(parts)) == parts


@given(st.text("ab[],= "))
def test_any_text_is_split_or_refused_with_an_example_of_how_to_write(text):
    parts, told = outcome(split_list, text)
    if told:
        assert "brackets do not match" in told
        assert "adq[alpha=0.7]" in told
    assert all(part.count("[") == part.count("]") for part in parts)


@given(st.text("ab[],= "))
def test_any_text_is_a_spec_or_a_usage_error_and_never_nothing(text):
    found, told = outcome(specs, text)
    assert bool(found) != bool(told)


def test_a_bare_name_has_no_parameters():
    assert specs(" dq ") == [Spec("dq")]
    assert specs("dq[]") == [Spec("dq")]


def test_parameters_keep_their_texts_and_their_order():
    assert specs("adq[ scores = rs, alpha=0.70]") == [
        Spec("adq", (("scores", "rs"), ("alpha", "0.70")))
    ]


def test_lists_are_combined_with_the_last_one_running_fastest():
    found = [dict(spec.parameters) for spec in expand("adq[alpha=[0,1],bins=[5,10],scores=rs]")]
    assert [(one["alpha"], one["bins"]) for one in found] == [
        ("0", "5"), ("0", "10"), ("1", "5"), ("1", "10"),
    ]  # fmt: skip
    assert {one["scores"] for one in found} == {"rs"}


def test_a_value_may_itself_be_a_spec_with_parameters():
    timm = "timm[architecture=vgg11.tv_in1k,pretrained=true]"
    assert specs(f"dq[extractor={timm}]") == [Spec("dq", (("extractor", timm),))]
    assert [dict(spec.parameters)["extractor"] for spec in expand(f"dq[extractor=[x,{timm}]]")] == [
        "x", timm,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("adq[alpha]", "cannot read 'alpha'"),
        ("adq[alpha=0.2,0.5]", "Write parameter=value, and several values as alpha=[a,b]"),
        ("adq[=1]", "cannot read '=1'"),
        ("adq[alpha=]", "cannot read 'alpha='"),
        ("adq[alpha=[]]", "'alpha' has an empty list"),
        ("adq[alpha=1,alpha=2]", "parameter 'alpha' is given twice"),
        ("adq[alpha=1]x", "cannot read 'adq[alpha=1]x'"),
        ("adq alpha=1", "cannot read 'adq alpha=1'"),
        ("[alpha=1]", "cannot read '[alpha=1]'"),
        ("adq[alpha=[1,2]", "brackets do not match"),
        ("", "cannot read ''"),
    ],
)
def test_what_cannot_be_read_is_quoted_in_the_error(text, told):
    with pytest.raises(UsageError) as caught:
        specs(text)
    assert told in str(caught.value)
