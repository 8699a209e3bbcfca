"""What a flip along the left-right axis does to labels."""

from __future__ import annotations

from autounet.geometry import Array
from autounet.laterality import ValuePairs


def with_sides_swapped(label: Array, pairs: ValuePairs) -> Array:
    """A label map in which the two values of each pair have changed places."""
    swapped = label.copy()
    for left, right in pairs:
        swapped[label == left], swapped[label == right] = right, left
    return swapped
