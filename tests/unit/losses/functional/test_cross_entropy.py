"""Cross-entropy and what is made of it by hand, and against PyTorch's and scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from autounet.losses.functional.cross_entropy import (
    balanced_weights,
    binary_cross_entropy_loss,
    cross_entropy_loss,
    focal_map,
    hardest_mean,
)


def test_cross_entropy_is_pytorchs_mean_over_the_voxels_that_count() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, 5, generator=generator)
    target = torch.randint(0, 4, (2, 3, 5), generator=generator)
    torch.testing.assert_close(cross_entropy_loss(logits, target, -100), F.cross_entropy(logits, target))
    target[0, 1] = -100
    expected = F.cross_entropy(logits, target, ignore_index=-100)
    torch.testing.assert_close(cross_entropy_loss(logits, target, -100), expected)


def test_cross_entropy_by_hand() -> None:
    # Equal logits of four classes: ln 4 a voxel.
    target = torch.tensor([[0, 3, -100]])
    assert float(cross_entropy_loss(torch.zeros(1, 4, 3), target, -100)) == pytest.approx(math.log(4))


def test_cross_entropy_of_nothing_is_zero() -> None:
    logits = torch.randn(1, 4, 3, requires_grad=True)
    loss = cross_entropy_loss(logits, torch.full((1, 3), -100), -100)
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_binary_cross_entropy_is_pytorchs_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    target = torch.randint(0, 2, logits.shape, generator=generator).float()
    expected = F.binary_cross_entropy(logits.sigmoid(), target)
    torch.testing.assert_close(binary_cross_entropy_loss(logits, target), expected)
    everywhere = torch.ones(2, 1, 4, 5, dtype=torch.bool)
    torch.testing.assert_close(binary_cross_entropy_loss(logits, target, everywhere), expected)


def test_binary_cross_entropy_leaves_masked_voxels_out() -> None:
    # Two regions, two voxels; of the second voxel, which is utterly wrong, nothing counts.
    logits = torch.tensor([[[0.0, 50.0], [0.0, 50.0]]])
    target = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    mask = torch.tensor([[[True, False]]])
    assert float(binary_cross_entropy_loss(logits, target, mask)) == pytest.approx(math.log(2))
    assert float(binary_cross_entropy_loss(logits, target)) == pytest.approx((2 * math.log(2) + 100) / 4)
    assert float(binary_cross_entropy_loss(logits, target, torch.zeros_like(mask))) == 0


def test_focal_loss_by_hand() -> None:
    right = torch.tensor([0.9, 0.5, 0.2, 0.7])  # probabilities of what is right
    positive = torch.tensor([True, True, False, False])
    found = focal_map(-right.log(), positive, gamma=2.0, alpha=0.25)
    expected = [
        -0.25 * 0.1**2 * math.log(0.9),
        -0.25 * 0.5**2 * math.log(0.5),
        -0.75 * 0.8**2 * math.log(0.2),
        -0.75 * 0.3**2 * math.log(0.7),
    ]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    losses = torch.rand(5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(focal_map(losses, losses > 0.5, gamma=0.0, alpha=None), losses)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_slope_of_the_focal_loss_is_finite_where_all_is_right(gamma: float) -> None:
    losses = torch.zeros(3, requires_grad=True)
    focal_map(losses, losses > 0, gamma=gamma, alpha=None).sum().backward()
    assert losses.grad is not None
    assert losses.grad.isfinite().all()


def test_the_hardest_voxels_by_hand() -> None:
    losses = torch.tensor([3.0, 1, 4, 1.5, 9, 2, 6, 5, 3.5, 8]).view(1, 1, 10)
    assert float(hardest_mean(losses, None, 0.2)) == pytest.approx((9 + 8) / 2)
    assert float(hardest_mean(losses, None, 0.3)) == pytest.approx((9 + 8 + 6) / 3)
    assert float(hardest_mean(losses, None, 0.01)) == 9
    assert float(hardest_mean(losses, None, 1.0)) == pytest.approx(4.3)
    # The 9 does not count, of the nine others the hardest two do: rounded up from 1.8.
    assert float(hardest_mean(losses, losses != 9, 0.2)) == pytest.approx((8 + 6) / 2)
    assert float(hardest_mean(losses, losses < 1.2, 0.5)) == 1
    assert float(hardest_mean(losses, losses < 0, 0.5)) == 0


def test_the_hardest_voxels_are_those_of_the_whole_batch() -> None:
    losses = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]]).view(2, 1, 4)
    assert float(hardest_mean(losses, None, 0.5)) == pytest.approx((5 + 6 + 7 + 8) / 4)
    # A quarter of six voxels is two.
    assert float(hardest_mean(losses, losses < 7, 0.25)) == pytest.approx((5 + 6) / 2)


def test_only_the_hardest_voxels_have_a_gradient() -> None:
    losses = torch.tensor([[[1.0, 5, 3, 2]]], requires_grad=True)
    hardest_mean(losses, torch.tensor([[[True, True, False, True]]]), 0.6).backward()
    assert losses.grad is not None
    assert losses.grad.tolist() == [[[0, 0.5, 0, 0.5]]]


def test_balanced_weights_are_scikit_learns() -> None:
    values = np.repeat([0, 1, 3], [70, 25, 5])
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=values)
    found = balanced_weights(torch.from_numpy(np.bincount(values)).float())
    assert found[[0, 1, 3]].tolist() == pytest.approx(expected.tolist())
    assert found[2] == 0
