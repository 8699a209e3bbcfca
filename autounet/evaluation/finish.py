"""What turns probabilities into the label map that is written, where the usual rule is not the best."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from autounet.evaluation.postprocessing import Postprocessing
from autounet.evaluation.thresholds import Thresholds
from autounet.labels import LabelSchema
from autounet.records import Record


class Finish(Record):
    """Thresholds, and what is done to the finished label map; by default neither.

    Attributes:
        thresholds: From which probability on a class is there; `None` for one half.
        postprocessing: Steps on the label map.
    """

    thresholds: Thresholds | None = None
    postprocessing: Postprocessing = Field(default_factory=Postprocessing)

    def offsets(self, labels: LabelSchema) -> npt.NDArray[np.float32] | None:
        """What is added to the logit of each output, `(num_outputs,)`; `None` for nothing."""
        return None if self.thresholds is None else self.thresholds.offsets(labels)

    @property
    def summary(self) -> str:
        """In a few words; empty where nothing is done."""
        values = {} if self.thresholds is None else self.thresholds.values
        said = [f"{name} from a probability of {value:g} on" for name, value in values.items()]
        steps = ", ".join(step.name for step in self.postprocessing.steps)
        return ", ".join([*said, f"largest component of {steps}"] if steps else said)
