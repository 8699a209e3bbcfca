"""Checkpoints without pickle: tensors as safetensors, the rest as JSON, both inside one file written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from autounet.errors import RequestError
from autounet.records import Record, atomic_path


class TrainingState(Record):
    """Where a run stands.

    Attributes:
        step: Steps done.
        elapsed_seconds: Time spent training.
        total_seconds: Time for training, where the run goes by the clock.
        entered: Progress at which a run that had ended was taken up again to be longer; 0 where it never was.
        epoch: Validations done.
        case_dice: The last score of each validation case that was scored on the way (`Validation.case_dice`).
        best_dice: Best mean of these so far.
        validations_since_best: How many came after it.
        loss: Smoothed over the last steps; `None` before the first.
        waited_seconds: Of that time, spent waiting for batches.
        skipped_steps: Steps left out because the loss or its gradient was not finite.
        finished: Whether the run came to its end.
    """

    step: int = 0
    elapsed_seconds: float = 0.0
    total_seconds: float | None = None
    entered: float = 0.0
    epoch: int = 0
    case_dice: dict[str, float] = Field(default_factory=dict)
    best_dice: float | None = None
    validations_since_best: int = 0
    loss: float | None = None
    waited_seconds: float = 0.0
    skipped_steps: int = 0
    finished: bool = False


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of PyTorch's generators, as tensors: dropout draws from them."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Put back what `random_state` took, as far as this device has it."""
    if "cpu" in state:
        torch.set_rng_state(state["cpu"])
    if "cuda" in state and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors with their metadata, whole or not at all."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as partial:
        save_file(content, partial, metadata=metadata)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote.

    Raises:
        RequestError: The file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except FileNotFoundError:
        raise RequestError(f"{path} does not exist") from None
    except (OSError, SafetensorError) as error:
        raise RequestError(f"{path} is damaged ({error}). Delete it, or restore it from a copy.") from None


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors: `INDEX.NAME` for the parameter of that index."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entries in state.items()
        for name, value in entries.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `flatten_optimizer` took."""
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix/`."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `prefixed` put there."""
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
