"""What a label map tells where not every class was annotated: that background is background or one of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from autounet.losses.functional.tensors import over_voxels


def marginal_logits(logits: Tensor, annotated: Tensor) -> Tensor:
    """Logits in which background stands for itself and for every class that was not annotated.

    Where a class was not annotated, its voxels are labelled background: all that the label tells is that one of them
    is right. The probability of that is the sum of theirs (marginal loss of Shi et al. 2021, "Marginal loss and
    exclusion loss for partially supervised multi-organ segmentation"), so background's logit becomes the logarithm
    of the sum of their exponentials, and theirs minus infinity; all other probabilities stay as they are.

    Args:
        logits: `(B, 1 + K, *spatial)`, background first.
        annotated: `(B, K)` bool.
    """
    background, foreground = logits[:, :1], logits[:, 1:]
    known = over_voxels(annotated, logits)
    merged = torch.cat([background, foreground.masked_fill(known, -torch.inf)], dim=1).logsumexp(1, keepdim=True)
    return torch.cat([merged, foreground.masked_fill(~known, -torch.inf)], dim=1)


def background_where_not_annotated(index: Tensor, annotated: Tensor) -> Tensor:
    """Output channels `(B, *spatial)`, 0 for those of the classes that `annotated` `(B, K)` leaves out."""
    outputs = torch.arange(1, annotated.shape[1] + 1, device=index.device) * annotated
    kept = torch.cat([torch.zeros_like(outputs[:, :1]), outputs], dim=1)
    # Voxels to be ignored may lie beyond; what they become does not matter.
    return kept.gather(1, index.clamp_max(annotated.shape[1]).flatten(1)).view_as(index)
