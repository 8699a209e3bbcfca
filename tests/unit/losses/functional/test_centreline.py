"""The soft skeleton against SciPy's grey morphology and scikit-image's skeleton, and clDice by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage
from skimage.morphology import skeletonize
from torch import Tensor

from autounet.losses.functional.centreline import centreline_dice_loss, soft_skeleton
from autounet.losses.functional.overlap import soft_dice_loss


def skeleton_by_scipy(values: npt.NDArray[np.float64], num_iterations: int) -> npt.NDArray[np.float64]:
    """Algorithm 1 of Shit et al. 2021 in SciPy's operators, on one class."""
    cross, block = ndimage.generate_binary_structure(values.ndim, 1), np.ones((3,) * values.ndim)

    def erode(body: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(ndimage.grey_erosion(body, footprint=cross, mode="constant", cval=9))

    def taken(body: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        opened = ndimage.grey_dilation(erode(body), footprint=block, mode="constant", cval=-9)
        return np.asarray(np.maximum(body - opened, 0))

    skeleton = taken(values)
    for _ in range(num_iterations):
        values = erode(values)
        skeleton = skeleton + (1 - skeleton) * taken(values)
    return np.asarray(skeleton)


@pytest.mark.parametrize("size", [(9, 11), (5, 7, 6)], ids=["2d", "3d"])
@pytest.mark.parametrize("num_iterations", [1, 3])
def test_the_skeleton_is_that_of_scipys_operators(size: tuple[int, ...], num_iterations: int) -> None:
    values = np.random.default_rng(0).random((2, 3, *size))
    found = soft_skeleton(torch.from_numpy(values), None, num_iterations).numpy()
    for sample in range(2):
        for index in range(3):
            expected = skeleton_by_scipy(values[sample, index], num_iterations)
            np.testing.assert_allclose(found[sample, index], expected, atol=1e-12)
    assert found.min() >= 0 and found.max() <= 1


def bar(thickness: int) -> Tensor:
    body = torch.zeros(1, 1, 21, 40)
    body[..., 10 - thickness // 2 : 10 + thickness // 2 + 1, 5:35] = 1
    return body


def test_a_line_is_its_own_skeleton() -> None:
    line = bar(1)
    assert torch.equal(soft_skeleton(line, None, 3), line)


@pytest.mark.parametrize("thickness", [3, 7, 11])
def test_the_skeleton_of_a_bar_holds_the_one_of_scikit_image(thickness: int) -> None:
    body = bar(thickness)
    skeleton = soft_skeleton(body, None, 5)[0, 0].numpy() > 0
    middle = skeletonize(body[0, 0].numpy() > 0)[:, 12:28]
    assert middle.sum() == 16
    # One line in the middle of the bar; at its ends, the two go to the corners each in their way.
    assert np.array_equal(skeleton[:, 12:28], middle)
    assert not (skeleton & (body[0, 0].numpy() == 0)).any()


def test_too_few_iterations_do_not_reach_the_middle() -> None:
    assert not soft_skeleton(bar(11), None, 4)[..., 10, 15:25].any()
    assert soft_skeleton(bar(11), None, 5)[..., 10, 15:25].all()


def test_what_is_masked_neither_erodes_nor_grows() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2, 2, 6, 8, generator=generator)
    mask = torch.ones(2, 1, 6, 8, dtype=torch.bool)
    mask[..., 5:] = False
    found = soft_skeleton(values, mask, 2)
    torch.testing.assert_close(found[..., :5], soft_skeleton(values[..., :5], None, 2))
    assert not found[..., 5:].any()


def test_centreline_dice_by_hand() -> None:
    # A line of four voxels, of which three are found, each with certainty: precision 1, sensitivity (3 + 1) / (4 + 1).
    target, prediction = torch.zeros(1, 1, 5, 6), torch.zeros(1, 1, 5, 6)
    target[..., 2, 1:5], prediction[..., 2, 1:4] = 1, 1
    loss = centreline_dice_loss(prediction, target, pool_batch=False, num_iterations=2, smooth=1.0)
    assert float(loss) == pytest.approx(1 - 2 * 0.8 / 1.8, abs=1e-6)
    # With a second sample without a line, in which one voxel is found: 1/2 and 1; pooled 4/5 and 4/5.
    nothing, dot = torch.zeros(1, 1, 5, 6), torch.zeros(1, 1, 5, 6)
    dot[..., 2, 2] = 1
    both = torch.cat([prediction, dot]), torch.cat([target, nothing])
    each = centreline_dice_loss(*both, pool_batch=False, num_iterations=2, smooth=1.0)
    assert float(each) == pytest.approx(1 - (2 * 0.8 / 1.8 + 2 * 0.5 / 1.5) / 2, abs=1e-6)
    pooled = centreline_dice_loss(*both, pool_batch=True, num_iterations=2, smooth=1.0)
    assert float(pooled) == pytest.approx(1 - 0.8, abs=1e-6)


def test_a_vessel_cut_through_costs_more_than_one_that_is_too_thin() -> None:
    body, cut, thin = bar(5), bar(5), bar(3)
    cut[..., 15:18] = 0  # a tenth of the vessel is gone
    lost = [centreline_dice_loss(x, body, pool_batch=False, num_iterations=3, smooth=1e-5) for x in (thin, cut)]
    assert float(lost[0]) < float(lost[1])
    assert float(soft_dice_loss(thin, body, pool_batch=False)) > float(soft_dice_loss(cut, body, pool_batch=False))
