"""One function a verb of the command line; each reads what the one before wrote.

plan_and_preprocess -> train -> predict -> evaluate
"""

from autounet.pipeline.checking import check
from autounet.pipeline.evaluation import evaluate
from autounet.pipeline.planning import Planned, existing_plan, plan, planned_seconds
from autounet.pipeline.prediction import Predicted, ensemble, predict
from autounet.pipeline.preparing import Preprocessed, plan_and_preprocess, preprocess
from autounet.pipeline.previewing import Previewed, preview
from autounet.pipeline.training import Trained, folds_to_train, train

__all__ = [
    "Planned",
    "Predicted",
    "Preprocessed",
    "Previewed",
    "Trained",
    "check",
    "ensemble",
    "evaluate",
    "existing_plan",
    "folds_to_train",
    "plan",
    "plan_and_preprocess",
    "planned_seconds",
    "predict",
    "preprocess",
    "preview",
    "train",
]
