"""The weights of nnU-Net's networks under our names.

nnU-Net's `state_dict` holds most tensors twice or thrice: each unit lists its modules again (`all_modules`), and the
decoder holds the encoder (`decoder.encoder`). Its decoder counts from the coarsest resolution, ours from the finest.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from autounet.errors import RequestError, some_of
from autounet.network_plan import NetworkPlan
from autounet.networks.base import SegmentationNetwork

# `torch.compile` and `DistributedDataParallel` prefix every name, in either order.
_WRAPPERS = re.compile(r"^(?:_orig_mod\.|module\.)+")
_REPEATED = re.compile(r"^decoder\.encoder\.|\.all_modules\.\d+\.")
_SHOWN = 3

_Rename = Callable[[re.Match[str], int], str]
_UNIT = r"(?P<rest>(?:conv|norm)\.(?:weight|bias))"
_RULES: tuple[tuple[re.Pattern[str], _Rename], ...] = (
    # decoder, alike for both architectures
    (
        re.compile(rf"decoder\.stages\.(\d+)\.convs\.(\d+)\.{_UNIT}"),
        lambda m, top: f"decoder.{top - int(m[1])}.{m[2]}.{m['rest']}",
    ),
    (re.compile(r"decoder\.transpconvs\.(\d+)\.(weight|bias)"), lambda m, top: f"up.{top - int(m[1])}.{m[2]}"),
    (re.compile(r"decoder\.seg_layers\.(\d+)\.(weight|bias)"), lambda m, top: f"heads.{top - int(m[1])}.{m[2]}"),
    # plain encoder
    (
        re.compile(rf"encoder\.stages\.(\d+)\.0\.convs\.(\d+)\.{_UNIT}"),
        lambda m, _: f"encoder.{m[1]}.{m[2]}.{m['rest']}",
    ),
    # residual encoder, whose stem is part of our first stage
    (re.compile(rf"encoder\.stem\.convs\.0\.{_UNIT}"), lambda m, _: f"encoder.0.0.{m['rest']}"),
    (
        re.compile(rf"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv1\.{_UNIT}"),
        lambda m, _: f"{_stage(m[1])}.{m[2]}.first.{m['rest']}",
    ),
    (
        re.compile(rf"encoder\.stages\.(\d+)\.blocks\.(\d+)\.conv2\.{_UNIT}"),
        lambda m, _: f"{_stage(m[1])}.{m[2]}.second.{m['rest']}",
    ),
    (
        re.compile(rf"encoder\.stages\.(\d+)\.blocks\.(\d+)\.skip\.(\d+)\.{_UNIT}"),
        lambda m, _: f"{_stage(m[1])}.{m[2]}.skip.{m[3]}.{m['rest']}",
    ),
)


def converted_weights(
    weights: dict[str, Tensor], plan: NetworkPlan, network: SegmentationNetwork, source: str
) -> dict[str, Tensor]:
    """The weights as our network of that plan names them, float32, each tensor once.

    A convolution without bias gets one of zeros, and a norm without weights those that change nothing.

    Args:
        weights: nnU-Net's `network_weights`.
        plan: Of the network.
        network: Built by the plan; may be on the meta device, only names and shapes are read.
        source: The checkpoint, for error messages.

    Raises:
        RequestError: The weights are those of another network.
    """
    found: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in weights.items():
        plain_name = _WRAPPERS.sub("", name)
        if _REPEATED.search(plain_name):
            continue
        renamed = _renamed(plain_name, plan.num_stages - 2)
        if renamed is None:
            unknown.append(plain_name)
        else:
            found[renamed] = tensor.detach().to("cpu", torch.float32)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name, shape in wanted.items():
        if name not in found and (neutral := _neutral(name, shape)) is not None:
            found[name] = neutral
    unknown += [name for name in found if name not in wanted]
    missing = [name for name in wanted if name not in found]
    differing = [
        f"{name} has shape {tuple(found[name].shape)}, not {shape}"
        for name, shape in wanted.items()
        if name in found and tuple(found[name].shape) != shape
    ]
    problems = [*map("{} is missing".format, missing), *map("{} is not known".format, unknown), *differing]
    if problems:
        raise RequestError(
            f"{source} holds the weights of another network than its plans tell: {some_of(problems, _SHOWN, '; ')}. "
            "A trainer of its own may have built it; predict with nnU-Net itself."
        )
    broken = [name for name, tensor in found.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise RequestError(
            f"{source}: {broken[0]} holds NaN or infinity; the training failed. Take another checkpoint."
        )
    return {name: found[name] for name in wanted}


def _stage(index: str) -> str:
    return "encoder.0.1" if index == "0" else f"encoder.{index}"


def _renamed(name: str, coarsest_level: int) -> str | None:
    for pattern, rename in _RULES:
        match = pattern.fullmatch(name)
        if match:
            return rename(match, coarsest_level)
    return None


def _neutral(name: str, shape: tuple[int, ...]) -> Tensor | None:
    """What stands for a parameter that nnU-Net's network does without."""
    if name.startswith("heads."):
        return None
    if name.endswith(".norm.weight"):
        return torch.ones(shape)
    return torch.zeros(shape) if name.endswith(".bias") else None
