"""What the losses share, by hand."""

from __future__ import annotations

import torch

from autounet.losses.functional.tensors import one_hot


def test_one_hot_gives_zeros_out_of_range() -> None:
    found = one_hot(torch.tensor([[0, 2, -1, 5]]), 3)
    assert found.tolist() == [[[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]]
