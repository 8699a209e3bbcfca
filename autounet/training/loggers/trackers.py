"""TensorBoard, Weights & Biases and MLflow. Each is imported when it is asked for."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autounet.errors import RequestError
from autounet.records import write_text_atomically
from autounet.training.log import LoggedRun, LogRow

_PROJECT = "autounet"


class _Tracker:
    """What the three share: a package that may be missing, and the names of the classes.

    Attributes:
        module: What to import.
        name: In `LOGGERS`, and of the extra that installs it.
    """

    module: str
    name: str
    mends_itself = False

    def __init__(self) -> None:
        try:
            self._package: Any = importlib.import_module(self.module)
        except ImportError as error:
            raise RequestError(
                f"the logger '{self.name}' cannot be imported ({error}). "
                f"Install it: pip install 'autounet[{self.name}]'"
            ) from None
        self._class_names: tuple[str, ...] = ()


class TensorBoard(_Tracker):
    """Event files in `tensorboard/` of the fold; a resumed run hides the events after its checkpoint."""

    module = "torch.utils.tensorboard"
    name = "tensorboard"

    def start(self, run: LoggedRun, rows: Sequence[LogRow]) -> None:
        """Open the event file."""
        self._class_names = run.class_names
        purge = rows[-1].step + 1 if rows else None
        self._writer = self._package.SummaryWriter(str(run.folder / "tensorboard"), purge_step=purge)
        self._writer.add_text("config", f"    {run.config.model_dump_json(indent=2)}".replace("\n", "\n    "))

    def row(self, row: LogRow) -> None:
        """Add the figures and write them out, for whoever watches."""
        for name, value in row.figures(self._class_names):
            self._writer.add_scalar(name, value, row.step)
        self._writer.flush()

    def picture(self, path: Path) -> None:
        """TensorBoard draws its own curves."""

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class WeightsAndBiases(_Tracker):
    """A run of the project `autounet`; account and mode are told by its own variables (`WANDB_MODE=offline`)."""

    module = "wandb"
    name = "wandb"

    def start(self, run: LoggedRun, rows: Sequence[LogRow]) -> None:
        """Begin a run, or go on with the one that the fold's folder names."""
        self._class_names = run.class_names
        stored = _StoredId(run.folder / "wandb_run.txt")
        self._run = self._package.init(
            project=_PROJECT,
            name=run.title,
            dir=str(run.folder),
            config=run.config.model_dump(mode="json"),
            id=stored.read() if rows else None,
            resume="allow",
        )
        stored.write(self._run.id)

    def row(self, row: LogRow) -> None:
        """Send the figures."""
        self._run.log(dict(row.figures(self._class_names)), step=row.step)

    def picture(self, path: Path) -> None:
        """Send the picture."""
        self._run.log({path.stem: self._package.Image(str(path))})

    def close(self) -> None:
        """Wait until all is sent."""
        self._run.finish()


class MLflow(_Tracker):
    """A run of the experiment `autounet`; the server is told by its own variable (`MLFLOW_TRACKING_URI`)."""

    module = "mlflow"
    name = "mlflow"

    def start(self, run: LoggedRun, rows: Sequence[LogRow]) -> None:
        """Begin a run, or go on with the one that the fold's folder names."""
        self._class_names = run.class_names
        self._client = self._package.MlflowClient()
        stored = _StoredId(run.folder / "mlflow_run.txt")
        self._id = stored.read() if rows else None
        if self._id is not None:
            return
        experiment = self._client.get_experiment_by_name(_PROJECT)
        number = experiment.experiment_id if experiment else self._client.create_experiment(_PROJECT)
        self._id = self._client.create_run(number, run_name=run.title).info.run_id
        for key, value in run.config.model_dump(mode="json").items():
            self._client.log_param(self._id, key, value)
        stored.write(self._id)

    def row(self, row: LogRow) -> None:
        """Send the figures."""
        for name, value in row.figures(self._class_names):
            # MLflow refuses a name with other characters.
            self._client.log_metric(self._id, re.sub(r"[^\w\-. /]", "_", name), value, step=row.step)

    def picture(self, path: Path) -> None:
        """Send the picture."""
        self._client.log_artifact(self._id, str(path))

    def close(self) -> None:
        """Mark the run as ended."""
        self._client.set_terminated(self._id)


class _StoredId:
    """The name that a server gave to a run, kept beside the model so that a resumed run goes on there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str | None:
        return self._path.read_text(encoding="utf-8").strip() if self._path.exists() else None

    def write(self, run_id: str) -> None:
        write_text_atomically(self._path, f"{run_id}\n")
