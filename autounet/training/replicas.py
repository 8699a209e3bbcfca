"""Training on several devices: every process takes a part of each batch, and all end with the same weights.

The loss of a batch is not the mean of its parts' losses (batch Dice pools a class over all samples, cross-entropy
divides by the voxels that count), so the outputs are gathered and every process computes the loss of the whole batch:
any loss is then exactly what one process would find. Gradients are summed (docs/decisions/0009).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from autounet.errors import RequestError

# While one process validates whole cases, the others wait.
_PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class Replicas:
    """This process among those that train together.

    Attributes:
        rank: Its number; 0 writes files and talks.
        count: How many there are.
        device: Where it computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0

    def part(self, batch_size: int) -> slice:
        """The samples of a batch that this process takes; as even as can be."""
        base, extra = divmod(batch_size, self.count)
        first = self.rank * base + min(self.rank, extra)
        return slice(first, first + base + (self.rank < extra))

    def gather(self, outputs: Sequence[Tensor], batch_size: int) -> list[Tensor]:
        """Outputs for the whole batch from those of every part; gradients flow back to this process's part."""
        if self.count == 1:
            return list(outputs)
        return [_Gather.apply(output, self, batch_size) for output in outputs]  # type: ignore[no-untyped-call]

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in one message."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if self.count == 1 or not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, summed in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def agree(self, values: Sequence[float]) -> list[float]:
        """The main process's numbers, in every process."""
        if self.count == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, src=0)
        return [float(value) for value in shared]

    def tell(self, text: str) -> str:
        """The main process's text, in every process."""
        if self.count == 1:
            return text
        content = text.encode()
        (size,) = self.agree([float(len(content))])
        told = torch.tensor(list(content) if self.is_main else [0] * int(size), dtype=torch.uint8, device=self.device)
        dist.broadcast(told, src=0)
        return bytes(told.tolist()).decode()

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by the main process's."""
        if self.count > 1:
            with torch.no_grad():
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)

    def leave(self) -> None:
        """Part from the other processes."""
        if self.count > 1:
            dist.destroy_process_group()


def alone(device: torch.device) -> Replicas:
    """One process for all."""
    return Replicas(rank=0, count=1, device=device)


def join(rank: int, local_rank: int, count: int, device: str) -> Replicas:
    """Meet the processes that `torchrun` started, each on a device of its own.

    Args:
        rank: Number of this process.
        local_rank: Its number on this machine; decides its GPU.
        count: How many there are.
        device: `auto`, `cuda` or `cpu`.

    Raises:
        RequestError: There are more processes than GPUs, or the device cannot be shared out.
    """
    if device not in ("auto", "cuda", "cpu"):
        raise RequestError(f"--device {device} under torchrun: every process takes a device of its own, so give auto")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu and local_rank >= torch.cuda.device_count():
        raise RequestError(
            f"torchrun started process {local_rank} here, but there are {torch.cuda.device_count()} GPUs: "
            f"give --nproc-per-node {torch.cuda.device_count()}, or --device cpu"
        )
    place = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if on_gpu else "gloo", rank=rank, world_size=count, timeout=_PATIENCE)
    return Replicas(rank=rank, count=count, device=place)


class _Gather(torch.autograd.Function):
    """All parts of a batch, joined; backward hands each process the gradient of its own part.

    Every process computes the same loss, so that gradient is whole already and nothing has to be sent back.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor, replicas: Replicas, batch_size: int) -> Tensor:
        ctx.part = replicas.part(batch_size)
        sizes = [Replicas(rank, replicas.count, replicas.device).part(batch_size) for rank in range(replicas.count)]
        largest = max(size.stop - size.start for size in sizes)
        padded = part.new_zeros(largest, *part.shape[1:])
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([whole[: size.stop - size.start] for whole, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.part].contiguous(), None, None
