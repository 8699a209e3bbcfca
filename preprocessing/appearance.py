"""What a raw image looks like on the grid that a plan takes it for."""

from __future__ import annotations

from autounet.data.appearance import Appearance, appearance_of
from autounet.data.io import Image
from autounet.geometry import permuted
from autounet.plans import GridRule
from autounet.preprocessing.orient import turn_to_ras


def appearance_for(image: Image, grid: GridRule) -> Appearance:
    """Measure an image; what the plan makes equal in all images does not tell them apart.

    Args:
        image: As a reader gives it.
        grid: What the plan does to grids.
    """
    found = appearance_of(image)
    if grid == "unit_spacing":
        return found.model_copy(update={"spacing_mm": None})
    if grid == "ras":
        order = turn_to_ras(image.geometry).order
        spacing = found.spacing_mm and permuted(found.spacing_mm, order)
        turned = {"spacing_mm": spacing, "shape": permuted(found.shape, order), "axes": "RAS"}
        return found.model_copy(update=turned)
    return found
