"""The numbers behind the planning rules, each with where it comes from.

Sources are files of nnU-Net v2 (Isensee et al., Nature Methods 2021), version 2.8.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DimensionConstants:
    """What differs between 2D and 3D networks.

    Attributes:
        initial_patch_edge: The first patch to try covers as many voxels as a square or cube of this edge.
        reference_feature_map_size: Elements of all feature maps of one patch which, at the reference batch size, were
            found to fill the reference memory; the sum that `budget.feature_map_size` counts.
        reference_batch_size: The batch size of that measurement.
        max_features: Channels never exceed this; more gained nothing and cost parameters.
    """

    initial_patch_edge: int
    reference_feature_map_size: float
    reference_batch_size: int
    max_features: int


@dataclass(frozen=True)
class PlannerConstants:
    """Constants of nnU-Net's `ExperimentPlanner`.

    From `experiment_planning/experiment_planners/default_experiment_planner.py`, where nothing else is said.

    Attributes:
        anisotropy_threshold: An axis more than this many times coarser than the others, and with as many times fewer
            voxels, makes a dataset anisotropic (`ANISO_THRESHOLD` in `configuration.py`).
        anisotropic_percentile: Percentile of the coarse axis' spacings that becomes its target; the median would
            throw away slices of the finer half of the cases.
        anisotropic_margin_mm: Added where that percentile falls below the other axes, so that the axis stays coarsest.
        pooling_spacing_ratio: Axes are pooled together, and convolved with kernel 3, while their spacings are within
            this factor (`network_topology.py`).
        min_bottleneck_edge: No axis is pooled below this many voxels; twice as many are needed to pool, three times
            where only one axis is left to pool.
        base_features: Channels of the finest stage; they double from stage to stage.
        num_convs_per_stage: Convolutions of each stage, encoder and decoder.
        reference_memory_gib: Device memory that the reference sizes were measured on.
        budget_batch_size: A patch must fit into memory at this batch size.
        min_batch_size: No batch is smaller; instance norm and the Dice loss were tuned at two and more.
        max_batch_share: A batch covers at most this share of the dataset's voxels, lest small datasets be overfitted.
        masked_norm_threshold: Where the crop to the body keeps a smaller share of the voxels, z-scores are taken
            inside the body only.
    """

    anisotropy_threshold: float = 3.0
    anisotropic_percentile: float = 10.0
    anisotropic_margin_mm: float = 1e-5
    pooling_spacing_ratio: float = 2.0
    min_bottleneck_edge: int = 4
    base_features: int = 32
    num_convs_per_stage: int = 2
    reference_memory_gib: float = 8.0
    budget_batch_size: int = 2
    min_batch_size: int = 2
    max_batch_share: float = 0.05
    masked_norm_threshold: float = 0.75
    two_d: DimensionConstants = field(
        default_factory=lambda: DimensionConstants(
            initial_patch_edge=2048, reference_feature_map_size=85e6, reference_batch_size=12, max_features=512
        )
    )
    three_d: DimensionConstants = field(
        default_factory=lambda: DimensionConstants(
            initial_patch_edge=256, reference_feature_map_size=560e6, reference_batch_size=2, max_features=320
        )
    )

    def of(self, num_spatial_dims: int) -> DimensionConstants:
        """The constants for networks of that many spatial axes."""
        return self.two_d if num_spatial_dims == 2 else self.three_d


NNUNET = PlannerConstants()
