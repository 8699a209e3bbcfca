"""How well a network predicts noise: its loss on validation cases, at noise, times and places that stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from autounet.diffusion.condition import masks_of
from autounet.diffusion.process import noisy, target
from autounet.geometry import Array
from autounet.labels import OUTSIDE
from autounet.networks.base import SegmentationNetwork
from autounet.preprocessing.store import PreparedStore
from autounet.records import SCHEMA_VERSION, Record
from autounet.training.diffusion import Denoiser, DiffusionObjective
from autounet.training.sampling import cut_box

# Of each case, evenly spread over the schedule, each with a patch and noise of its own.
_TIMES_A_CASE = 8


class TimeLoss(Record):
    """The mean loss at one time."""

    time: int
    loss: float


class DiffusionSummary(Record):
    """The loss of a network that draws images; there is no Dice, as nothing is segmented.

    Attributes:
        measure: What the loss is.
        num_cases: On how many cases.
        loss: Their mean.
        times: The mean at each time, the least noisy first.
        cases: The mean of each case, by name.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    measure: str
    num_cases: int
    loss: float
    times: tuple[TimeLoss, ...]
    cases: dict[str, float]


@dataclass(frozen=True)
class LossOnCases:
    """Measures the loss on prepared cases, the same way each time.

    Attributes:
        objective: Whose.
        store: The cases.
        patch_size: `(z, y, x)` or `(y, x)`.
        seed: Of places and noise.
    """

    objective: DiffusionObjective
    store: PreparedStore
    patch_size: tuple[int, ...]
    seed: int

    def summary(self, network: SegmentationNetwork, names: Sequence[str]) -> DiffusionSummary:
        """The loss on these cases, one or more."""
        losses = np.stack([self.of_case(network, name) for name in names])
        times = zip(self._times().tolist(), losses.mean(axis=0).tolist(), strict=True)
        predicted = self.objective.options.prediction
        return DiffusionSummary(
            measure=f"mean squared error of the predicted {predicted}, at fixed noise and times",
            num_cases=len(names),
            loss=float(losses.mean()),
            times=tuple(TimeLoss(time=time, loss=loss) for time, loss in times),
            cases={name: float(loss.mean()) for name, loss in zip(names, losses, strict=True)},
        )

    @torch.no_grad()
    def of_case(self, network: SegmentationNetwork, name: str) -> Array:
        """The loss at each time."""
        objective, device = self.objective, self.objective.replicas.device
        seeds = [self.seed, *name.encode()]
        image, label = self._patches(name, np.random.default_rng(seeds))
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
        image = objective.intensities.scaled(image.to(device))
        noise = torch.randn(image.shape, generator=generator).to(device)
        times = self._times().to(device)
        share = objective.schedule.at(times, image.ndim)
        masks = masks_of(label.to(device), objective.labels)
        predicted = Denoiser(network, objective.precision)(noisy(image, noise, share), times, masks)
        error = predicted - target(image, noise, share, objective.options.prediction)
        mean: Array = error.square().flatten(1).mean(dim=1).cpu().numpy()
        return mean

    def _times(self) -> Tensor:
        count = self.objective.schedule.num_times
        return torch.tensor([(2 * index + 1) * count // (2 * _TIMES_A_CASE) for index in range(_TIMES_A_CASE)])

    def _patches(self, name: str, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Images `(N, C, *patch)` and label maps `(N, *patch)` at random places, inside the case where it is larger."""
        images, labels = self.store.load(name)
        size = (1,) * (3 - len(self.patch_size)) + self.patch_size
        patches = []
        for _ in range(_TIMES_A_CASE):
            starts = [_start(generator, extent, edge) for extent, edge in zip(images.shape[1:], size, strict=True)]
            patches.append((cut_box(images, starts, size, 0), cut_box(labels, starts, size, OUTSIDE)[0]))
        image, label = (np.stack(arrays) for arrays in zip(*patches, strict=True))
        if len(self.patch_size) == 2:
            image, label = image[:, :, 0], label[:, 0]
        return torch.from_numpy(image.astype(np.float32)), torch.from_numpy(label.astype(np.int16))


def _start(generator: np.random.Generator, extent: int, edge: int) -> int:
    """The first voxel of a patch's edge; in the middle of an image that is smaller."""
    return -((edge - extent) // 2) if extent <= edge else int(generator.integers(extent - edge + 1))
