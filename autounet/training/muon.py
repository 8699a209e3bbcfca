"""Muon: momentum whose direction is made orthogonal, for convolutions; AdamW for everything else.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024): the update of a weight matrix is its
Nesterov momentum with all singular values brought near one, by five Newton-Schulz iterations. Liu et al., "Muon is
scalable for LLM training" (arXiv 2502.16982), section 2.2: scaled by 0.2 sqrt(max(rows, columns)) its size matches that
of AdamW, so that one learning rate and one weight decay serve both.

Here a convolution's kernel is taken as the matrix `(out, in * kernel)`; PyTorch's own `torch.optim.Muon` refuses any
parameter that is not 2D. Biases, norms and kernels with a short side (stem and heads) go to AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

# A matrix with a shorter side has too few directions to be worth equalising.
_SHORTEST_SIDE = 8
# Jordan et al.: the quintic that lifts small singular values fastest, with results between 0.7 and 1.2.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_ADAMW_SIZE = 0.2
_BETAS, _EPSILON = (0.9, 0.999), 1e-8


class Muon(torch.optim.Optimizer):
    """Muon for the kernels of convolutions, AdamW for the other parameters.

    Args:
        parameters: All parameters of a network.
        lr: Learning rate of both.
        momentum: Of Muon, Nesterov's.
        weight_decay: Decoupled, of both.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, *, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        everything = list(parameters)
        groups: list[dict[str, Any]] = [
            {"params": [p for p in everything if _is_matrix(p)], "orthogonal": True},
            {"params": [p for p in everything if not _is_matrix(p)], "orthogonal": False},
        ]
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__([group for group in groups if group["params"]], defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        assert closure is None, "the loss is computed once a step"
        for group in self.param_groups:
            update = self._orthogonal_step if group["orthogonal"] else self._adamw_step
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    update(parameter, parameter.grad, group)
        return None

    def _orthogonal_step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        direction = orthogonalized(gradient.lerp(momentum, group["momentum"]).flatten(1))
        size = _ADAMW_SIZE * max(direction.shape) ** 0.5
        parameter.add_(direction.view_as(parameter), alpha=-group["lr"] * size)

    def _adamw_step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        count = float(state["step"])
        mean = state["mean"].lerp_(gradient, 1 - _BETAS[0])
        square = state["square"].mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        scale = (square / (1 - _BETAS[1] ** count)).sqrt_().add_(_EPSILON)
        parameter.addcdiv_(mean, scale, value=-group["lr"] / (1 - _BETAS[0] ** count))


def orthogonalized(matrix: Tensor) -> Tensor:
    """The matrix with its singular vectors kept and its singular values brought near one, by Newton-Schulz."""
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim >= 4 and min(parameter.shape[0], parameter[0].numel() // _SHORTEST_SIDE) >= _SHORTEST_SIDE
