"""The rules against PyTorch itself: every operator also runs on real tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from autounet.planners.shapes import infer


class _Comparing(TorchDispatchMode):
    """Runs every operator, and holds what the rules say beside it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num_by_rule = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        told = infer(func, args, kwargs)
        result = func(*args, **kwargs)
        if told is not NotImplemented:
            self.num_by_rule += 1
            pairs = zip(*(value if isinstance(value, tuple) else (value,) for value in (told, result)), strict=True)
            for ours, real in pairs:
                # For a gradient that nobody wants, kernels return either nothing or something without meaning.
                if ours is not None:
                    assert (ours.shape, ours.dtype) == (real.shape, real.dtype), func
                    assert ours.untyped_storage().nbytes() == real.untyped_storage().nbytes(), func
        return result


@contextmanager
def compared() -> Iterator[_Comparing]:
    with _Comparing() as mode:
        yield mode


def _image(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.ones(shape, dtype=dtype).requires_grad_(dtype.is_floating_point)


CASES: dict[str, Callable[[], Tensor]] = {
    "convolution": lambda: F.conv2d(_image(2, 4, 9, 8), _image(6, 2, 3, 3), _image(6), (2, 1), (1, 2), (1, 2), 2),
    "convolution 3d": lambda: F.conv3d(_image(2, 3, 5, 6, 7), _image(4, 3, 1, 3, 3), None, 1, (0, 1, 1)),
    "transposed": lambda: F.conv_transpose2d(_image(2, 4, 5, 6), _image(4, 3, 3, 2), _image(3), 2, 1, 1),
    "transposed, grouped": lambda: F.conv_transpose3d(_image(2, 4, 3, 3, 3), _image(4, 3, 2, 2, 2), None, 2, groups=2),
    "group norm": lambda: F.group_norm(_image(2, 4, 5), 2, _image(4), _image(4)),
    "mean pooling": lambda: F.avg_pool3d(_image(2, 4, 7, 6, 5), (2, 2, 1), (2, 1, 1), (1, 0, 0)),
    "mean pooling, stride of the kernel": lambda: F.avg_pool2d(_image(2, 4, 7, 6), (3, 2)),
    "leaky relu": lambda: F.leaky_relu(_image(2, 3) * 1),
    "leaky relu in place": lambda: F.leaky_relu_(_image(2, 3) * 1),
    "broadcast": lambda: _image(4, 1, 3) * _image(5, 1) + _image() / 2,
    "comparison": lambda: torch.where(_image(4, 3) > 1, _image(3), 0.0),
    "integers": lambda: torch.arange(5) / 2 + torch.arange(4.5).sum() * (torch.arange(5) == 2) + _image(5),
    "half and float": lambda: _image(4, dtype=torch.bfloat16) * _image(4) + _image(4, dtype=torch.bfloat16) * 2.5,
    "softmax": lambda: _image(2, 3, 4).softmax(1) + _image(2, 3, 4).log_softmax(1),
    "cross-entropy": lambda: F.cross_entropy(_image(2, 3, 4, 5), torch.zeros(2, 4, 5, dtype=torch.int64)),
    "cross-entropy, every voxel": lambda: F.cross_entropy(
        _image(6, 3), torch.zeros(6, dtype=torch.int64), reduction="none"
    ),
    "binary cross-entropy": lambda: F.binary_cross_entropy_with_logits(_image(2, 3), torch.zeros(2, 3)),
    "sums": lambda: _image(2, 3, 4).sum((0, -1)) + (_image(2, 3, 4) > 0).sum((0, 2), keepdim=True).sum() + 1,
    "means": lambda: _image(2, 3, 4).mean(1, keepdim=True) + _image(2, 3, 4).mean(),
    "matrix products": lambda: (
        (_image(2, 3, 4) @ _image(2, 5, 4).transpose(1, 2)).sum((0, 1))
        + F.linear(_image(2, 4), _image(5, 4), _image(5))
    ),
    "joined": lambda: torch.cat([_image(2, 3, 4), _image(2, 5, 4)], dim=1).sum() + torch.stack([_image(2)] * 3, -1),
    "slices": lambda: _image(4, 6)[1::2, 2:5] * 2,
    "gradient of a mean": lambda: (_image(4, 6).mean(0) * 3).clamp_min(0).exp(),
    "members": lambda: torch.isin(torch.arange(6).view(2, 3), torch.tensor([1, 2])).float() + _image(2, 3),
    "permuted": lambda: (_image(2, 3, 4).transpose(1, 2) + 1) * 2,
    "channels last": lambda: F.conv2d(
        _image(2, 4, 5, 5).contiguous(memory_format=torch.channels_last), _image(3, 4, 3, 3)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_results_have_the_shapes_types_and_sizes_of_the_real_ones(name: str) -> None:
    with compared() as mode:
        CASES[name]().sum().backward()
    assert mode.num_by_rule > 0


def test_the_type_of_a_result_depends_on_whether_a_tensor_has_axes() -> None:
    half = torch.ones(3, dtype=torch.bfloat16)
    with compared():
        assert (half * torch.ones(())).dtype == torch.bfloat16
        assert (half * torch.ones(1)).dtype == torch.float32


def test_an_operator_without_a_rule_is_left_to_pytorch() -> None:
    assert infer(torch.ops.aten.sort.default, (torch.ones(3),), {}) is NotImplemented


def test_tensors_with_permuted_axes_are_left_to_pytorch() -> None:
    assert infer(torch.ops.aten.exp.default, (torch.ones(3, 4).t(),), {}) is NotImplemented
