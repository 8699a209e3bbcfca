"""Muon: orthogonal updates for kernels, AdamW for the rest, held against NumPy and PyTorch's own optimisers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from autounet.training.muon import Muon, orthogonalized


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.wide, self.head = nn.Conv3d(1, 16, 3), nn.Conv3d(16, 12, 3), nn.Conv3d(12, 2, 1)
        self.norm = nn.GroupNorm(12, 12)
        # In float32 the bias before the norm, whose gradient is zero but for rounding, would move at random.
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.norm(self.wide(self.stem(x))))
        return result


def loss_of(module: Network, seed: int) -> torch.Tensor:
    x = torch.randn(2, 1, 7, 7, 7, generator=torch.Generator().manual_seed(seed)).double()
    output: torch.Tensor = module(x)
    return output.square().mean() - output.mean()


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_singular_vectors_are_kept_and_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    result = orthogonalized(matrix)
    u, values, vt = np.linalg.svd(matrix.numpy(), full_matrices=False)
    in_its_frame = u.T @ result.numpy() @ vt.T
    np.testing.assert_allclose(in_its_frame - np.diag(np.diag(in_its_frame)), 0, atol=1e-9)
    # Jordan et al.: values above a hundredth of the norm end between 0.7 and 1.2.
    large = values / np.linalg.norm(values) > 0.05
    assert np.all((np.diag(in_its_frame)[large] > 0.6) & (np.diag(in_its_frame)[large] < 1.25))


def test_the_first_update_of_a_kernel_is_its_orthogonalised_gradient() -> None:
    module = Network()
    kernel = module.wide.weight
    before = kernel.detach().clone()
    optimizer = Muon(module.parameters(), 0.1, momentum=0.95, weight_decay=0.5)
    loss_of(module, 0).backward()
    optimizer.step()
    assert kernel.grad is not None
    gradient = kernel.grad.flatten(1)
    direction = orthogonalized(gradient).view_as(kernel)
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 0.2 * (16 * 27) ** 0.5 * direction
    torch.testing.assert_close(kernel.detach(), expected, atol=1e-4, rtol=1e-4)


def test_everything_but_kernels_follows_adamw() -> None:
    ours, theirs = Network(), Network()
    optimizer = Muon(ours.parameters(), 1e-2, weight_decay=0.1)
    # Only the second convolution is wide enough on both sides to be orthogonalised.
    theirs.wide.weight.requires_grad_(False)
    ours.wide.weight.requires_grad_(False)
    reference = torch.optim.AdamW((p for p in theirs.parameters() if p.requires_grad), 1e-2, weight_decay=0.1)
    for step in range(5):
        for module, rule in ((ours, optimizer), (theirs, reference)):
            rule.zero_grad()
            loss_of(module, step).backward()
            rule.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-6)


def test_it_trains() -> None:
    module = Network()
    optimizer = Muon(module.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = loss_of(module, 3)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1
