"""The numbers behind the planning rules, each with where it comes from.

Sources are files of nnU-Net v2 (Isensee et al., Nature Methods 2021), version 2.8.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from autounet.network_plan import NetworkPlan, OptionValue, Padding
from autounet.networks.description import PlannedOption

OptionsFor = Callable[[NetworkPlan, Sequence[int]], tuple[PlannedOption, ...]]


@dataclass(frozen=True)
class DimensionConstants:
    """What differs between 2D and 3D networks.

    Attributes:
        initial_patch_edge: The first patch to try covers as many voxels as a square or cube of this edge.
        reference_feature_map_size: Elements of all feature maps of one patch which, at the reference batch size, were
            found to fill the reference memory; the sum that `budget.feature_map_size` counts.
        reference_batch_size: The batch size of that measurement.
        max_features: Channels never exceed this; more gained nothing and cost parameters.
        least_patch_edge: A patch of fewer voxels than a square or cube of this edge sees too little; a narrower network
            is better than that. Not of nnU-Net.
    """

    initial_patch_edge: int
    reference_feature_map_size: float
    reference_batch_size: int
    max_features: int
    least_patch_edge: int


@dataclass(frozen=True)
class PlannerConstants:
    """Constants of nnU-Net's planners; the defaults are those of its `ExperimentPlanner`.

    From `experiment_planning/experiment_planners/default_experiment_planner.py`, where nothing else is said.

    Attributes:
        network: Name in `autounet.networks.NETWORKS` of the network that is planned for.
        dims: Numbers of spatial axes that it is made for.
        depths_encoder: Convolutions, or residual blocks, of the encoder's stages; the last number repeats.
        depths_decoder: The same of the decoder's stages, the finest first.
        kernel_edge: Of convolutions, along axes that are not flat.
        padding: Whether convolutions keep the size.
        stem_stride: How much coarser the second stage is.
        stem_doubles: Whether the second stage has twice the channels of the first too.
        width_multiple: Channels are a multiple of it.
        batch_size: Patches a step, where the network's paper tells; `None` for as many as fit.
        unread: Fields of its plan that the network does not read.
        options: What the user wants otherwise than the network's own.
        options_for: The network's rule for options that follow from the patch; `None` where it has none.
        anisotropy_threshold: An axis more than this many times coarser than the others, and with as many times fewer
            voxels, makes a dataset anisotropic (`ANISO_THRESHOLD` in `configuration.py`).
        anisotropic_percentile: Percentile of the coarse axis' spacings that becomes its target; the median would
            throw away slices of the finer half of the cases.
        anisotropic_margin_mm: Added where that percentile falls below the other axes, so that the axis stays coarsest.
        pooling_spacing_ratio: Axes are pooled together, and convolved with kernel 3, while their spacings are within
            this factor (`network_topology.py`).
        min_bottleneck_edge: No axis is pooled below this many voxels; twice as many are needed to pool, three times
            where only one axis is left to pool.
        max_stages: No network has more resolutions; `None` for as many as the patch allows.
        base_features: Channels of the finest stage; they double from stage to stage.
        least_features: No network is made narrower than this by rule. Not of nnU-Net.
        reference_memory_gib: Device memory that the reference sizes were measured on, and the default to plan for.
        patch_at_reference_batch: A patch must fit into memory at the reference batch size, not at the smallest.
        min_batch_size: No batch is smaller; instance norm and the Dice loss were tuned at two and more.
        max_batch_share: A batch covers at most this share of the dataset's voxels, lest small datasets be overfitted.
        masked_norm_threshold: Where the crop to the body keeps a smaller share of the voxels, z-scores are taken
            inside the body only.
        lowres_coverage: A low-resolution configuration is sought where the full-resolution patch covers a smaller
            share of the median case, and until its own covers as much.
        lowres_spacing_step: The spacing grows by this factor at a time.
        lowres_min_reduction: It is dropped where it has not this many times fewer voxels.
    """

    network: str = "plain"
    dims: tuple[int, ...] = (2, 3)
    depths_encoder: tuple[int, ...] = (2,)
    depths_decoder: tuple[int, ...] = (2,)
    kernel_edge: int = 3
    padding: Padding = "same"
    stem_stride: int = 2
    stem_doubles: bool = True
    width_multiple: int = 1
    batch_size: int | None = None
    unread: frozenset[str] = frozenset()
    options: tuple[tuple[str, OptionValue], ...] = ()
    options_for: OptionsFor | None = None
    anisotropy_threshold: float = 3.0
    anisotropic_percentile: float = 10.0
    anisotropic_margin_mm: float = 1e-5
    pooling_spacing_ratio: float = 2.0
    min_bottleneck_edge: int = 4
    max_stages: int | None = None
    base_features: int = 32
    least_features: int = 8
    reference_memory_gib: float = 8.0
    patch_at_reference_batch: bool = False
    min_batch_size: int = 2
    max_batch_share: float = 0.05
    masked_norm_threshold: float = 0.75
    lowres_coverage: float = 0.25
    lowres_spacing_step: float = 1.03
    lowres_min_reduction: float = 2.0
    two_d: DimensionConstants = DimensionConstants(
        initial_patch_edge=2048,
        reference_feature_map_size=85e6,
        reference_batch_size=12,
        max_features=512,
        least_patch_edge=128,
    )
    three_d: DimensionConstants = DimensionConstants(
        initial_patch_edge=256,
        reference_feature_map_size=560e6,
        reference_batch_size=2,
        max_features=320,
        least_patch_edge=32,
    )

    def of(self, num_spatial_dims: int) -> DimensionConstants:
        """The constants for networks of that many spatial axes."""
        return self.two_d if num_spatial_dims == 2 else self.three_d

    def features(self, stage: int) -> int:
        """Channels of a stage, where nothing limits them."""
        return int(self.base_features * 2 ** (stage if self.stem_doubles else max(stage - 1, 0)))

    @property
    def half_width(self) -> int:
        """`half_width` of the channels at full resolution."""
        return half_width(self.base_features, self.width_multiple)

    def narrower(self) -> Iterator[PlannerConstants]:
        """The same for narrower and narrower networks, as far as rules go; nothing where it is narrow already."""
        half = self.half_width
        if self.least_features <= half < self.base_features:
            narrow = replace(self, base_features=half)
            yield narrow
            yield from narrow.narrower()

    def depths(self, num_stages: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Convolutions or blocks of each encoder and of each decoder stage."""
        return _repeated(self.depths_encoder, num_stages), _repeated(self.depths_decoder, num_stages - 1)


