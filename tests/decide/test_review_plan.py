"""A review plan: its two parts, its repeats, and estimates that stay true for chosen rows."""

import numpy as np
import pytest

from labelfix.decide.review_plan import (
    APART,
    RANDOM,
    REPEAT,
    TARGETED,
    plan_rows,
    prospects,
    random_rows,
    share_out,
)


def made(rows=2000, budget=400, drawn=160, seed=0, audits=()):
    random = np.random.default_rng(seed)
    doubt = random.random(rows) ** 4
    open_rows = np.setdiff1d(np.arange(rows), audits)
    plan = plan_rows(
        doubt, open_rows, np.array(audits, np.int64), budget=budget, drawn=drawn, generator=random
    )
    return doubt, plan


def test_the_most_doubtful_rows_are_all_taken_and_the_rest_sampled_evenly():
    doubt, plan = made()
    targeted, drawn = plan.rows[plan.parts == TARGETED], plan.rows[plan.parts == RANDOM]
    assert len(targeted) == 240
    assert len(np.unique(drawn)) == 160
    assert doubt[targeted].min() == plan.threshold
    assert doubt[drawn].max() <= plan.threshold
    assert plan.rows_left == 2000 - 240
    assert np.allclose(plan.inclusion[plan.parts == RANDOM], 160 / 1760)


def test_the_parts_are_mixed_so_that_any_prefix_is_a_smaller_plan():
    _, plan = made()
    share = [(plan.parts[:n] == RANDOM).mean() for n in (100, 200, 400)]
    assert np.allclose(share, 160 / 420, atol=0.12)


def test_repeats_come_at_least_fifty_rows_later():
    _, plan = made()
    again = np.flatnonzero(plan.parts == REPEAT)
    assert len(again) == 20
    for place in again:
        first = np.flatnonzero(plan.rows == plan.rows[place])[0]
        assert place - first >= APART


def test_a_short_plan_has_no_repeats():
    _, plan = made(budget=30, drawn=30)
    assert len(plan.rows) == 30
    assert plan.threshold == float("inf")


def test_earlier_audits_that_would_be_targeted_now_retire():
    audits = np.arange(300)
    doubt, plan = made(audits=audits)
    assert np.array_equal(plan.retired, audits[doubt[audits] >= plan.threshold])
    assert not np.isin(plan.rows, audits).any()


def test_weighing_by_inclusion_estimates_the_whole_where_counting_does_not():
    errors, plain = [], []
    for seed in range(40):
        doubt, plan = made(seed=seed)
        wrong = np.random.default_rng(900 + seed).random(len(doubt)) < doubt
        first = plan.parts != REPEAT
        rows, weight = plan.rows[first], 1 / plan.inclusion[first]
        errors.append((weight * wrong[rows]).sum() / len(doubt) - wrong.mean())
        plain.append(wrong[rows].mean() - wrong.mean())
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(40) + 0.002
    assert np.mean(plain) > 0.1


def test_each_reviewer_sees_the_shared_rows_and_a_part_of_the_others():
    _, plan = made()
    ann, bo = share_out(plan, ["ann", "bo"], overlap=50)
    both = np.intersect1d(ann, bo)
    firsts = plan.parts != REPEAT
    assert firsts[both].sum() == 50
    assert len(np.union1d(ann, bo)) == len(plan.rows)
    assert abs(len(ann) - len(bo)) < 30
    repeated = plan.rows[plan.parts == REPEAT]
    for mine in (ann, bo):  # who sees the repeat has seen the row
        own = plan.rows[mine]
        for row in np.intersect1d(repeated, own):
            assert (own == row).sum() == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((80, 0, 0.1, 0.1), 80),
        ((500, 0, 0.1, 0.1), 100),
        ((500, 300, 0.1, 0.1), 100),  # enough already: the least share
        ((500, 50, 0.1, 0.0), 250),  # no gain to measure against: the largest share
        ((500, 0, 0.1, 0.1, 0.3), 150),
    ],
)
def test_how_many_rows_are_random(arguments, expected):
    assert random_rows(*arguments) == expected


def test_more_rows_mend_more_and_measure_better():
    doubt, _ = made()
    few, many = prospects(
        doubt, np.arange(2000), (100, 1000, 5000),
        audits=100, gain_residual=0.1, accuracy_residual=0.1, gain=0.1,
    )  # fmt: skip
    assert many.corrected > few.corrected
    assert many.gain_half_width < few.gain_half_width
    assert few.corrected <= 100
