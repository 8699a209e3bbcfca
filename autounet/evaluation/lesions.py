"""How many lesions of a class were found: its connected components, matched one to one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet.evaluation.objects import overlaps


@dataclass(frozen=True)
class LesionScores:
    """Lesions of one class in one case.

    Attributes:
        found: Lesions of the reference with a partner in the prediction.
        missed: Lesions of the reference without.
        spurious: Lesions of the prediction without a partner in the reference.
    """

    found: int
    missed: int
    spurious: int

    @property
    def f1(self) -> float | None:
        """`2 found / (2 found + missed + spurious)`; `None` where neither map shows a lesion."""
        total = 2 * self.found + self.missed + self.spurious
        return 2 * self.found / total if total else None

    @property
    def precision(self) -> float | None:
        """Share of the predicted lesions that are real; `None` where none was predicted."""
        predicted = self.found + self.spurious
        return self.found / predicted if predicted else None

    @property
    def recall(self) -> float | None:
        """Share of the real lesions that were found; `None` where there are none."""
        real = self.found + self.missed
        return self.found / real if real else None


def lesion_scores(reference: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_], min_iou: float) -> LesionScores:
    """Match the connected components (corners connect) of two masks `(*spatial)`.

    Args:
        reference: The real lesions.
        prediction: The predicted ones.
        min_iou: Intersection over union from which two components are the same lesion.
    """
    corners = np.ones((3,) * reference.ndim)
    pairs = overlaps(ndimage.label(reference, corners)[0], ndimage.label(prediction, corners)[0])
    found = pairs.num_matched(min_iou)
    return LesionScores(found=found, missed=pairs.num_reference - found, spurious=pairs.num_predicted - found)
