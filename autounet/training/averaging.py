"""An exponential average of the weights, its window given as a share of the run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Averaged weights of a network; the network's own where `share` is 0.

    Running statistics of batch norms are averaged as the weights are; whole numbers, which count, stay the network's.
    The decay of a step follows from how far it moved the run, so that the window is the same share of a run by the
    clock and of one by steps, and grown patches with their slower steps weigh by their time.

    Args:
        network: What its `state_dict` holds is averaged.
        share: Window of the average as a share of the run.
    """

    def __init__(self, network: nn.Module, share: float) -> None:
        self._own = network.state_dict(keep_vars=True)
        self._share = share
        averaged = {name: value for name, value in self._own.items() if share and value.is_floating_point()}
        self._average = {name: value.detach().clone() for name, value in averaged.items()}

    @torch.no_grad()
    def update(self, progress: float, share: float | None = None) -> None:
        """Take in the network's weights after a step that moved the run by `progress`; another `share` for once."""
        if self._average:
            weight = 1 - math.exp(-progress / (share or self._share))
            own = [self._own[name] for name in self._average]
            torch._foreach_lerp_(list(self._average.values()), own, weight)

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights by name."""
        return {name: value.detach() for name, value in {**self._own, **self._average}.items()}

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold; nothing where the weights are the network's own."""
        return dict(self._average)

    @torch.no_grad()
    def load(self, weights: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        for name, value in self._average.items():
            value.copy_(weights[name])

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[None]:
        """Run the block with the averaged weights in the network."""
        own = {name: self._own[name].detach().clone() for name in self._average}
        for name, value in self._average.items():
            self._own[name].copy_(value)
        try:
            yield
        finally:
            for name, value in own.items():
                self._own[name].copy_(value)
