"""Masks and names of label maps."""

from __future__ import annotations

import torch

from autounet.diffusion.condition import hidden, masks_of, names_of, num_masks
from autounet.labels import LabelClass, LabelSchema

ORGANS = LabelSchema(
    classes=(LabelClass(name="liver", values=(3,)), LabelClass(name="kidney", values=(1,))), ignore_value=9
)
REGIONS = LabelSchema(
    classes=(LabelClass(name="whole", values=(1, 2)), LabelClass(name="core", values=(2,))), region_order=(1, 2)
)
LABEL = torch.tensor([[[0, 3, 1], [9, -1, 3]]], dtype=torch.int16)


def test_masks_are_background_then_classes_in_their_order() -> None:
    masks = masks_of(LABEL, ORGANS)
    assert masks.shape == (1, num_masks(ORGANS), 2, 3)
    assert masks[0, 0].tolist() == [[1, 0, 0], [0, 0, 0]]
    assert masks[0, 1].tolist() == [[0, 1, 0], [0, 0, 1]]
    assert masks[0, 2].tolist() == [[0, 0, 1], [0, 0, 0]]


def test_voxels_to_ignore_and_beyond_the_image_are_in_no_mask() -> None:
    assert masks_of(LABEL, ORGANS).sum(dim=1)[0].tolist() == [[1, 1, 1], [0, 0, 1]]


def test_regions_overlap() -> None:
    masks = masks_of(torch.tensor([[0, 1, 2]]), REGIONS)
    assert masks[0].tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]


def test_names_are_those_of_the_classes_that_are_there() -> None:
    label = torch.tensor([[[0, 1]], [[3, 1]], [[0, 0]]])
    assert names_of(masks_of(label, ORGANS)).tolist() == [[0, 2], [1, 2], [0, 0]]


def test_a_hidden_condition_is_one_that_no_label_map_gives() -> None:
    masks = masks_of(torch.tensor([[[0, 1]], [[0, 0]]]), ORGANS)
    blank = hidden(masks, torch.tensor([False, True]))
    assert torch.equal(blank[0], masks[0])
    assert not blank[1].any()
    assert masks[1].any(), "background alone is a condition"
