"""The boundary loss by hand."""

from __future__ import annotations

import pytest
import torch

from autounet.losses.functional.boundary import boundary_loss

# A class in the middle of five voxels, and the signed distances to its boundary.
G = torch.tensor([[[0.0, 1, 1, 0, 0]]])
PHI = torch.tensor([[[1.0, -1, -1, 1, 2]]])


def test_what_is_wrong_is_weighed_by_its_distance() -> None:
    p = torch.tensor([[[0.5, 1, 0.25, 0, 0.1]]])
    # 0.5 one voxel outside, 0.75 missing one voxel inside, 0.1 two voxels outside; mean over five.
    assert float(boundary_loss(p, G, PHI)) == pytest.approx((0.5 + 0.75 + 0.2) / 5)
    counts = torch.tensor([[[False, True, True, True, True]]])
    assert float(boundary_loss(p, G, PHI, counts)) == pytest.approx((0.75 + 0.2) / 4)
    assert float(boundary_loss(p, G, PHI, torch.zeros_like(counts))) == 0


def test_a_perfect_prediction_costs_nothing_and_the_gradient_is_the_distance() -> None:
    p = G.clone().requires_grad_()
    loss = boundary_loss(p, G, PHI)
    loss.backward()
    assert float(loss.detach()) == 0
    assert p.grad is not None
    torch.testing.assert_close(p.grad, PHI / 5)
