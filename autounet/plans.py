"""The plan: everything that is decided before training, each value with its reason.

Written by a planner (`autounet.planners`), read by preprocessing, training and prediction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from autounet.errors import RequestError
from autounet.geometry import Shape3, Triple
from autounet.labels import LabelSchema
from autounet.laterality import Laterality, swapped_channels
from autounet.network_plan import NetworkPlan
from autounet.progress import duration
from autounet.records import SCHEMA_VERSION, Record, nearest
from autounet.resample import IMAGE_INTERPOLATION, LOGITS_INTERPOLATION, Interpolation

NormalizationName = Literal["ct", "zscore", "nonorm", "rescale_to_0_1", "rgb_to_0_1"]
# What is done to the grid of a raw image first: nothing, its voxel size is taken for 1 mm whatever the file says, or
# its axes are turned until they run to the right, to the front and up (RAS).
GridRule = Literal["as_stored", "unit_spacing", "ras"]


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


# Later, the time of day alone does not tell when.
_HALF_A_DAY = 12 * 3600.0


class MemoryEstimate(Record):
    """What a training step takes at its peak.

    Attributes:
        weights_bytes: Parameters.
        optimizer_bytes: States of the optimiser, and averaged weights.
        activations_bytes: What the forward pass keeps for the backward pass; image, labels and loss included.
        working_bytes: What there is besides at the peak: gradients, and copies that convolutions work on.
        reserve_bytes: Left free, because no estimate is exact and memory is handed out in blocks.
    """

    weights_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    working_bytes: int
    reserve_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        used = self.weights_bytes + self.optimizer_bytes + self.activations_bytes + self.working_bytes
        return used + self.reserve_bytes


class TimePlan(Record):
    """How long training takes.

    Attributes:
        step_seconds: Of one training step of full size, measured on the device.
        num_steps: Of the run, those with smaller patches included.
        total_seconds: Of the run.
        max_seconds: The time given; `None` where training counts epochs.
        device: What was measured.
        expected_end: When the run would end if it began when this was measured.
        changes: What was made smaller than memory asks for, in sentences.
    """

    step_seconds: float = Field(gt=0)
    num_steps: int = Field(ge=0)
    total_seconds: float = Field(gt=0)
    max_seconds: float | None = None
    device: str
    expected_end: datetime
    changes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line: how fast, how many steps, when it ends."""
        end = self.expected_end.strftime("%H:%M" if self.total_seconds < _HALF_A_DAY else "%a %d %b %H:%M")
        return (
            f"{self.step_seconds:.2g} s a step on {self.device}; about {self.num_steps} steps in "
            f"{duration(self.total_seconds)}, so it would end at {end} if it began now"
        )


class ResamplingPlan(Record):
    """How cases come onto the network's grid, and logits back.

    Attributes:
        image: Of images; `None` where they keep their own grid, and logits need no way back.
        logits: Of logits.
    """

    image: Interpolation | None = IMAGE_INTERPOLATION
    logits: Interpolation = LOGITS_INTERPOLATION


