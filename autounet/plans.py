"""The plan: everything that is decided before training, each value with its reason.

Written by a planner (`autounet.planners`), read by preprocessing, training and prediction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from autounet.errors import RequestError
from autounet.geometry import Shape3, Triple
from autounet.labels import LabelSchema
from autounet.records import SCHEMA_VERSION, Record, nearest

NormalizationName = Literal["ct", "zscore", "nonorm", "rescale_to_0_1", "rgb_to_0_1"]


class IntensityStatistics(Record):
    """Foreground intensities of one channel over the whole dataset, every case weighing the same."""

    mean: float
    std: float
    minimum: float
    maximum: float
    percentile_00_5: float
    median: float
    percentile_99_5: float


class ChannelPlan(Record):
    """How one input channel is normalised.

    Attributes:
        name: Its name in `dataset.json`.
        normalization: The scheme.
        use_mask: Statistics and change are restricted to the body; outside stays zero.
        statistics: Of the dataset; the CT scheme uses them.
    """

    name: str
    normalization: NormalizationName
    use_mask: bool
    statistics: IntensityStatistics


class NetworkPlan(Record):
    """The topology of a U-shaped network; one entry a stage, the finest first.

    Attributes:
        name: Its name in `autounet.networks.NETWORKS`.
        features: Channels of each stage.
        kernel_sizes: Kernel of each stage, as many numbers as the network has spatial axes.
        strides: Stride on entering each stage; all ones for the first.
        num_convs_encoder: Convolutions of each encoder stage.
        num_convs_decoder: Convolutions of each decoder stage, one entry fewer.
    """

    name: str
    features: tuple[int, ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    num_convs_encoder: tuple[int, ...]
    num_convs_decoder: tuple[int, ...]

    @model_validator(mode="after")
    def _stages_agree(self) -> NetworkPlan:
        lengths = {len(self.features), len(self.kernel_sizes), len(self.strides), len(self.num_convs_encoder)}
        if lengths != {self.num_stages} or len(self.num_convs_decoder) != self.num_stages - 1:
            raise ValueError(
                f"the network has {self.num_stages} stages by its features, but other entries count differently"
            )
        return self

    @property
    def num_stages(self) -> int:
        """Resolutions, the bottleneck included."""
        return len(self.features)

    @property
    def num_spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.strides[0])

    @property
    def divisor(self) -> tuple[int, ...]:
        """Per axis, what a patch size must be divisible by: the product of the strides."""
        total = [1] * self.num_spatial_dims
        for stride in self.strides:
            total = [product * factor for product, factor in zip(total, stride, strict=True)]
        return tuple(total)


class Configuration(Record):
    """One way to train on the dataset: `2d` or `3d_fullres`.

    Attributes:
        spacing_mm: Voxel size after resampling, in the plan's axis order; two numbers for 2D, where slices keep
            the spacing they came with.
        median_shape: Median shape of the cases at that spacing.
        patch_size: What the network sees at once.
        batch_size: Patches a step.
        batch_dice: Whether the Dice loss pools over the batch.
        network: The network's topology.
    """

    name: str
    spacing_mm: tuple[float, ...]
    median_shape: tuple[float, ...]
    patch_size: tuple[int, ...]
    batch_size: int
    batch_dice: bool
    network: NetworkPlan

    @model_validator(mode="after")
    def _patch_fits_network(self) -> Configuration:
        if len(self.patch_size) != self.network.num_spatial_dims:
            raise ValueError(
                f"patch_size {self.patch_size} has {len(self.patch_size)} axes, "
                f"but the network has {self.network.num_spatial_dims}"
            )
        for size, divisor in zip(self.patch_size, self.network.divisor, strict=True):
            if size < divisor or size % divisor:
                raise ValueError(
                    f"patch_size {self.patch_size} must be divisible by {self.network.divisor}, the network's strides"
                )
        return self

    @property
    def num_spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.patch_size)

    def target_spacing_mm(self, case_spacing_mm: Triple) -> Triple:
        """Spacing `(z, y, x)` to resample a case to, both in the plan's axis order."""
        if self.num_spatial_dims == 3:
            z, y, x = self.spacing_mm
            return (z, y, x)
        y, x = self.spacing_mm
        return (case_spacing_mm[0], y, x)


class Decision(Record):
    """One derived value and one sentence that says why."""

    name: str
    value: str
    reason: str


class Plan(Record):
    """All that was decided for a dataset.

    Attributes:
        transpose_forward: Axis order of prepared arrays: axis `i` is the raw array's axis `transpose_forward[i]`.
        median_spacing_mm: Target spacing at full resolution, in the plan's axis order.
        median_shape: Median shape of the cropped cases at that spacing.
        decisions: Every derived value with its reason, in the order in which they were made.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    dataset_name: str
    planner: str
    file_ending: str
    labels: LabelSchema
    channels: tuple[ChannelPlan, ...]
    transpose_forward: Shape3
    median_spacing_mm: Triple
    median_shape: tuple[float, float, float]
    configurations: dict[str, Configuration]
    decisions: tuple[Decision, ...]

    @property
    def transpose_backward(self) -> Shape3:
        """The inverse of `transpose_forward`."""
        inverse = [0, 0, 0]
        for new, old in enumerate(self.transpose_forward):
            inverse[old] = new
        return (inverse[0], inverse[1], inverse[2])

    def configuration(self, name: str) -> Configuration:
        """The configuration of that name.

        Raises:
            RequestError: The plan has none of that name.
        """
        if name in self.configurations:
            return self.configurations[name]
        known = list(self.configurations)
        dataset_is_2d = all(entry.num_spatial_dims == 2 for entry in self.configurations.values())
        why = " The dataset holds 2D images." if name.startswith("3d") and dataset_is_2d else ""
        raise RequestError(
            f"{self.dataset_name} has no configuration '{name}'.{why}{nearest(name, known)} "
            f"Planned: {', '.join(known)}."
        )


def plan_path(folder: Path, planner: str) -> Path:
    """Where the plan of a planner lies inside a dataset's preprocessed folder."""
    return folder / f"plan_{planner}.json"
