"""nnU-Net's checkpoints, read without running what is in them.

They are pickles. `torch.load(weights_only=True)` builds tensors and plain containers alone; beyond these a checkpoint
of nnU-Net's holds NumPy scalars, in the curves of its log, which are allowed too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.dtypes import Float32DType, Float64DType, Int32DType, Int64DType
from pydantic import ConfigDict
from torch import Tensor

from autounet.errors import RequestError
from autounet.models.nnunet.schema import Foreign

CHECKPOINT = "checkpoint_final.pth"
_OLDEST_TORCH = "2.6"  # earlier ones take no names with what is allowed

# NumPy 1 and 2 call the maker of scalars by different names; a file may come from either.
_scalar = np.float32(0).__reduce__()[0]
_ALLOWED: list[Any] = [
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    (np.dtype, "numpy.dtype"),
    Float32DType,
    Float64DType,
    Int32DType,
    Int64DType,
]


# How PyTorch names what it does not build.
_FOREIGN = re.compile(r"GLOBAL `?([\w.]+)")


class InitArguments(Foreign):
    """What the trainer was made with."""

    configuration: str
    fold: int | str = 0


class Checkpoint(Foreign):
    """Of a checkpoint, what prediction needs."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)

    network_weights: dict[str, Tensor]
    init_args: InitArguments
    trainer_name: str = "nnUNetTrainer"
    inference_allowed_mirroring_axes: tuple[int, ...] | None = None
    current_epoch: int | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        RequestError: It is missing or damaged, is none of nnU-Net's, or holds objects that are not data.
    """
    if torch.__version__ < _OLDEST_TORCH:
        raise RequestError(f"importing needs PyTorch {_OLDEST_TORCH} or newer, this is {torch.__version__}. Update it.")
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RequestError(f"{path} does not exist") from None
    except Exception as error:  # damage makes it fail in any way
        raise RequestError(f"{path} {_reason(error)}") from None
    if not isinstance(content, dict) or "network_weights" not in content:
        raise RequestError(f"{path} is no checkpoint of nnU-Net v2: it holds no 'network_weights'.")
    return Checkpoint.parse(content, str(path))


def _reason(error: Exception) -> str:
    named = _FOREIGN.search(str(error))
    if named:
        return (
            f"holds {named[1]}, which is not data; it is not loaded, because it could run anything. Load it with "
            "nnU-Net where you trust it, and save it again with the weights as tensors."
        )
    first_line = (str(error).splitlines() or [type(error).__name__])[0][:120]
    return f"is damaged or no checkpoint ({first_line}). Copy it again."
