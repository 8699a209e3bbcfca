"""Labels, regions and the ignore label, on maps of a few voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autounet.errors import RequestError
from autounet.labels import LabelSchema

PLAIN: dict[str, Any] = {"background": 0, "organ": 1, "tumour": 2}
REGIONS: dict[str, Any] = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}


def schema(labels: dict[str, Any], order: list[int] | None = None) -> LabelSchema:
    return LabelSchema.from_dataset_json(labels, order, "dataset.json")


def test_plain_labels_have_an_output_each_and_one_for_background() -> None:
    labels = schema(PLAIN)
    assert labels.class_names == ("organ", "tumour")
    assert (labels.num_classes, labels.num_outputs, labels.has_regions) == (2, 3, False)
    assert labels.declared_values == (0, 1, 2)
    assert labels.ignore_value is None


def test_regions_have_an_output_each() -> None:
    labels = schema(REGIONS, [1, 2, 3])
    assert (labels.num_classes, labels.num_outputs, labels.has_regions) == (3, 3, True)
    assert labels.declared_values == (0, 1, 2, 3)


def test_outputs_are_in_the_order_of_values_and_regions_in_that_of_the_file() -> None:
    turned = schema({"background": 0, "tumour": 7, "organ": 2, "vessel": 5})
    assert turned.output_values == (0, 2, 5, 7)
    assert turned.class_of_output == (1, 2, 0)
    assert schema(REGIONS, [1, 2, 3]).class_of_output == (0, 1, 2)


def test_the_ignore_label_is_declared_but_no_class() -> None:
    labels = schema({**PLAIN, "ignore": 3})
    assert (labels.num_outputs, labels.ignore_value, labels.declared_values) == (3, 3, (0, 1, 2, 3))
    regions = schema({**REGIONS, "ignore": 4}, [1, 2, 3])
    assert (regions.num_outputs, regions.ignore_value) == (3, 4)


def test_lists_of_one_value_are_plain_labels() -> None:
    labels = schema({"background": 0, "organ": [1], "tumour": 2}, [1, 2])
    assert not labels.has_regions
    assert labels == schema(PLAIN)


@pytest.mark.parametrize(
    ("labels", "order", "message"),
    [
        ({"organ": 1}, None, '"background": 0, got None'),
        ({"background": 1, "organ": 2}, None, '"background": 0, got 1'),
        ({"background": 0, "organ": -1}, None, r"between 0 and 32767, got \[-1, 0\]"),
        ({"background": 0, "organ": 40000}, None, r"between 0 and 32767, got \[0, 40000\]"),
        ({**PLAIN, "ignore": 2}, None, "'ignore' has the value 2, which another label has too"),
        ({**PLAIN, "ignore": [3]}, None, r"'ignore' must be one integer, got \[3\]"),
        ({"background": 0, "organ": 1, "twin": 1}, None, "two labels have the value 1"),
        ({"background": 0, "nothing": 0, "organ": 1}, None, "needs a value above 0"),
        ({"background": 0, "nothing": [], "organ": 1}, None, "needs a value above 0"),
        ({"background": 0, "all": [0, 1]}, [1], "needs a value above 0"),
        (REGIONS, None, "whole is a region, so 'regions_class_order' is required"),
        (REGIONS, [1, 2], "'regions_class_order' has 2 entries for 3 regions"),
        (REGIONS, [1, 2, 7], r"'regions_class_order' holds \[7\], which no region names"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(labels: dict[str, Any], order: list[int] | None, message: str) -> None:
    with pytest.raises(RequestError, match=rf"dataset\.json: .*{message}"):
        schema(labels, order)


def test_a_schema_comes_back_from_json() -> None:
    labels = schema({**REGIONS, "ignore": 4}, [1, 2, 3])
    assert LabelSchema.parse(labels.model_dump(mode="json"), "memory") == labels


def test_masks_show_a_class_or_a_region() -> None:
    label = np.array([[[-1, 0, 1, 2, 3, 4]]])
    labels = schema({**REGIONS, "ignore": 4}, [1, 2, 3])
    masks = [labels.class_mask(label, index).astype(int).tolist() for index in range(3)]
    assert masks == [[[[0, 0, 1, 1, 1, 0]]], [[[0, 0, 0, 1, 1, 0]]], [[[0, 0, 0, 0, 1, 0]]]]
    annotated = labels.annotated_mask(label)
    assert annotated is not None
    assert annotated.tolist() == [[[True, True, True, True, True, False]]]
    assert schema(PLAIN).annotated_mask(label) is None


def test_the_largest_output_wins() -> None:
    logits = np.array([[0.0, -1, 5], [1, -2, 4], [0.5, -3, 6]]).reshape(3, 1, 1, 3)
    result = schema(PLAIN).segmentation(logits)
    assert result.tolist() == [[[1, 0, 2]]]
    assert result.dtype == np.uint8


def test_values_with_gaps_are_written_as_the_dataset_has_them() -> None:
    labels = schema({"background": 0, "organ": 7, "tumour": 3, "ignore": 1})
    assert labels.declared_values == (0, 1, 3, 7)
    assert labels.output_values == (0, 3, 7)
    logits = np.array([[5.0, 0, 0], [0, 5, 0], [0, 0, 5]]).reshape(3, 1, 1, 3)
    assert labels.segmentation(logits).tolist() == [[[0, 3, 7]]]
    assert labels.class_mask(np.array([[[0, 1, 3, 7]]]), 1).tolist() == [[[False, False, True, False]]]


def test_later_regions_overwrite_earlier_ones_where_their_logit_is_positive() -> None:
    labels = schema(REGIONS, [1, 2, 3])
    #                  none    whole   all  only the last, zero is not above one half
    logits = np.array([[-1.0, 2, 1, -1, 0], [-1, -1, 1, -1, 0], [-1, -1, 1, 3, 0]]).reshape(3, 1, 1, 5)
    assert labels.segmentation(logits).tolist() == [[[0, 1, 3, 3, 0]]]
    # The order tells the value that each region writes.
    other = schema({"background": 0, "core": [2, 3], "whole": [1, 2, 3]}, [3, 1])
    assert other.segmentation(np.ones((2, 1, 1, 1))).tolist() == [[[1]]]


@given(st.integers(0, 7))
def test_nested_regions_come_back_from_their_own_masks(value: int) -> None:
    labels = schema(REGIONS, [1, 2, 3])
    label = np.array([[[value % 4]]])
    masks = np.stack([labels.class_mask(label, index) for index in range(3)])
    np.testing.assert_array_equal(labels.segmentation(np.where(masks, 1.0, -1.0)), label)


def test_many_labels_need_wider_integers() -> None:
    values = {"background": 0, **{f"c{value}": value for value in range(1, 300)}}
    assert schema(values).segmentation(np.zeros((300, 1, 1, 1), dtype=np.float16)).dtype == np.uint16


def test_a_second_stage_is_told_of_values_and_not_of_regions() -> None:
    turned = schema({"background": 0, "tumour": 7, "organ": 2})
    assert turned.foreground_values == (2, 7)
    assert turned.foreground_names == ("organ", "tumour")
    label = np.array([[[0, 2, 7, -1]]])
    assert turned.value_masks(label).tolist() == [[[[False, True, False, False]]], [[[False, False, True, False]]]]
    regions = schema({"background": 0, "whole": [1, 2, 4], "core": [2, 4], "ignore": 5}, [1, 2])
    assert regions.foreground_values == (1, 2, 4)
    assert regions.foreground_names == ("label 1", "label 2", "label 4")
