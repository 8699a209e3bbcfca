"""Where a training run is logged to besides its table and its picture, by name."""

from typing import TYPE_CHECKING

from autounet.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from autounet.training.loggers.sink import LogSink

LOGGERS: Registry["Callable[[], LogSink]"] = Registry(
    "autounet.loggers",
    "logger",
    {
        "tensorboard": "autounet.training.loggers.trackers:TensorBoard",
        "wandb": "autounet.training.loggers.trackers:WeightsAndBiases",
        "mlflow": "autounet.training.loggers.trackers:MLflow",
    },
)
