"""Means, spreads and tests that can be worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bundle.comparison import Cell, Gain, RunSpec, lay_out
from bundle.comparison.paired_tests import Comparison, compare, correct_by_holm
from bundle.comparison.statistics import evaluate, patient_means
from tests.comparison.made_results import PAIR, case_row, empty_row, fused_dice, run_result

CAM, PROPOSED = RunSpec("cam", PAIR), RunSpec("proposed", PAIR)
TWO_SEEDS = [run_result(CAM, {"a": 0.4, "b": 0.6}, 0), run_result(CAM, {"a": 0.6, "b": 0.6}, 1)]


def test_two_patients_and_two_seeds_by_hand():
    value = evaluate(fused_dice("cam"), TWO_SEEDS)
    # Seeds' means 0.5 and 0.6; SD over patients 0.2 / sqrt 2 and 0; SD of the seeds' means 0.1 / sqrt 2.
    assert value.mean == pytest.approx(0.55)
    assert value.sd_patients == pytest.approx(0.2 / math.sqrt(2) / 2)
    assert value.sd_seeds == pytest.approx(0.1 / math.sqrt(2))
    assert (value.seeds, value.by_seed, value.n_patients) == ((0, 1), pytest.approx((0.5, 0.6)), 2)


def test_one_seed_has_no_spread_over_seeds():
    assert math.isnan(evaluate(fused_dice("cam"), TWO_SEEDS[:1]).sd_seeds)


def test_folds_of_a_seed_are_pooled():
    folds = [run_result(CAM, {"a": 0.2}, 0, 0), run_result(CAM, {"b": 0.4, "c": 0.6}, 0, 1)]
    value = evaluate(fused_dice("cam"), folds)
    assert (value.mean, value.n_patients) == (pytest.approx(0.4), 3)  # not the mean of the folds, 0.35
    assert value.sd_patients == pytest.approx(0.2)


def test_a_patient_in_two_folds_is_an_error():
    folds = [run_result(CAM, {"a": 0.2}, 0, 0), run_result(CAM, {"a": 0.4}, 0, 1)]
    with pytest.raises(ValueError, match="case a should be tested once"):
        evaluate(fused_dice("cam"), folds)


def test_healthy_cases_and_cases_without_mask_are_left_out():
    rows = [
        case_row("a", "fused", 0.4),
        case_row("b", "fused", math.nan, empty_truth=True),
        case_row("c", "fused", math.nan, empty_truth=None),
    ]
    value = evaluate(fused_dice("cam"), [replace(TWO_SEEDS[0], rows={"cam": rows})])
    assert (value.mean, value.n_patients, value.n_undefined) == (0.4, 1, 0)


def test_an_empty_mask_counts_in_dice_and_is_counted_in_assd():
    result = replace(TWO_SEEDS[0], rows={"cam": [case_row("a", "fused", 0.5, 3.0), empty_row("b", "fused")]})
    assert evaluate(fused_dice("cam"), [result]).mean == 0.25
    value = evaluate(Cell(CAM, "cam", "fused", "assd_mm"), [result])
    assert (value.mean, value.n_undefined, value.n_empty, value.n_patients) == (3.0, 1, 1, 2)
    assert math.isnan(value.sd_patients)


def test_ratios_are_medians():
    rows = [case_row(case, "fused", 0.5, under_ratio=r) for case, r in (("a", 1.0), ("b", 2.0), ("c", 900.0))]
    value = evaluate(Cell(CAM, "cam", "fused", "under_ratio"), [replace(TWO_SEEDS[0], rows={"cam": rows})])
    assert value.mean == 2.0
    assert math.isnan(value.sd_patients)


def ratios(metric: str, *rows):
    return evaluate(Cell(CAM, "cam", "fused", metric), [replace(TWO_SEEDS[0], rows={"cam": list(rows)})])


def test_a_lesion_that_is_missed_has_infinite_ratios():
    nan = {"under_ratio": math.nan, "over_ratio": math.nan}  # no voxel is hit
    hit = case_row("a", "fused", 0.5, under_ratio=1.0, over_ratio=2.0)
    beside = [case_row(case, "fused", 0.0, **nan) for case in "bc"]
    for metric in ("under_ratio", "over_ratio"):
        value = ratios(metric, hit, *beside)
        assert (value.mean, value.n_undefined) == (math.inf, 0)  # of 1 or 2, and twice infinity
    assert ratios("under_ratio", hit, hit_again := replace(hit, case="d"), beside[0]).mean == 1.0
    assert ratios("under_ratio", hit, hit_again, *beside).mean == math.inf  # between 1 and infinity


def test_an_empty_mask_misses_all_and_marks_nothing_too_much():
    hit = case_row("a", "fused", 0.5, over_ratio=2.0)
    empty = [empty_row(case, "fused") for case in "bc"]
    assert ratios("under_ratio", hit, *empty).mean == math.inf
    over = ratios("over_ratio", hit, *empty)
    assert (over.mean, over.n_undefined) == (2.0, 2)


def test_one_infinite_seed_makes_the_mean_infinite_without_a_spread():
    results = [
        replace(run, rows={"cam": [case_row("a", "fused", 0.1, under_ratio=ratio)]})
        for run, ratio in zip(TWO_SEEDS, (1.0, math.nan), strict=True)
    ]
    value = evaluate(Cell(CAM, "cam", "fused", "under_ratio"), results)
    assert value.by_seed == (1.0, math.inf)
    assert value.mean == math.inf
    assert math.isnan(value.sd_seeds)


def test_what_was_not_run_has_no_value():
    assert evaluate(fused_dice("er"), TWO_SEEDS) is None
    assert evaluate(Cell(CAM, "gradcam", "fused", "dice"), TWO_SEEDS) is None
    assert evaluate(Cell(CAM, "cam", "adc", "dice"), TWO_SEEDS) is None


def test_seeds_with_other_patients_are_told():
    results = [run_result(CAM, {"a": 0.4, "b": 0.6}, 0), run_result(CAM, {"a": 0.6}, 1)]
    assert not evaluate(fused_dice("cam"), results).complete
    assert evaluate(fused_dice("cam"), TWO_SEEDS).complete


def test_a_gain_is_the_difference_of_means():
    results = [*TWO_SEEDS, run_result(PROPOSED, {"a": 0.8, "b": 0.8})]
    gain = Gain(fused_dice("proposed"), fused_dice("cam"))
    assert evaluate(gain, results).mean == pytest.approx(0.25)
    assert evaluate(gain, TWO_SEEDS) is None


def test_the_test_is_on_each_patients_mean_over_seeds():
    assert patient_means(fused_dice("cam"), TWO_SEEDS) == pytest.approx({"a": 0.5, "b": 0.6})


def results_of(number: int, gains: dict[str, float]):
    """Proposed at 0.5 and more for patient after patient; other methods below it by their gain."""
    dices = {f"{i:02}": 0.5 + 0.01 * i for i in range(number)}
    others = []
    for method, gain in gains.items():
        theirs = {case: dice - gain * (1 + 0.01 * i) for i, (case, dice) in enumerate(dices.items())}
        others.append(run_result(RunSpec(method, PAIR), theirs))
    return [run_result(PROPOSED, dices), *others]


def test_six_patients_that_all_gain_have_the_smallest_p():
    first, *others = compare(lay_out("table1", PAIR), results_of(6, {"cam": 0.1}))
    assert (first.place, first.group, first.method, first.n_patients) == ("T1c-FLAIR", "CAM", "Baseline", 6)
    assert first.difference == pytest.approx(0.1 * 1.025)
    assert first.p == pytest.approx(2 / 2**6)  # one of 64 sign patterns on either side
    assert first.p_holm == pytest.approx(2 / 2**6)  # GradCAM++ is a family of its own
    assert (first.n_equal, first.note, len(others)) == (0, "", 1)


def test_few_patients_are_not_tested():
    (first, _) = compare(lay_out("table1", PAIR), results_of(2, {"cam": 0.1}))
    assert (first.p, first.p_holm, first.note) == (None, None, "too few differ (n = 2)")


def test_patients_that_are_equal_do_not_count_towards_the_fewest():
    proposed, baseline = results_of(7, {"cam": 0.1})
    equal = {row.case: row.dice for row in proposed.rows["cam"] if row.case in ("00", "01")}
    dices = {row.case: row.dice for row in baseline.rows["cam"]} | equal
    (first, _) = compare(lay_out("table1", PAIR), [proposed, run_result(CAM, dices)])
    assert (first.n_patients, first.n_equal, first.p) == (7, 2, None)
    assert first.note == "too few differ (n = 5)"
    six = {**dices, "00": 0.1}
    (first, _) = compare(lay_out("table1", PAIR), [proposed, run_result(CAM, six)])
    assert (first.n_equal, first.p) == (1, pytest.approx(2 / 2**6))


def test_equal_methods_are_not_tested():
    (first, _) = compare(lay_out("table1", PAIR), results_of(6, {"cam": 0.0}))
    assert (first.n_equal, first.p, first.note) == (6, None, "no patient differs")


def test_different_seeds_are_told():
    proposed, baseline = results_of(6, {"cam": 0.1})
    (first, _) = compare(lay_out("table1", PAIR), [proposed, baseline, replace(baseline, seed=1)])
    assert first.note == "seeds 0 against 0 1"
    assert first.p == pytest.approx(2 / 2**6)


def test_the_upper_bound_is_not_tested():
    table = lay_out("table1", PAIR, also=["supervised"])
    assert [c.method for c in compare(table, results_of(6, {"cam": 0.1, "supervised": -0.1}))] == [
        "Baseline"
    ] * 2


def test_holm_by_hand():
    ps = [0.01, 0.04, None, 0.03]
    comparisons = [Comparison("", "CAM", "", 9, 0, 0.1, p) for p in ps]
    comparisons.append(Comparison("", "GradCAM++", "", 9, 0, 0.1, 0.02))
    # Three tests: 0.01 * 3, then 0.03 * 2, then 0.04 * 1, which must not fall below 0.06.
    assert [c.p_holm for c in correct_by_holm(comparisons)] == [
        pytest.approx(0.03),
        pytest.approx(0.06),
        None,
        pytest.approx(0.06),
        0.02,
    ]


def test_methods_in_columns_are_compared_within_their_row():
    early = run_result(RunSpec("cam", PAIR, early_fusion=True), {f"{i:02}": 0.1 + 0.01 * i for i in range(6)})
    found = compare(lay_out("table7", PAIR), [*results_of(6, {}), early])
    assert [(c.place, c.group, c.method) for c in found] == [
        ("T1c-FLAIR", "CAM", "Baseline"),
        ("T1c-FLAIR", "GradCAM++", "Baseline"),
    ]
