"""nnU-Net's networks as ours: which of its two architectures, with which numbers."""

from __future__ import annotations

from collections.abc import Sequence

from autounet.errors import RequestError
from autounet.models.nnunet.schema import Architecture, NetworkArguments, PerStage
from autounet.network_plan import NetworkPlan
from autounet.networks.blocks import LEAKY_SLOPE

# By the last part of the dotted class name; packages have moved them around.
_NETWORKS = {"PlainConvUNet": "plain", "ResidualEncoderUNet": "resenc"}
_EPS = 1e-5
_BLOCK = "BasicBlockD"


def network_plan(architecture: Architecture, source: str) -> NetworkPlan:
    """The plan of the same network.

    Args:
        architecture: As nnU-Net has it.
        source: File and configuration, for error messages.

    Raises:
        RequestError: It computes something that none of our networks does.
    """
    arguments = architecture.arch_kwargs
    class_name = architecture.network_class_name.rpartition(".")[2]
    if class_name not in _NETWORKS:
        raise RequestError(
            f"{source}: the network is a {class_name}; only {' and '.join(_NETWORKS)} can be imported. Predict with "
            "nnU-Net itself, or train the dataset anew: autounet train."
        )
    dims = _num_spatial_dims(arguments, source)
    _require_units(arguments, dims, source)
    num_stages = arguments.n_stages
    is_plain = _NETWORKS[class_name] == "plain"
    depth = arguments.n_conv_per_stage if is_plain else arguments.n_blocks_per_stage or arguments.n_conv_per_stage
    if depth is None:
        raise RequestError(f"{source}: {'n_conv_per_stage' if is_plain else 'n_blocks_per_stage'} is missing")
    features = _numbers(arguments.features_per_stage, num_stages)
    return NetworkPlan.parse(
        {
            "name": _NETWORKS[class_name],
            "features": features,
            "kernel_sizes": _sizes(arguments.kernel_sizes, num_stages, dims),
            "strides": _sizes(arguments.strides, num_stages, dims),
            "num_convs_encoder": _numbers(depth, num_stages),
            "num_convs_decoder": _numbers(arguments.n_conv_per_stage_decoder, num_stages - 1),
        },
        f"{source}: the network",
    )


def _num_spatial_dims(arguments: NetworkArguments, source: str) -> int:
    for dims in (2, 3):
        if arguments.conv_op.endswith(f".Conv{dims}d"):
            return dims
    raise RequestError(f"{source}: conv_op is {arguments.conv_op}; 2D and 3D convolutions can be imported")


def _require_units(arguments: NetworkArguments, dims: int, source: str) -> None:
    """Refuse all that our blocks do not compute."""
    norm, nonlin = arguments.norm_op_kwargs or {}, arguments.nonlin_kwargs or {}
    slope = nonlin.get("negative_slope", LEAKY_SLOPE)
    wanted_norm = f"InstanceNorm{dims}d"
    demands: Sequence[tuple[bool, str]] = (
        ((arguments.norm_op or "").endswith(wanted_norm), f"norm_op is {arguments.norm_op}, not {wanted_norm}"),
        (norm.get("eps", _EPS) == _EPS, f"the norm's eps is {norm.get('eps')}, not {_EPS}"),
        (not norm.get("track_running_stats", False), "the norm tracks running statistics"),
        ((arguments.nonlin or "").endswith("LeakyReLU"), f"nonlin is {arguments.nonlin}, not LeakyReLU"),
        (slope == LEAKY_SLOPE, f"the slope of the leaky ReLU is {slope}, not {LEAKY_SLOPE}"),
        (not arguments.nonlin_first, "the non-linearity comes before the norm"),
        ((arguments.block or _BLOCK).endswith(_BLOCK), f"the blocks are {arguments.block}, not {_BLOCK}"),
        (arguments.bottleneck_channels is None, "its blocks have bottlenecks"),
        (
            arguments.stem_channels in (None, _numbers(arguments.features_per_stage, arguments.n_stages)[0]),
            f"the stem has {arguments.stem_channels} channels, not as many as the first stage",
        ),
    )
    failed = [what for holds, what in demands if not holds]
    if failed:
        raise RequestError(
            f"{source}: this network cannot be imported: {'; '.join(failed)}. Predict with nnU-Net itself."
        )


def _numbers(value: int | Sequence[int], count: int) -> list[int]:
    return [value] * count if isinstance(value, int) else list(value)


def _sizes(value: PerStage, num_stages: int, dims: int) -> list[list[int]]:
    """One size an axis of each stage; nnU-Net takes one number for all stages, or one for all axes, too."""
    stages = [value] * num_stages if isinstance(value, int) else value
    return [[entry] * dims if isinstance(entry, int) else list(entry) for entry in stages]
