"""Which device to compute on, and what memory it has."""

from __future__ import annotations

import torch

from autounet.errors import RequestError
from autounet.parallel import available_memory_bytes

_CPU_SHARE = 0.5


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` takes a GPU if there is one.

    Raises:
        RequestError: There is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"device '{name}' cannot be used here: {reason}. Try --device auto or cpu.") from None
    return device


def device_memory_gib(device: torch.device) -> float:
    """Memory that training may take, rounded down to half a GiB so that it is the same tomorrow.

    What is free on a GPU; of a CPU's memory a share, as the data and the rest of the machine need some too.
    """
    if device.type == "cuda":
        size = torch.cuda.mem_get_info(device)[0]
    elif device.type == "mps":
        size = torch.mps.recommended_max_memory()
    else:
        size = round(_CPU_SHARE * available_memory_bytes())
    return max(0.5, size // 2**29 / 2)


def describe_device(device: torch.device) -> str:
    """What was measured, for a record."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type
