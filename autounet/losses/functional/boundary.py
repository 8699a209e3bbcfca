"""How far from the reference's boundary a prediction is wrong."""

from __future__ import annotations

from torch import Tensor

from autounet.losses.functional.tensors import at_least_single, mean_over


def boundary_loss(probabilities: Tensor, target: Tensor, distances: Tensor, counts: Tensor | None = None) -> Tensor:
    """Mean of `phi (p - g)`, with `phi` the signed distance to the reference's boundary, negative inside; at least 0.

    Kervadec et al. 2019, "Boundary loss for highly unbalanced segmentation", eq. 3 and 5: what the prediction has
    outside and lacks inside, weighed by its distance. The paper drops the constant `phi g` in training; with it a
    perfect prediction costs nothing, and the gradient is the same.

    Args:
        probabilities: `(B, K, *spatial)`, background left out by the caller.
        target: The same shape, 0 or 1.
        distances: The same shape, `phi`; all zero where a class has no boundary.
        counts: The same shape, bool; what counts, `None` for all.
    """
    return mean_over(distances * (at_least_single(probabilities) - target), counts)
