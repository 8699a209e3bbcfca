"""nnU-Net v2's own files as it writes them, `plans.json` and the parameters of its networks, typed.

Facts: nnU-Net v2.8.1, `plans_handler.py`, `default_experiment_planner.py`; dynamic-network-architectures 0.4.4. Keys
that prediction does not depend on are passed over; an unknown argument of a network or of resampling is refused, as
nobody knows what it changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from autounet.errors import RequestError
from autounet.records import read_json

_LONGEST_CHAIN = 32
_OLD_ARCHITECTURE_KEYS = ("UNet_class_name", "UNet_base_num_features", "n_conv_per_stage_encoder")


class Foreign(BaseModel):
    """A part of another program's file; keys that are not named here do not matter."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def parse(cls, content: object, source: str) -> Self:
        """Validate parsed JSON; `source` names where it came from.

        Raises:
            RequestError: It is not what nnU-Net writes.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise RequestError(f"{source} is not as nnU-Net writes it: {_details(error)}") from None


class Arguments(Foreign):
    """Arguments of a function or class of nnU-Net's; every one of them matters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _details(error: ValidationError) -> str:
    clauses = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "missing":
            clauses.append(f"'{where}' is missing")
        elif item["type"] == "extra_forbidden":
            clauses.append(f"'{where}' = {item['input']!r:.60} is not known, so nobody can say what it changes")
        else:
            clauses.append(f"'{where}': {item['msg']} (got {item['input']!r:.60})")
    return "; ".join(clauses)


PerStage = int | list[int] | list[list[int]]


class NetworkArguments(Arguments):
    """What nnU-Net's `PlainConvUNet` and `ResidualEncoderUNet` are built by."""

    n_stages: int
    features_per_stage: int | list[int]
    conv_op: str
    kernel_sizes: PerStage
    strides: PerStage
    n_conv_per_stage: int | list[int] | None = None
    n_blocks_per_stage: int | list[int] | None = None
    n_conv_per_stage_decoder: int | list[int]
    conv_bias: bool = False
    norm_op: str | None = None
    norm_op_kwargs: dict[str, Any] | None = None
    dropout_op: str | None = None
    dropout_op_kwargs: dict[str, Any] | None = None
    nonlin: str | None = None
    nonlin_kwargs: dict[str, Any] | None = None
    deep_supervision: bool = False
    nonlin_first: bool = False
    block: str | None = None
    bottleneck_channels: int | list[int] | None = None
    stem_channels: int | None = None


class Architecture(Foreign):
    """A network by its class and its arguments."""

    network_class_name: str
    arch_kwargs: NetworkArguments


class ResamplingArguments(Arguments):
    """Of `resample_data_or_seg_to_shape` and of its PyTorch counterpart; the defaults are the former's."""

    is_seg: bool = False
    order: int = Field(3, ge=0, le=5)
    order_z: int = Field(0, ge=0, le=5)
    force_separate_z: bool | None = None
    separate_z_anisotropy_threshold: float = 3.0
    # Of the PyTorch counterpart alone.
    mode: str = "linear"
    aniso_axis_mode: str = "nearest-exact"
    num_threads: int = 4
    device: str = "cpu"
    memefficient_seg_resampling: bool = False


class NnUNetConfiguration(Foreign):
    """One entry of `configurations`, what it inherits already in it."""

    preprocessor_name: str = "DefaultPreprocessor"
    batch_size: int
    patch_size: list[int]
    median_image_size_in_voxels: list[float] | None = None
    spacing: list[float]
    normalization_schemes: list[str]
    use_mask_for_norm: list[bool]
    resampling_fn_data: str = "resample_data_or_seg_to_shape"
    resampling_fn_seg: str = "resample_data_or_seg_to_shape"
    resampling_fn_probabilities: str = "resample_data_or_seg_to_shape"
    resampling_fn_data_kwargs: ResamplingArguments = ResamplingArguments()
    resampling_fn_seg_kwargs: ResamplingArguments = ResamplingArguments(is_seg=True, order=1)
    resampling_fn_probabilities_kwargs: ResamplingArguments = ResamplingArguments(order=1)
    architecture: Architecture
    batch_dice: bool = False
    previous_stage: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_architecture(cls, content: Any) -> Any:
        """Plans from before there was an `architecture` tell the network by keys of their own."""
        if not isinstance(content, dict) or "architecture" in content:
            return content
        missing = [key for key in _OLD_ARCHITECTURE_KEYS if key not in content]
        if missing:
            raise ValueError(f"'architecture' is missing, and so is {missing[0]}, which old plans have instead")
        return {**content, "architecture": _old_architecture(content)}


