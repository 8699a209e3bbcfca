"""Whether two sets of predictions differ: verdicts on made-up scores, and what cannot be compared."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from autounet.errors import DataError, RequestError
from autounet.evaluation.comparison import Compared, compare_summaries, conclusion, in_words, measured_metrics
from autounet.evaluation.metrics import MetricChoice
from autounet.evaluation.overlap import ClassScore, Counts
from autounet.evaluation.summary import ALL_CLASSES, CaseScores, Summary, summarize

Values = Sequence[float | None]


def scored(
    dice: Values,
    metrics: Mapping[str, Values] | None = None,
    num_reference: int = 10,
    choice: MetricChoice | None = None,
) -> Summary:
    """Scores of one class `liver` in cases `c0`, `c1`, ..."""
    metrics = metrics or {}
    cases = []
    for index, value in enumerate(dice):
        score = ClassScore.of(Counts(tp=num_reference, fp=0, fn=0, tn=0)).model_copy(
            update={"dice": value, "metrics": {name: values[index] for name, values in metrics.items()}}
        )
        cases.append(CaseScores(case=f"c{index}", reference=f"r{index}", prediction="p", classes={"liver": score}))
    return summarize(cases, choice or MetricChoice(names=tuple(metrics)))


def only_class(first: Summary, second: Summary, metric: str) -> Compared:
    (liver,) = compare_summaries(first, second, [metric]).rows
    assert liver.class_name == "liver"
    return liver


def noisy(mean: float, seed: int) -> list[float]:
    return list(np.random.default_rng(seed).normal(mean, 0.02, 30))


@pytest.mark.parametrize(
    ("metric", "better"), [("dice", "second"), ("hd95_mm", "first"), ("volume_error_ml", "first"), ("aji", "second")]
)
def test_a_real_difference_is_shown_and_the_better_one_named(metric: str, better: str) -> None:
    low, high = noisy(0.5, 0), noisy(0.6, 1)
    first, second = (
        scored(values) if metric == "dice" else scored([1.0] * 30, {metric: values}) for values in (low, high)
    )
    row = only_class(first, second, metric)
    assert row.better == better
    assert row.difference is not None
    assert row.difference.difference == pytest.approx(np.mean(high) - np.mean(low))
    assert f"{'B' if better == 'second' else 'A'} is better" in in_words(row)
    other_way = only_class(second, first, metric)
    assert {row.better, other_way.better} == {"first", "second"}


def test_errors_about_zero_are_compared_by_their_size() -> None:
    row = only_class(
        scored([1.0] * 20, {"volume_error_ml": [-3.0] * 20}),
        scored([1.0] * 20, {"volume_error_ml": [1.0] * 20}),
        "volume_error_ml",
    )
    assert (row.first, row.second, row.better) == (3, 1, "second")


def test_noise_is_called_no_difference() -> None:
    comparison = compare_summaries(scored(noisy(0.5, 0)), scored(noisy(0.5, 1)), ["dice"])
    assert comparison.rows[0].better == "no difference shown"
    assert "no difference shown" in in_words(comparison.rows[0])
    assert conclusion(comparison).startswith("No difference shown")


def test_the_same_scores() -> None:
    comparison = compare_summaries(scored(noisy(0.5, 0)), scored(noisy(0.5, 0)), ["dice"])
    assert in_words(comparison.rows[0]) == "liver, Dice: the same in all 30 cases."
    assert conclusion(comparison) == "A and B have the same scores."


def test_the_conclusion_names_what_is_better() -> None:
    comparison = compare_summaries(
        scored(noisy(0.5, 0), {"hd95_mm": noisy(1, 2)}),
        scored(noisy(0.6, 1), {"hd95_mm": noisy(2, 3)}),
        ["dice", "hd95_mm"],
    )
    assert conclusion(comparison) == (
        "A and B differ by more than chance. Better is A in HD95 (mm) of liver, and B in Dice of liver."
    )


def test_values_in_one_only_are_counted_and_not_compared() -> None:
    row = only_class(
        scored([1.0] * 4, {"hd95_mm": [1.0, 2.0, None, 9.0]}),
        scored([1.0] * 4, {"hd95_mm": [1.0, 4.0, 5.0, None]}),
        "hd95_mm",
    )
    assert (row.first, row.second, row.num_only_first, row.num_only_second) == (1.5, 2.5, 1, 1)
    assert "2 more have a value in one of the two only" in in_words(row)
    few = only_class(scored([1.0] * 2, {"hd95_mm": [1.0, None]}), scored([1.0] * 2, {"hd95_mm": [1.0, 2.0]}), "hd95_mm")
    assert (few.better, few.difference) == ("too few cases", None)
    assert "nothing can be said" in in_words(few)


def test_many_classes_are_corrected_for() -> None:
    generator = np.random.default_rng(5)
    differences = generator.normal(0.01, 0.02, (20, 8))

    def of(values: np.ndarray) -> Summary:
        score = ClassScore.of(Counts(tp=1, fp=0, fn=0, tn=0))
        return summarize(
            CaseScores(
                case=str(index),
                reference="",
                prediction="",
                classes={str(name): score.model_copy(update={"dice": value}) for name, value in enumerate(row)},
            )
            for index, row in enumerate(values)
        )

    rows = compare_summaries(of(np.full((20, 8), 0.5)), of(0.5 + differences), ["dice"]).rows
    assert rows[0].class_name == ALL_CLASSES
    whole, classes = rows[0], sorted(rows[1:], key=lambda row: row.difference.p_value if row.difference else 1)
    assert whole.difference is not None
    assert whole.p_adjusted == whole.difference.p_value
    # Holm: the smallest of eight counts eight times, the next seven times, and none less than the one before.
    expected = np.maximum.accumulate(
        [(8 - rank) * row.difference.p_value for rank, row in enumerate(classes) if row.difference]
    )
    assert [row.p_adjusted for row in classes] == pytest.approx(np.minimum(expected, 1))


def test_cases_must_be_the_same() -> None:
    first, second = scored([0.5, 0.6, 0.7]), scored([0.5, 0.6])
    with pytest.raises(DataError, match=r"c2.*does not have this case"):
        compare_summaries(first, second, ["dice"], names=("one", "two"))
    comparison = compare_summaries(first, second, ["dice"], missing="ignore")
    assert (comparison.num_cases, comparison.left_out) == (2, ("c2",))
    with pytest.raises(DataError, match="does not have this case"):
        compare_summaries(first, scored([]), ["dice"], missing="ignore")


def test_references_must_be_the_same() -> None:
    with pytest.raises(DataError, match="11 voxels, but 10") as caught:
        compare_summaries(scored([0.5, 0.6]), scored([0.5, 0.6], num_reference=11), ["dice"])
    assert len(caught.value.problems) == 2


def test_both_must_have_been_measured_and_in_the_same_way() -> None:
    first = scored([0.5, 0.6], {"surface_dice": [1.0, 1.0]})
    with pytest.raises(RequestError, match=r"two holds no surface_dice.*--metrics dice surface_dice"):
        compare_summaries(first, scored([0.5, 0.6]), ["dice", "surface_dice"], names=("one", "two"))
    looser = MetricChoice(names=("surface_dice",), tolerance_mm=2)
    second = scored([0.5, 0.6], {"surface_dice": [1.0, 1.0]}, choice=looser)
    with pytest.raises(RequestError, match=r"tolerance-mm 1, .* with 2"):
        compare_summaries(first, second, ["surface_dice"])
    assert compare_summaries(first, second, ["dice"]).num_cases == 2
    ways = [MetricChoice(names=("v_rand",), regions_between=name) for name in ("membrane", "background")]
    between = [scored([0.5, 0.6], {"v_rand": [1.0, 1.0]}, choice=way) for way in ways]
    with pytest.raises(RequestError, match=r"regions-between membrane, .* with background"):
        compare_summaries(between[0], between[1], ["v_rand"])
    assert measured_metrics(first)[-1] == "surface_dice"


def test_classes_must_be_the_same() -> None:
    other = summarize([CaseScores(case="c0", reference="", prediction="", classes={}, not_annotated=("spleen",))])
    with pytest.raises(RequestError, match=r"classes liver.*spleen"):
        compare_summaries(scored([0.5]), other, ["dice"])
