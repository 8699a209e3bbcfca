"""Shapes of what the operators of networks and losses return, on the meta device, without PyTorch's own derivation.

PyTorch derives them too, but in Python, at 0.1 to 5 ms an operator, and the first one imports its compiler, which takes
over a second. The rules here take microseconds. They cover what the networks and losses of this project are made of;
any other operator, and tensors whose axes are permuted in memory, are left to PyTorch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten
Rule = TypeVar("Rule", bound=Callable[..., Any])

_RULES: dict[OpOverload, Callable[..., Any]] = {}
# They return their first argument, as all pointwise operators do whose name ends with an underscore.
_IN_PLACE = {aten.normal_.default, aten.uniform_.default, aten.zero_.default, aten.copy_.default, aten.fill_.Scalar}
# Their results are contiguous whatever their arguments are.
_OF_ANY_ORDER = {aten.mm.default, aten.bmm.default, aten.addmm.default, aten.baddbmm.default}


def infer(operator: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of an operator as uninitialised meta tensors, or `NotImplemented` where no rule covers it."""
    tensors = [value for value in args if isinstance(value, Tensor)]
    if operator not in _OF_ANY_ORDER and not all(map(_is_in_order, tensors)):
        return NotImplemented
    rule = _RULES.get(operator)
    if rule is not None:
        return rule(*args, **kwargs)
    if _works_in_place(operator):
        return args[0]
    if not tensors or not _is_pointwise(operator):
        return NotImplemented
    dtype = _dtype_of_result(operator, args, kwargs)
    return NotImplemented if dtype is None else _empty(_broadcast([value.shape for value in tensors]), dtype)


@functools.cache
def _is_pointwise(operator: OpOverload) -> bool:
    return torch.Tag.pointwise in operator.tags and len(operator._schema.returns) == 1


@functools.cache
def _works_in_place(operator: OpOverload) -> bool:
    return operator in _IN_PLACE or (_is_pointwise(operator) and operator._schema.name.endswith("_"))


def _is_in_order(tensor: Tensor) -> bool:
    """Whether the axes lie in memory as in the shape, so that results are contiguous; repeated axes do not count."""
    if tensor.is_contiguous():
        return True
    steps = [step for step, size in zip(tensor.stride(), tensor.shape, strict=True) if step and size > 1]
    return steps == sorted(steps, reverse=True)


def _broadcast(shapes: Sequence[Sequence[int]]) -> Sequence[int]:
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    reverse = zip_longest(*(shape[::-1] for shape in shapes), fillvalue=1)
    return [next((size for size in sizes if size != 1), 1) for sizes in reverse][::-1]


_dtypes: dict[tuple[Any, ...], torch.dtype] = {}