class Intensities(Foreign):
    """Of the foreground of one channel of the training data."""

    mean: float
    std: float
    min: float = 0.0
    max: float = 0.0
    median: float = 0.0
    percentile_00_5: float
    percentile_99_5: float


class NnUNetPlans(Foreign):
    """The file `plans.json`; what is left out has the value that nnU-Net gives it."""

    dataset_name: str
    plans_name: str
    original_median_spacing_after_transp: list[float] | None = None
    original_median_shape_after_transp: list[float] | None = None
    image_reader_writer: str = "SimpleITKIO"
    transpose_forward: list[int] = Field(default=[0, 1, 2])
    configurations: dict[str, dict[str, Any]]
    label_manager: str = "LabelManager"
    foreground_intensity_properties_per_channel: dict[str, Intensities] = Field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> NnUNetPlans:
        """Read the file.

        Raises:
            RequestError: It is missing, or not as nnU-Net writes it.
        """
        content = read_json(path)
        if isinstance(content, dict) and "foreground_intensity_properties_by_modality" in content:
            old = content["foreground_intensity_properties_by_modality"]
            content = {"foreground_intensity_properties_per_channel": old, **content}
        return cls.parse(content, str(path))

    def configuration(self, name: str, source: str) -> NnUNetConfiguration:
        """A configuration, completed by what it inherits.

        Raises:
            RequestError: There is none of that name, it inherits in a circle, or is not as nnU-Net writes it.
        """
        return NnUNetConfiguration.parse(self._completed(name, source), f"{source}: configuration '{name}'")

    def _completed(self, name: str, source: str) -> dict[str, Any]:
        entries: list[dict[str, Any]] = []
        wanted: object = name
        while wanted is not None:
            if wanted not in self.configurations or len(entries) > _LONGEST_CHAIN:
                known = ", ".join(self.configurations)
                raise RequestError(
                    f"{source}: configuration '{wanted}' is missing or inherits from itself; there: {known}"
                )
            entries.append(self.configurations[str(wanted)])
            wanted = entries[-1].get("inherits_from")
        whole: dict[str, Any] = {}
        for entry in reversed(entries):
            whole |= entry
        return whole


def _old_architecture(entry: dict[str, Any]) -> dict[str, Any]:
    """The `architecture` of plans from before nnU-Net v2.3, as `ConfigurationManager` completes it."""
    counts = entry["n_conv_per_stage_encoder"]
    dims, base = len(entry["patch_size"]), entry["UNet_base_num_features"]
    most = entry.get("unet_max_num_features", base * 2 ** len(counts))
    is_plain = entry["UNet_class_name"] == "PlainConvUNet"
    return {
        "network_class_name": entry["UNet_class_name"],
        "arch_kwargs": {
            "n_stages": len(counts),
            "features_per_stage": [min(base * 2**stage, most) for stage in range(len(counts))],
            "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
            "kernel_sizes": entry.get("conv_kernel_sizes"),
            "strides": entry.get("pool_op_kernel_sizes"),
            "n_conv_per_stage" if is_plain else "n_blocks_per_stage": counts,
            "n_conv_per_stage_decoder": entry.get("n_conv_per_stage_decoder"),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": "torch.nn.LeakyReLU",
        },
    }
