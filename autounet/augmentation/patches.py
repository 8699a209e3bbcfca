"""A policy, made fit for a size of patch: what is drawn for its batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autounet.augmentation import POLICIES
from autounet.augmentation.intensity import draw_intensity
from autounet.augmentation.parameters import BatchShape, ChannelParameters
from autounet.augmentation.policies import Policy
from autounet.augmentation.previous import PreviousParameters, draw_previous
from autounet.augmentation.spatial import SpatialParameters, draw_spatial, initial_patch_size, is_slice_wise
from autounet.laterality import LateralityMode, Mirroring, ValuePairs, mirroring
from autounet.plans import Configuration, Plan


@dataclass(frozen=True)
class BatchParameters:
    """All that is done to a batch; applied by `workers.apply` (NumPy) or `device.apply` (torch).

    Attributes:
        spatial: Where every voxel comes from.
        intensity: What is done to values, in this order.
        side_pairs: Label values that change places in the samples that `spatial` names.
        masked_channels: Channels that are zero outside the body in the end.
        previous: What is done to the second map, the earlier stage's, before it becomes input channels; `None` where
            there is no such map.
    """

    spatial: SpatialParameters
    intensity: tuple[ChannelParameters, ...]
    side_pairs: ValuePairs
    masked_channels: tuple[int, ...]
    previous: PreviousParameters | None = None


@dataclass(frozen=True)
class Augmentation:
    """Random changes of patches of one size.

    Attributes:
        policy: Which changes, how often, how strong.
        patch_size: Size of the patches that come out.
        mirroring: Which spatial axes are mirrored, and which labels change places then.
        masked_channels: Channels that stay zero outside the body.
        previous_values: Label values of an earlier stage that become input channels; none outside a cascade.
    """

    policy: Policy
    patch_size: tuple[int, ...]
    mirroring: Mirroring
    masked_channels: tuple[int, ...] = ()
    previous_values: tuple[int, ...] = ()

    @classmethod
    def of(cls, policy: Policy, patch_size: Sequence[int], masked_channels: Sequence[int] = ()) -> Augmentation:
        """The policy for this size, with mirrors along every axis if it has any."""
        size = tuple(patch_size)
        axes = tuple(range(len(size))) if policy.mirrors else ()
        return cls(policy, size, Mirroring(axes=axes), tuple(masked_channels))

    @classmethod
    def for_plan(
        cls,
        plan: Plan,
        configuration: Configuration,
        policy: str,
        laterality: LateralityMode,
        patch_size: Sequence[int] | None = None,
    ) -> Augmentation:
        """A policy for a configuration, with mirrors that mind left and right.

        Args:
            plan: Tells left and right, and the channels that stay zero outside the body.
            configuration: One of the plan's.
            policy: Name of the policy.
            laterality: What mirrors do to left and right.
            patch_size: Instead of the configuration's own.

        Raises:
            RequestError: There is no such policy.
        """
        masked = [index for index, channel in enumerate(plan.channels) if channel.use_mask]
        size = configuration.patch_size if patch_size is None else patch_size
        augmentation = cls.of(POLICIES.find(policy), size, masked)
        mirrors = mirroring(plan.laterality, laterality, augmentation.mirror_axes, len(size))
        values = plan.labels.foreground_values if configuration.previous_stage is not None else ()
        return replace(augmentation, mirroring=mirrors, previous_values=values)

    @property
    def mirror_axes(self) -> tuple[int, ...]:
        """Spatial axes that are mirrored; mirroring at prediction may use the same."""
        return self.mirroring.axes

    @property
    def initial_patch_size(self) -> tuple[int, ...]:
        """Size of the region around a window that a changed patch may reach into."""
        return initial_patch_size(self.patch_size, self.policy.spatial)

    def with_mirroring(self, mirroring: Mirroring) -> Augmentation:
        """The same changes with these mirrors; turns mind the left-right axis."""
        return replace(self, mirroring=mirroring)

    def draw(self, generator: np.random.Generator, num_samples: int, num_channels: int) -> BatchParameters:
        """Everything random about a batch, before an image is touched.

        Args:
            generator: The only source of chance.
            num_samples: Patches of the batch.
            num_channels: Of each.
        """
        shape = BatchShape(num_samples, num_channels, self.patch_size, is_slice_wise(self.patch_size))
        return BatchParameters(
            spatial=draw_spatial(self.policy.spatial, self.mirroring, generator, shape),
            intensity=draw_intensity(self.policy.intensity, generator, shape),
            side_pairs=self.mirroring.pairs,
            masked_channels=self.masked_channels,
            previous=draw_previous(self.policy.previous, self.previous_values, generator, num_samples)
            if self.previous_values
            else None,
        )