class Configuration(Record):
    """One way to train on the dataset: `2d`, `3d_fullres`, `3d_lowres` or `3d_cascade_fullres`.

    Attributes:
        inherits_from: Configuration whose values hold where a plan file says nothing else.
        previous_stage: Configuration whose predictions are further inputs: one channel a label value.
        spacing_mm: Voxel size after resampling, in the plan's axis order; two numbers for 2D, where slices keep
            the spacing they came with.
        median_shape: Median shape of the cases at that spacing.
        patch_size: What the network sees at once.
        batch_size: Patches a step.
        batch_dice: Whether the Dice loss pools over the batch.
        network: The network's topology.
        resampling: How cases come onto the grid of that spacing; nnU-Net's usual way by default.
        fixed_sizes: The user gave sizes; no time makes them smaller.
        memory: What training takes; `None` where it was not measured.
        time: How long training takes; `None` where it was not asked for.
    """

    name: str
    inherits_from: str | None = None
    previous_stage: str | None = None
    spacing_mm: tuple[float, ...]
    median_shape: tuple[float, ...]
    patch_size: tuple[int, ...]
    batch_size: int = Field(ge=1)
    batch_dice: bool
    network: NetworkPlan
    resampling: ResamplingPlan = ResamplingPlan()
    fixed_sizes: bool = False
    memory: MemoryEstimate | None = None
    time: TimePlan | None = None

    @model_validator(mode="after")
    def _patch_fits_network(self) -> Configuration:
        if len(self.patch_size) != self.network.num_spatial_dims:
            raise ValueError(
                f"patch_size {self.patch_size} has {len(self.patch_size)} axes, "
                f"but the network has {self.network.num_spatial_dims}"
            )
        for name, values in (("spacing_mm", self.spacing_mm), ("median_shape", self.median_shape)):
            if len(values) != self.num_spatial_dims or not all(0 < value < float("inf") for value in values):
                raise ValueError(f"{name} must be {self.num_spatial_dims} positive numbers, got {values}")
        if not self.network.takes(self.patch_size):
            raise ValueError(
                f"patch_size {self.patch_size} must be {self.network.size_rule}, by the network's strides. "
                f"The next that is: {self.network.legal_size(self.patch_size)}"
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
    """One derived value and one sentence that says why.

    Attributes:
        alternatives: Values that could have been, each with what it would cost.
    """

    name: str
    value: str
    reason: str
    alternatives: tuple[str, ...] = ()


class Plan(Record):
    """All that was decided for a dataset.

    A file may leave out of a configuration what it `inherits_from` another one, as nnU-Net's plans do.

    Attributes:
        memory_gib: Memory that was planned for.
        transpose_forward: Axis order of prepared arrays: axis `i` is the raw array's axis `transpose_forward[i]`.
        median_spacing_mm: Target spacing at full resolution, in the plan's axis order.
        median_shape: Median shape of the cropped cases at that spacing.
        decisions: Every derived value with its reason, in the order in which they were made.
        grid: What is done to the grid of a raw image first.
        laterality: Left and right classes; `None` where there are none.
        partially_annotated: Not every class was annotated in every case, for which the loss takes some memory.
        network: The network asked for, with its options, where it is not the planner's own.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    dataset_name: str
    planner: str
    memory_gib: float = Field(gt=0)
    file_ending: str
    labels: LabelSchema
    channels: tuple[ChannelPlan, ...]
    transpose_forward: Shape3
    median_spacing_mm: Triple
    median_shape: tuple[float, float, float]
    configurations: dict[str, Configuration]
    decisions: tuple[Decision, ...]
    laterality: Laterality | None = None
    partially_annotated: bool = False
    grid: GridRule = "as_stored"
    network: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _resolve_inheritance(cls, values: Any) -> Any:
        """Complete every configuration by what it inherits, before anything is checked."""
        entries = values.get("configurations") if isinstance(values, dict) else None
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            return values
        return {**values, "configurations": {name: _inherited(name, entries, ()) for name in entries}}

    @model_serializer(mode="wrap")
    def _leave_out_inherited(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write of a configuration only what differs from its parent, so that an edit of the parent holds for both."""
        written: dict[str, Any] = handler(self)
        # Left out where it says nothing, as in plans from before there was such a thing.
        if not self.partially_annotated:
            del written["partially_annotated"]
        if self.grid == "as_stored":
            del written["grid"]
        if self.network is None:
            del written["network"]
        entries = written["configurations"]
        usual = {"resampling": ResamplingPlan().model_dump(mode="json")}
        own = dict(entries)
        for name, entry in entries.items():
            parent = entries.get(entry["inherits_from"], usual)
            own[name] = {
                key: value
                for key, value in entry.items()
                if key in ("name", "inherits_from") or key not in parent or value != parent[key]
            }
        written["configurations"] = own
        return written

    @model_validator(mode="after")
    def _configurations_agree(self) -> Plan:
        for name, entry in self.configurations.items():
            if entry.name != name:
                raise ValueError(f"configuration '{name}' calls itself '{entry.name}'")
            if entry.previous_stage is not None and entry.previous_stage not in self.configurations:
                raise ValueError(
                    f"configuration '{name}' follows '{entry.previous_stage}', which the plan does not hold"
                )
        if sorted(self.transpose_forward) != [0, 1, 2]:
            raise ValueError(f"transpose_forward must order the axes 0, 1 and 2, got {self.transpose_forward}")
        if self.laterality is not None:
            swapped_channels(self.labels, self.laterality.pairs)
        return self

    def num_inputs(self, configuration: Configuration) -> int:
        """Input channels of a network: the image's, and one a foreground value of the stage before (nnU-Net)."""
        earlier = self.labels.foreground_values if configuration.previous_stage is not None else ()
        return len(self.channels) + len(earlier)

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


def _inherited(name: str, entries: dict[str, dict[str, Any]], children: Sequence[str]) -> dict[str, Any]:
    """A configuration of a plan file with the values of its parents; its own replace theirs, key by key."""
    entry = entries[name]
    parent = entry.get("inherits_from")
    if parent is None:
        return {"name": name, **entry}
    if parent in (*children, name):
        raise ValueError(f"configurations inherit in a circle: {' from '.join([*children, name, parent])}")
    if parent not in entries:
        raise ValueError(f"configuration '{name}' inherits from '{parent}', which the plan does not hold")
    return {**_inherited(parent, entries, (*children, name)), "name": name, **entry}


def plan_path(folder: Path, planner: str, network: str | None = None) -> Path:
    """Where the plan of a planner lies inside a dataset's preprocessed folder; `network` if that was asked for."""
    own = "" if network is None else f"__{file_label(network)}"
    return folder / f"plan_{planner}{own}.json"


def file_label(network: str) -> str:
    """A network as it was asked for, as part of a file's name: `vnet,variant=paper`, `package.module.Class`."""
    return re.sub(r"[^\w,=.+-]", ".", network)
