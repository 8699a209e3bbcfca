"""Every change of value against numbers worked out by hand, with both backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autounet.augmentation.parameters import (
    BlurParameters,
    ChannelParameters,
    ContrastParameters,
    GammaParameters,
    GradientParameters,
    LinearParameters,
    LocalGammaParameters,
    LowResolutionParameters,
    MedianParameters,
    NoiseParameters,
    RectangleParameters,
    SharpenParameters,
)

Change = Callable[[ChannelParameters, Any], Any]
ROW = np.array([0])


def numbers(*values: float) -> Any:
    return np.array(values, dtype=np.float64)


def by_hand(found: Any, expected: list[float]) -> None:
    assert found.tolist() == pytest.approx(expected, abs=2e-5)


def test_noise(change: Change) -> None:
    values = np.full((2, 40, 40), 3.0)
    still, noisy = change(NoiseParameters(np.array([0, 1]), numbers(0, 0.1), 7), values)
    assert (still == 3).all()
    assert noisy.mean() == pytest.approx(3, abs=0.01)
    assert noisy.std() == pytest.approx(0.1, rel=0.08)
    again = change(NoiseParameters(np.array([0, 1]), numbers(0, 0.1), 7), values)
    assert np.array_equal(again[1], noisy)
    assert not np.array_equal(change(NoiseParameters(np.array([0, 1]), numbers(0, 0.1), 8), values)[1], noisy)


def test_brightness(change: Change) -> None:
    by_hand(change(LinearParameters(ROW, numbers(2), numbers(1)), [1, 2, -1]), [3, 5, -1])


@pytest.mark.parametrize(
    ("factor", "keep_range", "expected"),
    [(0.5, True, [1, 2, 3]), (2, True, [0, 2, 4]), (2, False, [-2, 2, 6])],
)
def test_contrast_about_the_mean(change: Change, factor: float, keep_range: bool, expected: list[float]) -> None:
    by_hand(change(ContrastParameters(ROW, numbers(factor), keep_range), [0, 2, 4]), expected)


def test_gamma(change: Change) -> None:
    # Scaled to 0, 0.5, 1, squared, scaled back: 0, 0.5, 2, with mean 5/6 and deviation 0.849837; it was 1 and 0.816497.
    expected = [1 + (value - 5 / 6) * 0.816497 / 0.849837 for value in (0, 0.5, 2)]
    by_hand(change(GammaParameters(ROW, numbers(2), False), [0, 1, 2]), expected)
    # Of the negative image: as if light and dark were exchanged.
    by_hand(change(GammaParameters(ROW, numbers(2), True), [0, 1, 2]), [2 - value for value in reversed(expected)])


def test_changes_leave_a_channel_of_one_value_as_it_is(change: Change) -> None:
    flat = [3.0, 3.0, 3.0]
    hill = (numbers(0)[None], numbers(2)[None])
    for parameters in (
        ContrastParameters(ROW, numbers(1.2), True),
        GammaParameters(ROW, numbers(0.7), False),
        GammaParameters(ROW, numbers(0.7), True),
        BlurParameters(ROW, numbers(1)[None]),
        LowResolutionParameters(ROW, numbers(0.5)[None]),
        MedianParameters(ROW, np.array([3])),
        SharpenParameters(ROW, numbers(1)),
        LocalGammaParameters(ROW, *hill, numbers(0.5)),
    ):
        by_hand(change(parameters, flat), flat)


def test_blur(change: Change) -> None:
    # 6 * 0.5 + 0.5 = 3.5, nearest odd 3: weights exp(-2), 1, exp(-2) over their sum.
    side = np.exp(-2) / (1 + 2 * np.exp(-2))
    by_hand(change(BlurParameters(ROW, numbers(0.5)[None]), [0, 0, 1, 0, 0]), [0, side, 1 - 2 * side, side, 0])
    # At the end the voxel before it is seen again beyond it.
    by_hand(change(BlurParameters(ROW, numbers(0.5)[None]), [0, 1, 0, 0]), [2 * side, 1 - 2 * side, side, 0])
    # 6.5 and 5: seven weights along one axis, five along the other.
    impulse = np.zeros((1, 9, 9))
    impulse[0, 4, 4] = 1
    blurred = change(BlurParameters(ROW, np.array([[1.0, 0.75]])), impulse)[0]
    assert (blurred > 0).any(axis=1).sum() == 7
    assert (blurred > 0).any(axis=0).sum() == 5
    assert blurred.sum() == pytest.approx(1, abs=1e-5)


def test_low_resolution(change: Change) -> None:
    # Two voxels of four are kept, those at their centres or behind: the second and the fourth.
    by_hand(change(LowResolutionParameters(ROW, numbers(0.5)[None]), [0, 1, 2, 3]), [1, 1.5, 2.5, 3])
    by_hand(change(LowResolutionParameters(ROW, numbers(1)[None]), [0, 1, 2, 3]), [0, 1, 2, 3])
    by_hand(change(LowResolutionParameters(ROW, numbers(0.01)[None]), [0, 1, 2, 3]), [2, 2, 2, 2])


def test_median(change: Change) -> None:
    by_hand(change(MedianParameters(ROW, np.array([3])), [1, 9, 2, 3]), [1, 2, 3, 3])
    # Of an even number the upper one; a window of two reaches one voxel back.
    by_hand(change(MedianParameters(ROW, np.array([2])), [1, 9, 2, 3]), [1, 9, 9, 3])
    assert change(MedianParameters(ROW, np.array([3])), [[[9, 1], [1, 5]]]).tolist() == [[[5, 1], [1, 5]]]


def test_sharpening(change: Change) -> None:
    # Laplacian -1 -1 1 1; half of it added, then cut to 0..4.
    by_hand(change(SharpenParameters(ROW, numbers(0.5)), [0, 1, 3, 4]), [0, 0.5, 3.5, 4])


def test_blank_rectangles(change: Change) -> None:
    start, stop = np.array([[[0, 1], [1, 0]]]), np.array([[[2, 2], [1, 0]]])
    changed = change(RectangleParameters(ROW, start, stop), [[[0, 1, 2], [3, 4, 8]]])
    assert changed.tolist() == [[[0, 3, 2], [3, 3, 8]]]  # the mean is 3; the empty box does nothing


def test_gradient_and_local_gamma(change: Change) -> None:
    centre, width = numbers(0)[None], numbers(1)[None]
    hill = [1, np.exp(-0.5), np.exp(-2)]
    by_hand(
        change(GradientParameters(ROW, centre, width, numbers(2)), [0, 0, 1]),
        [2 * hill[0], 2 * hill[1], 1 + 2 * hill[2]],
    )
    # 0, 1/4, 1 and their roots 0, 1/2, 1, mixed by the hill.
    expected = [0, 4 * (0.25 + 0.25 * hill[1]), 4]
    by_hand(change(LocalGammaParameters(ROW, centre, width, numbers(0.5)), [0, 1, 4]), expected)
    # Its highest voxel has the full strength, wherever the centre is.
    far = change(GradientParameters(ROW, numbers(-1.5)[None], numbers(3)[None], numbers(-5)), [0, 0, 0])
    assert far[0] == pytest.approx(-5)
    assert (np.diff(far) > 0).all()


def test_what_nobody_registered_is_refused(change: Change) -> None:
    with pytest.raises(NotImplementedError, match="ChannelParameters"):
        change(ChannelParameters(ROW), [1, 2])
