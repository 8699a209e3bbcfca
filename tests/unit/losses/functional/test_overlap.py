"""Losses of overlap by hand on a few pixels, against scikit-learn's scores, and a plain NumPy form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score, jaccard_score

from autounet.losses.functional.overlap import generalized_dice_loss, soft_dice_loss, tversky_loss

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


def test_tversky_by_hand() -> None:
    # Sample 1: 1.4 true positives, 0.6 false positives, 0.6 false negatives; sample 2: 1, 0 and 3.
    first, second = 1.4 / (1.4 + 0.3 * 0.6 + 0.7 * 0.6), 1 / (1 + 0.7 * 3)
    assert first == pytest.approx(0.7)
    found = tversky_loss(P, G, pool_batch=False, alpha=0.3, beta=0.7)
    assert float(found) == pytest.approx(1 - (first + second) / 2, abs=1e-5)
    pooled = 2.4 / (2.4 + 0.3 * 0.6 + 0.7 * 3.6)
    assert float(tversky_loss(P, G, pool_batch=True, alpha=0.3, beta=0.7)) == pytest.approx(1 - pooled, abs=1e-5)


def test_focal_tversky_by_hand() -> None:
    losses = [(1 - 0.7) ** 0.75, (1 - 1 / 3.1) ** 0.75]
    found = tversky_loss(P, G, pool_batch=False, alpha=0.3, beta=0.7, gamma=4 / 3)
    assert float(found) == pytest.approx(sum(losses) / 2, abs=1e-5)


@pytest.mark.parametrize("pool_batch", [False, True])
def test_tversky_with_halves_is_dice(pool_batch: bool) -> None:
    mask = torch.tensor([[[[True, True], [True, False]]]]).expand(2, 1, 2, 2)
    found = tversky_loss(P, G, mask, pool_batch=pool_batch, alpha=0.5, beta=0.5, smooth=0.25)
    torch.testing.assert_close(found, soft_dice_loss(P, G, mask, pool_batch=pool_batch, smooth=0.5))


def test_tversky_of_hard_masks_is_scikit_learns_score() -> None:
    generator = np.random.default_rng(0)
    p, g = (generator.integers(0, 2, 60) for _ in range(2))
    given = [torch.from_numpy(values).float().view(1, 1, 6, 10) for values in (p, g)]
    for beta in (0.5, 1, 2):
        alpha = 1 / (1 + beta**2)
        found = float(tversky_loss(given[0], given[1], pool_batch=False, smooth=0, alpha=alpha, beta=1 - alpha))
        assert found == pytest.approx(1 - fbeta_score(g, p, beta=beta), abs=1e-6)
    found = float(tversky_loss(given[0], given[1], pool_batch=False, smooth=0, alpha=1, beta=1))
    assert found == pytest.approx(1 - jaccard_score(g, p), abs=1e-6)


def test_the_slope_of_focal_tversky_is_finite_where_all_is_right() -> None:
    prediction = torch.ones(1, 1, 4, requires_grad=True)
    loss = tversky_loss(prediction, torch.ones(1, 1, 4), pool_batch=False, alpha=0.3, beta=0.7, gamma=2)
    loss.backward()
    assert float(loss.detach()) < 2e-4
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_generalized_dice_by_hand() -> None:
    # Background and a class of one voxel out of four; weights 1/9 and 1.
    foreground = torch.tensor([0.5, 0.5, 0.0, 0.0])
    target = torch.tensor([1.0, 0.0, 0.0, 0.0])
    p, g = (torch.stack([1 - values, values])[None] for values in (foreground, target))
    both, total = 2.5 / 9 + 0.5, 6 / 9 + 2
    for pool_batch in (False, True):
        found = float(generalized_dice_loss(p, g, pool_batch=pool_batch))
        assert found == pytest.approx(1 - 2 * both / total, abs=1e-5)
    # Without the third voxel, background has two.
    mask = torch.tensor([[[True, True, False, True]]])
    found = float(generalized_dice_loss(p, g, mask, pool_batch=True))
    assert found == pytest.approx(1 - 2 * (1.5 / 4 + 0.5) / (4 / 4 + 2), abs=1e-5)


def test_a_class_absent_from_generalized_dice_weighs_as_the_smallest_one_present() -> None:
    # 3 voxels of background, 1 of class 1, none of class 2, which is found with 0.2 in one of the former.
    g = torch.tensor([[[1.0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]])
    p = torch.tensor([[[0.8, 1, 1, 0], [0, 0, 0, 1], [0.2, 0, 0, 0]]])
    both, total = 2.8 / 9 + 1, (2.8 + 3) / 9 + 2 + 0.2
    assert float(generalized_dice_loss(p, g, pool_batch=True)) == pytest.approx(1 - 2 * both / total, abs=1e-5)


def test_generalized_dice_leaves_out_what_was_not_annotated() -> None:
    generator = torch.Generator().manual_seed(0)
    p, g = torch.rand(2, 3, 8, generator=generator), torch.rand(2, 3, 8, generator=generator).round()
    known = torch.tensor([[True, False, True], [False, False, False]])
    alone = generalized_dice_loss(p[:1, [0, 2]], g[:1, [0, 2]], pool_batch=False)
    for pool_batch in (False, True):
        torch.testing.assert_close(generalized_dice_loss(p, g, None, known, pool_batch=pool_batch), alone)


def test_squared_dice_is_that_of_v_net() -> None:
    p = torch.tensor([[[0.8, 0.3, 0.6, 0.1]]], requires_grad=True)
    g = torch.tensor([[[1.0, 0, 1, 0]]])
    loss = soft_dice_loss(p, g, pool_batch=False, smooth=0.0, squared=True)
    assert float(1 - loss.detach()) == pytest.approx(0.9032258)
    (gradient,) = torch.autograd.grad(1 - loss, p)
    assert gradient.flatten().tolist() == pytest.approx([0.1789802, -0.1748179, 0.2955255, -0.0582727], abs=1e-6)
