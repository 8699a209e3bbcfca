"""Losses by hand on a few pixels, and against PyTorch's and a plain NumPy form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from autounet.losses.functional import binary_cross_entropy_loss, cross_entropy_loss, one_hot, soft_dice_loss

# Two samples of one class and four pixels (B=2, K=1, 2 x 2).
P = torch.tensor([[[[0.8, 0.6], [0.2, 0.4]]], [[[1.0, 0.0], [0.0, 0.0]]]])
G = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]], [[[1.0, 1.0], [1.0, 1.0]]]])


def test_soft_dice_of_four_pixels() -> None:
    # 2 * (0.8 + 0.6) / ((0.8 + 0.6 + 0.2 + 0.4) + 2) = 2.8 / 4
    for pool_batch in (False, True):
        assert float(soft_dice_loss(P[:1], G[:1], pool_batch=pool_batch)) == pytest.approx(1 - 0.7, abs=1e-5)


def test_soft_dice_of_two_samples_is_their_mean_or_that_of_the_pooled_sums() -> None:
    # 2.8 / 4 = 0.7 and 2 * 1 / (1 + 4) = 0.4; pooled 2 * 2.4 / (3 + 6).
    assert float(soft_dice_loss(P, G, pool_batch=False)) == pytest.approx(1 - 0.55, abs=1e-5)
    assert float(soft_dice_loss(P, G, pool_batch=True)) == pytest.approx(1 - 4.8 / 9, abs=1e-5)


def test_soft_dice_of_several_classes_is_their_mean() -> None:
    both = soft_dice_loss(torch.cat([P[:1], P[1:]], dim=1), torch.cat([G[:1], G[1:]], dim=1), pool_batch=True)
    assert float(both) == pytest.approx(1 - (0.7 + 0.4) / 2, abs=1e-5)


def test_soft_dice_leaves_masked_pixels_out() -> None:
    mask = torch.tensor([[[[True, True], [True, False]]]])
    # 2.8 / ((0.8 + 0.6 + 0.2) + 2)
    assert float(soft_dice_loss(P[:1], G[:1], mask, pool_batch=False)) == pytest.approx(1 - 2.8 / 3.6, abs=1e-5)


def test_smoothing_by_hand() -> None:
    # (2.8 + 1) / (4 + 1)
    assert float(soft_dice_loss(P[:1], G[:1], pool_batch=False, smooth=1.0)) == pytest.approx(1 - 3.8 / 5)


def test_an_absent_class_costs_nothing_unless_it_is_predicted() -> None:
    nothing = torch.zeros(1, 1, 2, 2)
    assert float(soft_dice_loss(nothing, nothing, pool_batch=False)) == pytest.approx(0, abs=1e-6)
    assert float(soft_dice_loss(nothing + 0.5, nothing, pool_batch=False)) == pytest.approx(1, abs=1e-4)


def test_a_class_absent_from_one_sample_counts_by_the_pooled_sums() -> None:
    prediction = torch.tensor([[[[1.0, 1.0]]], [[[0.5, 0.0]]]])
    target = torch.tensor([[[[1.0, 1.0]]], [[[0.0, 0.0]]]])
    assert float(soft_dice_loss(prediction, target, pool_batch=False)) == pytest.approx(0.5, abs=1e-4)
    # 2 * 2 / (2.5 + 2)
    assert float(soft_dice_loss(prediction, target, pool_batch=True)) == pytest.approx(1 - 4 / 4.5, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), pool_batch=st.booleans(), masked=st.booleans())
def test_soft_dice_lies_between_0_and_1_and_is_numpys(seed: int, pool_batch: bool, masked: bool) -> None:
    generator = np.random.default_rng(seed)
    p = generator.random((2, 3, 4, 2, 3))
    g = generator.integers(0, 2, p.shape)
    m = generator.integers(0, 2, (2, 1, 4, 2, 3)) if masked else np.ones((2, 1, 4, 2, 3))
    axes = (0, 2, 3, 4) if pool_batch else (2, 3, 4)
    dice = (2 * (p * g * m).sum(axes) + 1e-5) / ((p * m).sum(axes) + (g * m).sum(axes) + 1e-5)
    mask = torch.from_numpy(m) if masked else None
    loss = float(soft_dice_loss(torch.from_numpy(p), torch.from_numpy(g), mask, pool_batch=pool_batch))
    assert loss == pytest.approx(1 - dice.mean(), abs=1e-5)
    assert 0 <= loss <= 1


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


def test_one_hot_gives_zeros_out_of_range() -> None:
    found = one_hot(torch.tensor([[0, 2, -1, 5]]), 3)
    assert found.tolist() == [[[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]]
