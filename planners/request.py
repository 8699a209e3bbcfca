"""What a user asks of a planner; everything that is left out is the planner's to decide."""

from __future__ import annotations

from pydantic import Field, model_validator

from autounet.geometry import Triple
from autounet.records import Record


class PlanRequest(Record):
    """Wishes and limits. Axes are in the images' own order `(z, y, x)`.

    Attributes:
        memory_gib: Device memory to plan for; `None` for the planner's default.
        device_memory_gib: What the device here offers to a planner whose default it is.
        half_precision: Networks compute in 16 bits, so that activations take half the bytes.
        network: Name in `autounet.networks.NETWORKS`; `None` for the planner's own.
        spacing_mm: Target spacing at full resolution.
        patch_size: Of three numbers for 3D configurations, or of two for `2d`.
        batch_size: Patches a step.
        features: Channels of the finest stage.
        num_stages: Resolutions at most.
        configurations: Names that patch, batch, features and stages are meant for; empty for all they fit.
    """

    memory_gib: float | None = Field(None, gt=0, allow_inf_nan=False)
    device_memory_gib: float | None = Field(None, gt=0, allow_inf_nan=False)
    half_precision: bool = False
    network: str | None = None
    spacing_mm: Triple | None = None
    patch_size: tuple[int, ...] | None = None
    batch_size: int | None = Field(None, ge=1)
    features: int | None = Field(None, ge=1)
    num_stages: int | None = Field(None, ge=1)
    configurations: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _sizes_are_positive(self) -> PlanRequest:
        if self.spacing_mm is not None and not all(0 < value < float("inf") for value in self.spacing_mm):
            raise ValueError(f"spacing_mm must be three positive numbers (z, y, x), got {self.spacing_mm}")
        if self.patch_size is not None and (len(self.patch_size) not in (2, 3) or min(self.patch_size) < 1):
            raise ValueError(f"patch_size must be two or three positive numbers, got {self.patch_size}")
        return self

    @property
    def has_sizes(self) -> bool:
        """Whether patch, batch, features or stages are asked for."""
        return any(value is not None for value in (self.patch_size, self.batch_size, self.features, self.num_stages))

    def concerns(self, configuration: str, num_spatial_dims: int) -> bool:
        """Whether patch, batch, features and stages are meant for a configuration."""
        if self.patch_size is not None and len(self.patch_size) != num_spatial_dims:
            return False
        return not self.configurations or configuration in self.configurations
