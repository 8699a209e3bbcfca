"""Plans and networks whose outputs can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from autounet.geometry import Shape3
from autounet.labels import LabelClass, LabelSchema
from autounet.laterality import Laterality, LateralityMode
from autounet.models.folder import ModelRecord
from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork
from autounet.plans import ChannelPlan, Configuration, IntensityStatistics, Plan
from autounet.training.config import TrainConfig

MakeRecord = Callable[..., ModelRecord]
STATISTICS = IntensityStatistics(mean=0, std=1, minimum=-3, maximum=3, percentile_00_5=-2, median=0, percentile_99_5=2)


def labels_of(num_classes: int) -> LabelSchema:
    return LabelSchema(
        classes=tuple(LabelClass(name=f"class {value}", values=(value,)) for value in range(1, num_classes + 1))
    )


def make_record(
    patch: tuple[int, ...] = (8, 8, 8),
    *,
    labels: LabelSchema | None = None,
    spacing_mm: tuple[float, ...] | None = None,
    transpose: Shape3 = (0, 1, 2),
    mirror_axes: tuple[int, ...] = (),
    num_channels: int = 1,
    file_ending: str = ".nii.gz",
    laterality: Laterality | None = None,
    mode: LateralityMode = "swap",
) -> ModelRecord:
    """A plan without normalisation for a network of two stages, trained on fold 0."""
    dims = len(patch)
    configuration = Configuration(
        name=f"{dims}d",
        spacing_mm=spacing_mm or (1.0,) * dims,
        median_shape=tuple(map(float, patch)),
        patch_size=patch,
        batch_size=2,
        batch_dice=False,
        network=NetworkPlan(
            name="plain",
            features=(2, 4),
            kernel_sizes=((3,) * dims,) * 2,
            strides=((1,) * dims, (2,) * dims),
            num_convs_encoder=(1, 1),
            num_convs_decoder=(1,),
        ),
    )
    channel = ChannelPlan(name="x", normalization="nonorm", use_mask=False, statistics=STATISTICS)
    plan = Plan(
        dataset_name="Dataset001_Test",
        planner="nnunet",
        memory_gib=8.0,
        file_ending=file_ending,
        labels=labels or labels_of(1),
        channels=(channel,) * num_channels,
        transpose_forward=transpose,
        median_spacing_mm=(1, 1, 1),
        median_shape=(8, 8, 8),
        configurations={configuration.name: configuration},
        decisions=(),
        laterality=laterality,
    )
    config = TrainConfig(laterality=mode)
    return ModelRecord(plan=plan, configuration=configuration, fold=0, mirror_axes=mirror_axes, config=config)


class PointWise(SegmentationNetwork):
    """A 1x1 convolution: every logit depends on its own voxel alone, so tiles and mirrors must leave no trace."""

    def __init__(self, weight: Tensor, bias: Tensor, dims: int) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.num_spatial_dims, self.divisor, self.halo = dims, (1,) * dims, (0,) * dims
        self.output_strides, self.deep_supervision = ((1,) * dims,), False
        self.calls: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> list[Tensor]:
        self.calls.append(tuple(x.shape))
        bias = self.bias.view(-1, *(1,) * (x.ndim - 2))
        return [torch.einsum("kc,bc...->bk...", self.weight, x) + bias]


class Ramp(PointWise):
    """The first channel plus the place inside the tile along one axis."""

    def __init__(self, dims: int, axis: int) -> None:
        super().__init__(torch.zeros(1, 1), torch.zeros(1), dims)
        self.axis = axis

    def forward(self, x: Tensor) -> list[Tensor]:
        size = x.shape[self.axis + 2]
        shape = [1] * x.ndim
        shape[self.axis + 2] = size
        return [x[:, :1] + torch.arange(size, dtype=x.dtype).view(shape)]


class Sides(PointWise):
    """Background, left and right by the place in the tile along its last axis, and by the image.

    Of a tile mirrored along that axis it gives the mirrored logits, left and right exchanged.
    """

    def __init__(self, dims: int) -> None:
        super().__init__(torch.zeros(3, 1), torch.zeros(3), dims)

    def forward(self, x: Tensor) -> list[Tensor]:
        ramp = torch.linspace(-1, 1, x.shape[-1]).expand_as(x)
        return [torch.cat([x, x - ramp, x + ramp], dim=1)]


@pytest.fixture
def sides() -> Callable[[int], Sides]:
    """`sides(dims)`: one channel in, three logits out."""
    return Sides


@pytest.fixture
def record() -> MakeRecord:
    return make_record


@pytest.fixture
def point_wise() -> Callable[[int], PointWise]:
    """`point_wise(dims)`: two channels in, three logits out."""

    def build(dims: int) -> PointWise:
        generator = torch.Generator().manual_seed(0)
        return PointWise(torch.randn(3, 2, generator=generator), torch.randn(3, generator=generator), dims)

    return build


@pytest.fixture
def threshold() -> Callable[[int], PointWise]:
    """`threshold(dims)`: class 1 where the image exceeds one half."""
    return lambda dims: PointWise(torch.tensor([[0.0], [1.0]]), torch.tensor([0.5, 0.0]), dims)


@pytest.fixture
def ramp() -> Callable[[int, int], PointWise]:
    """`ramp(dims, axis)`: the image plus the place inside the tile."""
    return Ramp
