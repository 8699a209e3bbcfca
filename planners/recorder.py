"""What a training step holds in memory and multiplies, seen operator by operator on the meta device."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from autounet.planners.shapes import infer

aten = torch.ops.aten

# A prime larger than any size in a network: what its multiples are the bytes of scales with the batch, all else does
# not. The meta device holds shapes only, so such a batch costs nothing.
PRIME_BATCH = 1_000_003
# oneDNN's layout for convolutions keeps channels in blocks as wide as a 512-bit register of float32.
_CHANNEL_BLOCK = 16
_MATRIX_PRODUCTS = {aten.mm.default: 0, aten.bmm.default: 0, aten.addmm.default: 1, aten.baddbmm.default: 1}

Moment = tuple[int, int]
"""Bytes in use at one moment of a step: those whatever the batch, and those of each sample."""


class StepRecorder(TorchDispatchMode):
    """Records the bytes in use after every operator, and the operations of convolutions and matrix products.

    Inside, networks are built and run on the meta device with `PRIME_BATCH` samples a batch. A storage counts from
    the operator that made it until PyTorch frees it, as on a real device. A convolution needs more while it runs: the
    library (oneDNN on a CPU, cuDNN on tensor cores) copies what it works on into a layout of its own. Forward those are
    input and weights, then the result, on its way back; backward input and gradient, then the gradient of the weights.

    Attributes:
        moments: Bytes in use, one entry a moment that differs.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moments: set[Moment] = set()
        self._flops = 0
        self._fixed = 0
        self._per_sample = 0
        self._storages: dict[int, _StorageReference] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch asks whether to shield the mode from its compiler, for which it would import it, in over a second."""
        return False

    @property
    def flops_per_sample(self) -> int:
        """Twice the multiply-adds of convolutions and matrix products so far."""
        return self._flops // PRIME_BATCH

    @property
    def in_use(self) -> Moment:
        """Bytes in use now."""
        return self._fixed, self._per_sample

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = infer(func, args, kwargs)
        if result is NotImplemented:
            result = func(*args, **kwargs)
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self._track(value)
        self.moments.add((self._fixed, self._per_sample))
        if func is aten.convolution.default:
            self._count_convolution(result, *args)
        elif func is aten.convolution_backward.default:
            self._count_convolution_backward(*args)
        elif func in _MATRIX_PRODUCTS:
            self._flops += 2 * result.numel() * args[_MATRIX_PRODUCTS[func]].shape[-1]
        return result

    def _track(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._storages:
            reference = _StorageReference(storage, self._forget)
            self._storages[reference.address] = reference
            self._add(reference.num_bytes)

    def _forget(self, reference: _StorageReference) -> None:
        del self._storages[reference.address]
        self._add(-reference.num_bytes)

    def _add(self, num_bytes: int) -> None:
        if num_bytes % PRIME_BATCH:
            self._fixed += num_bytes
        else:
            self._per_sample += num_bytes // PRIME_BATCH

    def _count_convolution(self, result: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> None:
        transposed = rest[4]
        self._work_with(_blocked_bytes(x) + weight.nbytes)
        self._work_with(_blocked_bytes(result))
        self._flops += 2 * _multiply_adds(x if transposed else result, weight)

    def _count_convolution_backward(self, gradient: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> None:
        transposed, (for_x, for_weight, _) = rest[4], rest[-1]
        self._work_with(_blocked_bytes(x) + _blocked_bytes(gradient))
        self._work_with(weight.nbytes)
        self._flops += 2 * _multiply_adds(x if transposed else gradient, weight) * (for_x + for_weight)

    def _work_with(self, num_bytes: int) -> None:
        """Note the moment at which an operator has its result and so many bytes to work with."""
        per_sample, fixed = divmod(num_bytes, PRIME_BATCH)
        self.moments.add((self._fixed + fixed, self._per_sample + per_sample))


class _StorageReference(weakref.ref[torch.UntypedStorage]):
    """Tells when a storage is freed; lighter than `weakref.finalize`, and there are hundreds."""

    __slots__ = ("address", "num_bytes")
    address: int
    num_bytes: int

    def __new__(cls, storage: torch.UntypedStorage, callback: Callable[[_StorageReference], None]) -> _StorageReference:
        reference = super().__new__(cls, storage, callback)
        reference.address, reference.num_bytes = storage._cdata, storage.nbytes()
        return reference


def _blocked_bytes(tensor: Tensor) -> int:
    """Bytes of `(B, C, *spatial)` in blocks of channels."""
    channels = tensor.shape[1]
    blocks = math.ceil(channels / _CHANNEL_BLOCK)
    return tensor.nbytes // channels * blocks * _CHANNEL_BLOCK


def _multiply_adds(coarse: Tensor, weight: Tensor) -> int:
    """Of a convolution, or of either half of its backward pass.

    Every weight meets every voxel of the coarser side once: of the result, or of a transposed convolution's input.
    """
    return int(coarse.shape[0] * math.prod(coarse.shape[2:]) * weight.numel())


class HalfPrecision(TorchFunctionMode):
    """What `torch.autocast` for CUDA does, on the meta device, where autocast is not to be had.

    The functions that it runs in half precision get their arguments cast, and each parameter's copy is kept for further
    use until the block ends; others get a float32 image, or are told to return one. Lists: PyTorch's
    `ATen/autocast_mode.h`, those entries that networks use.
    Deviation: group norm is left as it is, since the networks' instance norm appears as one on the meta device.
    """

    # fmt: off
    _HALF = frozenset((
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear", "matmul",
        "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm", "einsum", "prelu", "scaled_dot_product_attention",
    ))
    # fmt: on
    _FULL = frozenset(("exp", "log", "pow", "softplus", "layer_norm", "rms_norm"))
    _FULL_RESULT = frozenset(("softmax", "log_softmax", "cumsum", "cumprod", "sum", "prod"))

    def __init__(self, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.dtype = dtype
        self._copies: dict[Tensor, Tensor] = {}

    def __exit__(self, *exception: Any) -> None:
        self._copies.clear()
        super().__exit__(*exception)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in self._HALF:
            return func(*map(self._halve, args), **{key: self._halve(value) for key, value in kwargs.items()})
        is_half = bool(args) and isinstance(args[0], Tensor) and args[0].dtype == self.dtype
        if name in self._FULL and is_half:
            args = (args[0].float(), *args[1:])
        elif name in self._FULL_RESULT and is_half and not any(isinstance(value, torch.dtype) for value in args):
            kwargs["dtype"] = kwargs.get("dtype") or torch.float32
        return func(*args, **kwargs)

    def _halve(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        if not (value.is_leaf and value.requires_grad):
            return value.to(self.dtype)
        if value not in self._copies:
            self._copies[value] = value.to(self.dtype)
        return self._copies[value]
