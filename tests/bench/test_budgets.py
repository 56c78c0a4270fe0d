"""Budgets: percents become exact counts by one rounding rule."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.budgets import Budget, ClassBudget, largest_remainder, parse_budgets
from bench.errors import UsageError

PERCENTS = st.decimals(Decimal("0.001"), 100, places=3)
BUDGETS = PERCENTS.map(Budget)
CLASSES = st.lists(st.integers(0, 2000), min_size=1, max_size=12)


def half_up(exact: Fraction) -> int:
    """Nearest whole number, halves up, by definition."""
    below = exact.numerator // exact.denominator
    return below if exact - below < Fraction(1, 2) else below + 1


@given(BUDGETS, st.integers(0, 10**7))
def test_the_number_of_images_is_the_nearest_one_with_halves_up(budget, available):
    exact = Fraction(budget.percent) * available / 100
    assert budget.images(available) == half_up(exact)
    assert 0 <= budget.images(available) <= available


@pytest.mark.parametrize(
    ("percent", "available", "kept"),
    [("12.5", 50_000, 6250), ("10", 5, 1), ("50", 1, 1), ("2.5", 100, 3), ("0.1", 499, 0),
     ("100", 7, 7), ("33.3", 1000, 333), ("70", 15, 11)],
)  # fmt: skip
def test_known_counts(percent, available, kept):
    assert Budget.parse(percent).images(available) == kept


@given(BUDGETS, CLASSES)
def test_the_classes_counts_sum_to_the_total_and_none_exceeds_its_class(budget, sizes):
    kept = budget.images_by_class(sizes)
    assert kept.sum() == budget.images(sum(sizes))
    assert (kept >= 0).all()
    assert (kept <= sizes).all()


@given(BUDGETS, CLASSES)
def test_every_class_gets_its_share_rounded_down_or_up_and_larger_remainders_come_first(
    budget, sizes
):
    kept = budget.images_by_class(sizes)
    total, available = budget.images(sum(sizes)), max(sum(sizes), 1)
    shares = [Fraction(size * total, available) for size in sizes]
    rest = [share - int(share) for share in shares]
    extra = [int(count) - int(share) for count, share in zip(kept, shares, strict=True)]
    assert set(extra) <= {0, 1}
    order = sorted(range(len(sizes)), key=lambda label: (-rest[label], label))
    assert [extra[label] for label in order] == sorted(extra, reverse=True)


@given(PERCENTS, PERCENTS, st.integers(0, 10**6))
def test_a_larger_percent_never_keeps_fewer_images(one, other, available):
    low, high = sorted((Budget(one), Budget(other)))
    assert low.images(available) <= high.images(available)


@given(PERCENTS, PERCENTS, st.integers(1, 500), st.integers(1, 12))
def test_with_classes_of_one_size_a_larger_percent_keeps_no_class_smaller(one, other, size, n):
    low, high = sorted((Budget(one), Budget(other)))
    assert (low.images_by_class([size] * n) <= high.images_by_class([size] * n)).all()


@given(CLASSES)
def test_everything_is_everything(sizes):
    assert Budget.parse("100").images_by_class(sizes).tolist() == sizes


def test_an_empty_class_gets_nothing():
    assert Budget.parse("50").images_by_class([0, 3, 0]).tolist() == [0, 2, 0]
    assert Budget.parse("50").images_by_class([]).tolist() == []


@given(st.data(), st.integers(1, 12))
def test_largest_remainder_deals_the_total_and_gives_each_part_its_floor_or_one_more(data, n):
    weights = np.array(data.draw(st.lists(st.integers(0, 1000), min_size=n, max_size=n)), float)
    total = data.draw(st.integers(0, 5000))
    if weights.sum() == 0:
        weights[0] = 1.0
    shares = weights / weights.sum() * total
    dealt = largest_remainder(shares, total)
    assert dealt.sum() == total
    assert (dealt >= np.floor(shares - 1e-9)).all()
    assert (dealt <= np.floor(shares + 1e-9) + 1).all()


def test_largest_remainder_sees_through_rounding_error_and_breaks_ties_to_the_front():
    assert largest_remainder(np.array([2.9999999999999996, 1.0]), 4).tolist() == [3, 1]
    assert largest_remainder(np.array([0.5, 0.5, 0.5, 0.5]), 2).tolist() == [1, 1, 0, 0]


# spelling


@given(BUDGETS)
def test_a_label_is_read_as_the_same_budget(budget):
    assert Budget.parse(budget.label) == budget
    assert budget.identity() == {"percent": budget.label, "of": "images"}
    assert Budget.from_identity(budget.identity()) == budget


@pytest.mark.parametrize("text", ["10", "10.0", "10.", "1e1", " 10", "+10", "010.00"])
def test_spellings_of_one_percent_have_one_label(text):
    assert Budget.parse(text).label == "10"


@pytest.mark.parametrize(
    ("text", "label"),
    [("100", "100"), ("1e2", "100"), ("12.50", "12.5"), ("0.10", "0.1"), ("1E-3", "0.001"),
     ("33.33333333333333333333333333333333", "33.33333333333333333333333333333333"),
     ("99.99999999999999999999999999999999", "99.99999999999999999999999999999999")],
)  # fmt: skip
def test_a_label_has_no_exponent_no_trailing_zeros_and_every_digit(text, label):
    assert Budget.parse(text).label == label


def test_a_list_keeps_its_order():
    assert [budget.label for budget in parse_budgets("30, 10,20.0")] == ["30", "10", "20"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [("10%", "10"), ("2.5 %", "2.5"), ("10b%", "10b"), ("ten%", ""), ("10%%", "")],
)
def test_a_percent_sign_too_many_is_told_the_number_that_was_meant(text, meant):
    with pytest.raises(UsageError) as refused:
        Budget.parse(text)
    assert (f"Did you mean {meant}?" if meant else "is not a number. Give") in str(refused.value)


@pytest.mark.parametrize("text", ["ten", "", "10%", "0x10", "1,5"])
def test_what_is_no_number_is_quoted_with_an_example(text):
    with pytest.raises(UsageError, match=r"is not a number.*for example 20") as caught:
        Budget.parse(text)
    assert f"'{text}'" in str(caught.value)


@pytest.mark.parametrize("text", ["0", "-1", "100.01", "1e3", "nan", "snan", "inf", "-inf"])
def test_a_percent_out_of_range_is_quoted_with_what_is_allowed(text):
    with pytest.raises(UsageError, match=r"is not allowed. Give a percent above 0 and at most 100"):
        Budget.parse(text)


@pytest.mark.parametrize("text", ["10,,20", "10,", ""])
def test_a_gap_in_a_list_is_told(text):
    with pytest.raises(UsageError, match="ratio '' is not a number"):
        parse_budgets(text)


def test_a_percent_given_twice_is_refused_however_it_is_spelled():
    with pytest.raises(UsageError, match="ratio 10 is given twice in '10,1e1'"):
        parse_budgets("10,1e1")


# bytes


@given(BUDGETS, st.integers(1, 10**6))
def test_a_share_of_bytes_is_never_exceeded_and_one_image_more_would(budget, available):
    of_bytes = Budget(budget.percent, "bytes")
    kept = of_bytes.images(available)
    assert 100 * kept <= budget.percent * available < 100 * (kept + 1)


@given(BUDGETS, st.integers(1, 10**5), st.integers(1, 400))
def test_smaller_images_are_more_images_in_the_same_bytes(budget, available, each):
    of_bytes = Budget(budget.percent, "bytes")
    allowed = of_bytes.bytes(available * 200)
    if allowed < each:
        with pytest.raises(UsageError, match="holds no image"):
            of_bytes.for_images_of(each, 200, available)
        return
    kept = of_bytes.for_images_of(each, 200, available).images(available)
    assert kept * each <= allowed
    assert kept == available or (kept + 1) * each > allowed


def test_a_budget_of_bytes_has_its_own_spelling_and_words():
    budget = Budget.parse("12.50b")
    assert (budget.label, budget.words) == ("12.5b", "12.5 % of bytes")
    assert Budget.from_identity(budget.identity()) == budget != Budget.parse("12.5")


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))))
def test_an_exact_number_of_images_is_kept_exactly(pair):
    assert Budget.exactly(*pair).images(pair[1]) == pair[0]


def test_a_class_budget_keeps_its_own_counts_and_refuses_too_many():
    budget = ClassBudget.of_classes([3, 0, 5], 100)
    assert budget.images(100) == 8
    assert budget.images_by_class([50, 20, 30]).tolist() == [3, 0, 5]
    assert budget.identity()["by_class"] == [3, 0, 5]
    with pytest.raises(UsageError, match="cannot keep"):
        budget.images_by_class([50, 20, 4])