def _dtype_of_result(operator: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.dtype | None:
    """PyTorch's own type promotion, by trying the operator on single numbers; `None` for arguments of other kinds."""
    values = (*args, *kwargs.values())
    if not all(value is None or isinstance(value, (Tensor, int, float, str)) for value in values):
        return None
    # A number's value does not matter, but whether a tensor has axes does.
    key = (operator, *kwargs, *(_kind(value) for value in values))
    if key not in _dtypes:
        single = [
            torch.ones((1,) * min(value.ndim, 1), dtype=value.dtype, device="cpu")
            if isinstance(value, Tensor)
            else value
            for value in args
        ]
        _dtypes[key] = operator(*single, **kwargs).dtype
    return _dtypes[key]


def _single(value: Any) -> Any:
    return (
        torch.ones((1,) * min(value.ndim, 1), dtype=value.dtype, device="cpu") if isinstance(value, Tensor) else value
    )


def _kind(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.dtype, value.ndim > 0
    return value if isinstance(value, str) else type(value)


def _empty(shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _like(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    return torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device="meta")


def _rule(*operators: OpOverload) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operators, rule))
        return rule

    return register


@_rule(aten.convolution.default)
def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    sizes = []
    # A single number stands for all axes.
    for axis, (size, edge) in enumerate(zip(x.shape[2:], weight.shape[2:], strict=True)):
        step, margin, spread = (values[axis % len(values)] for values in (stride, padding, dilation))
        if transposed:
            extra = output_padding[axis % len(output_padding)]
            sizes.append((size - 1) * step - 2 * margin + spread * (edge - 1) + extra + 1)
        else:
            sizes.append((size + 2 * margin - spread * (edge - 1) - 1) // step + 1)
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    return _empty((x.shape[0], channels, *sizes), x.dtype)


@_rule(aten.convolution_backward.default)
def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias_sizes: Sequence[int] | None, *rest: Any
) -> tuple[Tensor | None, ...]:
    for_x, for_weight, for_bias = rest[-1]
    bias = _empty(bias_sizes or (), weight.dtype) if for_bias else None
    return _like(x) if for_x else None, _like(weight) if for_weight else None, bias


@_rule(aten.native_group_norm.default)
def _group_norm(
    x: Tensor, weight: Any, bias: Any, batch: int, channels: int, size: int, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _like(x), _empty((batch, groups), x.dtype), _empty((batch, groups), x.dtype)


@_rule(aten.native_group_norm_backward.default)
def _group_norm_backward(
    gradient: Tensor,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    batch: int,
    channels: int,
    *rest: Any,
) -> tuple[Tensor | None, ...]:
    for_x, for_weight, for_bias = rest[-1]
    dtype = x.dtype if weight is None else weight.dtype
    scale, shift = (_empty((channels,), dtype) if wanted else None for wanted in (for_weight, for_bias))
    return _like(x) if for_x else None, scale, shift


@_rule(aten.native_layer_norm.default)
def _layer_norm(x: Tensor, normalized: Sequence[int], *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    statistics = (*x.shape[: x.ndim - len(normalized)], *(1 for _ in normalized))
    return _like(x), _empty(statistics, x.dtype), _empty(statistics, x.dtype)


@_rule(aten.native_layer_norm_backward.default)
def _layer_norm_backward(
    gradient: Tensor, x: Tensor, normalized: Sequence[int], *rest: Any
) -> tuple[Tensor | None, ...]:
    for_x, for_weight, for_bias = rest[-1]
    scale, shift = (_empty(normalized, x.dtype) if wanted else None for wanted in (for_weight, for_bias))
    return _like(x) if for_x else None, scale, shift


@_rule(aten.avg_pool2d.default, aten.avg_pool3d.default)
def _average_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    *rest: Any,
) -> Any:
    if ceil_mode or len(kernel) != x.ndim - 2:
        return NotImplemented
    sizes = []
    for axis, (size, edge) in enumerate(zip(x.shape[2:], kernel, strict=True)):
        step, margin = (values[axis % len(values)] for values in (stride or kernel, padding))
        sizes.append((size + 2 * margin - edge) // step + 1)
    return _empty((*x.shape[:2], *sizes), x.dtype)


@_rule(
    aten.avg_pool2d_backward.default,
    aten.avg_pool3d_backward.default,
    aten.nll_loss_backward.default,
    aten.nll_loss2d_backward.default,
)
def _like_second(gradient: Tensor, x: Tensor, *rest: Any, **options: Any) -> Tensor:
    return _like(x)


@_rule(aten.leaky_relu_backward.default)
def _like_first(gradient: Tensor, *rest: Any) -> Tensor:
    return _like(gradient)


@_rule(aten._softmax.default, aten._log_softmax.default)
def _softmax(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return _like(x, torch.float32 if half_to_float else x.dtype)


@_rule(aten._softmax_backward_data.default, aten._log_softmax_backward_data.default)
def _softmax_backward(gradient: Tensor, result: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    return _like(gradient, dtype)


@_rule(aten.nll_loss_forward.default, aten.nll_loss2d_forward.default)
def _nll_loss(x: Tensor, target: Tensor, weight: Any, reduction: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    return _empty(() if reduction else target.shape, x.dtype), _empty((), x.dtype)


@_rule(aten.binary_cross_entropy_with_logits.default)
def _binary_cross_entropy(
    x: Tensor, target: Tensor, weight: Any = None, pos_weight: Any = None, reduction: int = 1
) -> Tensor:
    return _empty(() if reduction else x.shape, x.dtype)


@_rule(aten.mm.default, aten.bmm.default)
def _matrix_product(left: Tensor, right: Tensor) -> Tensor:
    return _empty((*left.shape[:-1], right.shape[-1]), left.dtype)


@_rule(aten.addmm.default, aten.baddbmm.default)
def _sum_with_matrix_product(addend: Tensor, left: Tensor, right: Tensor, **options: Any) -> Tensor:
    return _matrix_product(left, right)


@_rule(aten.sum.default, aten.sum.dim_IntList, aten.mean.default, aten.mean.dim)
def _reduction(
    x: Tensor, dims: Sequence[int] | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    axes = {dim % x.ndim for dim in dims or range(x.ndim)}
    kept = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keepdim or axis not in axes]
    counts = not (x.dtype.is_floating_point or x.dtype.is_complex)
    return _empty(kept, dtype or (torch.int64 if counts else x.dtype))


@_rule(aten.isin.Tensor_Tensor)
def _isin(x: Tensor, values: Tensor, **options: Any) -> Tensor:
    return _like(x, torch.bool)


@_rule(aten.cat.default)
def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    first = tensors[0]
    if any(part.dtype != first.dtype or part.ndim != first.ndim or not _is_in_order(part) for part in tensors):
        return NotImplemented
    shape = list(first.shape)
    shape[dim] = sum(part.shape[dim] for part in tensors)
    return _empty(shape, first.dtype)


@_rule(aten.stack.default)
def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    first = tensors[0]
    if any(part.dtype != first.dtype for part in tensors):
        return NotImplemented
    shape = list(first.shape)
    shape.insert(dim % (first.ndim + 1), len(tensors))
    return _empty(shape, first.dtype)


@_rule(aten.slice_backward.default, aten.select_backward.default)
def _slice_backward(gradient: Tensor, sizes: Sequence[int], *rest: Any) -> Tensor:
    return _empty(sizes, gradient.dtype)


@_rule(aten.zeros.default, aten.ones.default)
def _filled(size: Sequence[int], *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    return _empty(size, dtype)


@_rule(aten.zeros_like.default, aten.ones_like.default)
def _filled_like(x: Tensor, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    return _like(x, dtype)


@_rule(aten.scalar_tensor.default)
def _scalar(value: complex, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    return _empty((), dtype)


@_rule(aten.arange.default)
def _arange(end: float, *, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    return _empty((math.ceil(end),), dtype or (torch.int64 if isinstance(end, int) else None))
