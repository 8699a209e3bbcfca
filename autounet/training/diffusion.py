"""The objective of diffusion: predict what noise was laid over an image, given its label map."""

from __future__ import annotations

import torch
from torch import Tensor

from autounet.diffusion.condition import hidden, masks_of, names_of
from autounet.diffusion.intensity import IntensityRange
from autounet.diffusion.options import DiffusionOptions
from autounet.diffusion.process import noisy, target
from autounet.labels import LabelSchema
from autounet.networks.base import SegmentationNetwork
from autounet.networks.diffusion_unet import DiffusionUNet
from autounet.training.objective import augmented
from autounet.training.precision import Precision
from autounet.training.replicas import Replicas
from autounet.training.sampling import PatchBatch


class Denoiser:
    """A network's prediction from a noisy image, a time and masks.

    Args:
        network: With an embedding of the classes' names.
        precision: What it computes in.
    """

    def __init__(self, network: SegmentationNetwork, precision: Precision) -> None:
        assert isinstance(network, DiffusionUNet)
        self.network = network
        self.precision = precision

    def __call__(self, noised: Tensor, times: Tensor, masks: Tensor) -> Tensor:
        """The prediction `(B, C, *spatial)`, float32.

        Args:
            noised: `(B, C, *spatial)`.
            times: `(B,)`.
            masks: `(B, 1 + K, *spatial)`; the names of the classes that they show are the context.
        """
        with self.precision.autocast(noised.device):
            context = self.network.embed(names_of(masks))
            (predicted,) = self.network(torch.cat([noised, masks], dim=1), times, context)
        prediction: Tensor = predicted.float()
        return prediction


class DiffusionObjective:
    """The squared error of a network's prediction at random times, averaged over voxels and samples.

    Args:
        options: How noise is laid on, and what is predicted.
        labels: What the label maps' values mean.
        intensities: Those of the images.
        precision: What the network computes in; the loss is in float32.
        replicas: This process among those that train together; each runs its part of the batch through the network.
    """

    def __init__(
        self,
        options: DiffusionOptions,
        labels: LabelSchema,
        intensities: IntensityRange,
        precision: Precision,
        replicas: Replicas,
    ) -> None:
        self.options = options
        self.labels = labels
        self.intensities = intensities
        self.precision = precision
        self.replicas = replicas
        self.schedule = options.noise_schedule

    def __call__(self, network: SegmentationNetwork, batch: PatchBatch) -> Tensor:
        """The loss of a batch."""
        device, size = self.replicas.device, len(batch.image)
        image, label = augmented(batch, device)
        image = self.intensities.scaled(image.to(device, non_blocking=True))
        # Drawn on the CPU, for the whole batch in every process, so that all agree and a resumed run goes on alike.
        noise = torch.randn(image.shape).to(device)
        times = torch.randint(self.schedule.num_times, (size,)).to(device)
        dropped = (torch.rand(size) < self.options.drop).to(device)
        masks = hidden(masks_of(label, self.labels), dropped)
        share = self.schedule.at(times, image.ndim)
        part = self.replicas.part(size)
        predicted = Denoiser(network, self.precision)(noisy(image, noise, share)[part], times[part], masks[part])
        (predicted,) = self.replicas.gather([predicted], size)
        return (predicted - target(image, noise, share, self.options.prediction)).square().mean()