def half_width(width: int, multiple: int) -> int:
    """Half of the channels, or the next multiple above that the network takes.

    Args:
        width: Channels.
        multiple: What they are a multiple of: groups or heads, say.
    """
    return math.ceil(width / (2 * multiple)) * multiple


def _repeated(depths: tuple[int, ...], count: int) -> tuple[int, ...]:
    """So many of them, the last again and again."""
    return tuple(depths[min(stage, len(depths) - 1)] for stage in range(count))


NNUNET = PlannerConstants()


def _residual(
    memory_gib: float, feature_map_size_3d: float, feature_map_size_2d: float, max_batch_share: float = 1.0
) -> PlannerConstants:
    """A residual preset: `residual_unets/residual_encoder_unet_planners.py`."""
    return PlannerConstants(
        network="resenc",
        depths_encoder=(1, 3, 4, 6),
        depths_decoder=(1,),
        reference_memory_gib=memory_gib,
        patch_at_reference_batch=True,
        max_batch_share=max_batch_share,
        two_d=replace(NNUNET.two_d, reference_feature_map_size=feature_map_size_2d),
        three_d=replace(NNUNET.three_d, reference_feature_map_size=feature_map_size_3d),
    )


RESENC = _residual(8.0, 680e6, 135e6, max_batch_share=0.05)
RESENC_M = _residual(8.0, 680e6, 135e6)
RESENC_L = _residual(24.0, 2100e6, 380e6)
RESENC_XL = _residual(40.0, 3600e6, 560e6)
