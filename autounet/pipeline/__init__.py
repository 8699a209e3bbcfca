"""One function a verb of the command line; each reads what the one before wrote.

plan_and_preprocess -> train -> predict -> evaluate
"""

from autounet.pipeline.checking import check
from autounet.pipeline.choosing import Found, Postprocessed, find_best, postprocess
from autounet.pipeline.evaluation import compare, evaluate
from autounet.pipeline.models import ModelInfo, import_nnunet, model_info, pack, self_test_model, unpack
from autounet.pipeline.networks import networks
from autounet.pipeline.objects import instances
from autounet.pipeline.planning import Planned, existing_plan, import_plan, plan, planned_seconds
from autounet.pipeline.prediction import Predicted, ensemble, predict
from autounet.pipeline.preparing import Preprocessed, plan_and_preprocess, preprocess
from autounet.pipeline.previewing import Previewed, preview
from autounet.pipeline.reviewing import Reviewed, review
from autounet.pipeline.sampling import Sampled, sample
from autounet.pipeline.training import Trained, folds_to_train, network_recipe, train

__all__ = [
    "Found",
    "ModelInfo",
    "Planned",
    "Postprocessed",
    "Predicted",
    "Preprocessed",
    "Previewed",
    "Reviewed",
    "Sampled",
    "Trained",
    "check",
    "compare",
    "ensemble",
    "evaluate",
    "existing_plan",
    "find_best",
    "folds_to_train",
    "import_nnunet",
    "import_plan",
    "instances",
    "model_info",
    "network_recipe",
    "networks",
    "pack",
    "plan",
    "plan_and_preprocess",
    "planned_seconds",
    "postprocess",
    "predict",
    "preprocess",
    "preview",
    "review",
    "sample",
    "self_test_model",
    "train",
    "unpack",
]
