"""Groups of spacings, and what other targets would cost, by hand."""

from __future__ import annotations

from autounet.geometry import Shape3, Triple
from autounet.planners.protocols import explain_protocols

CUBE: Shape3 = (100, 100, 100)


def test_cases_of_one_spacing_need_no_word() -> None:
    assert explain_protocols([(1, 1, 1), (1.005, 1, 1)], [CUBE] * 2, (1, 1, 1)) == ()


def test_thick_and_thin_slices_are_two_groups() -> None:
    spacings: list[Triple] = [(1, 1, 1), (1.4, 1, 1), (5, 1, 1), (1, 1, 1), (7, 1, 1)]
    (decision,) = explain_protocols(spacings, [CUBE] * 5, (1.4, 1, 1))
    assert decision.name == "protocols"
    assert decision.value == "2 along z"
    # Of 1, 1, 1.4, 5, 7 the 10th percentile lies at index 0.4, the 90th at 3.6: 5 + 0.6 * 2.
    assert decision.reason == (
        "spacing along z runs from 1 to 7 mm (10th percentile 1, median 1.4, 90th 6.2), in 2 groups: 3 cases at 1 to "
        "1.4 mm, 2 cases at 5 to 7 mm; all are resampled to one spacing"
    )


def test_a_jump_of_half_as_much_again_is_no_gap() -> None:
    spacings: list[Triple] = [(1, 1, 1), (1, 1, 1.5), (1, 1, 2.25)]
    (decision,) = explain_protocols(spacings, [CUBE] * 3, (1, 1, 1.5))
    assert decision.value == "one"
    assert "spacing along x runs from 1 to 2.25 mm" in decision.reason
    assert decision.reason.endswith("without a gap, so the cases are taken for one protocol")


def test_the_axis_that_varies_most_is_told() -> None:
    (decision,) = explain_protocols([(1, 1, 1), (2, 4, 3)], [CUBE] * 2, (1.5, 2.5, 2))
    assert decision.value == "2 along y"


def test_at_most_five_groups_are_listed() -> None:
    spacings: list[Triple] = [(2.0**power, 1, 1) for power in range(7)]
    (decision,) = explain_protocols(spacings, [CUBE] * 7, (8, 1, 1))
    assert decision.value == "7 along z"
    assert "1 case at 16 mm, and 2 more groups; all" in decision.reason


def test_other_targets_cost_what_the_median_case_would_have() -> None:
    spacings: list[Triple] = [*[(1.0, 1.0, 1.0)] * 3, *[(4.0, 1.0, 1.0)] * 2]
    shapes: list[Shape3] = [(100, 50, 50)] * 3 + [(25, 50, 50)] * 2
    (decision,) = explain_protocols(spacings, shapes, (2, 1, 1))
    # Every case is 100 mm tall: 50 slices of the target's 2 mm, 100 of the 10th and 50th percentile's 1 mm, 25 of 4 mm.
    assert decision.alternatives == (
        "1 x 1 x 1 mm (10th percentile): the median case has 100 x 50 x 50 voxels, 2 times as many",
        "1 x 1 x 1 mm (median): the median case has 100 x 50 x 50 voxels, 2 times as many",
        "4 x 1 x 1 mm (90th percentile): the median case has 25 x 50 x 50 voxels, 0.5 times as many",
    )


def test_the_target_chosen_is_no_alternative() -> None:
    spacings: list[Triple] = [*[(1.0, 1.0, 1.0)] * 3, *[(4.0, 1.0, 1.0)] * 2]
    (decision,) = explain_protocols(spacings, [CUBE] * 5, (1, 1, 1))
    assert [sentence.split(" mm")[0] for sentence in decision.alternatives] == ["4 x 1 x 1"]
