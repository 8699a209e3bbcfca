"""Every network for the same wall time on the same fold: 2D on the EM stack, 3D on Hippocampus; run from the checkout.

    python -m tests.benchmarks.networks RAW_FOLDER WORKSPACE [--max-time 15m] [--networks unet2015 plain] [--dims 2]
                                        [--results docs/benchmarks/networks/MACHINE.json]

RAW_FOLDER holds Dataset201_ISBI2012EM and Dataset004_Hippocampus. Everything goes through the command line:
`plan_and_preprocess`, then `train DATASET CONFIGURATION 0 --network NAME --max-time TIME` with the network's own
recipe (or `--recipe`), which ends with masks of the fold's validation cases, and `evaluate`, with `--regions-between
membrane` on the EM stack. A slow network has no time for masks of all of them: then `predict` makes these after it, so
that all are scored on the same cases. What was measured is kept in `--results`: rows that are there are not
run again, and a network that fails is told of and tried again the next time. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from autounet.data.dataset import RawDataset
from autounet.diffusion.options import SEGMENTATION
from autounet.evaluation.summary import Summary
from autounet.launch.requirements import split_of
from autounet.models.folder import ModelRecord, build_network, fold_folder, record_path
from autounet.networks import NETWORKS
from autounet.networks.choice import NetworkChoice
from autounet.plans import file_label
from autounet.records import Record
from autounet.training.log import TrainingLog
from autounet.workspace import Workspace, dataset_number
from tests.benchmarks.verbs import Used, run_verb

GIB = 2**30


@dataclass(frozen=True)
class Task:
    """What networks are compared on.

    Attributes:
        dataset: Name of the raw dataset.
        configuration: Of its plan.
        dims: Spatial axes.
        boundary: The class whose regions are scored; none where it is `None`.
    """

    dataset: str
    configuration: str
    dims: int
    boundary: str | None = None

    @property
    def number(self) -> str:
        """As users write it."""
        return str(dataset_number(self.dataset))


TASKS = (
    Task("Dataset201_ISBI2012EM", "2d", 2, boundary="membrane"),
    Task("Dataset004_Hippocampus", "3d_fullres", 3),
)


class Row(Record):
    """One network on one dataset.

    Attributes:
        dataset: Its name.
        network: As asked for, options included.
        max_time: Likewise.
        recipe: Likewise; empty for the network's own.
        computed_in: The number format, which depends on the machine.
        num_parameters: Of the network that the planner sized to the time.
        patch_size: Of its input.
        batch_size: Patches a step.
        num_steps: Steps that it was trained for.
        step_seconds: Wall time of training over steps, validation on the way included.
        train_seconds: Of the whole command, the scoring of the validation cases included.
        planned_gib: Memory of a training step by the plan.
        peak_gib: Memory of the whole process, measured.
        num_cases: Validation cases.
        dice: Mean foreground Dice on them.
        v_rand: Mean of the regions between membranes; `None` where there are none.
        v_info: Likewise.
    """

    dataset: str
    network: str
    max_time: str
    recipe: str
    computed_in: str | None
    num_parameters: int
    patch_size: tuple[int, ...]
    batch_size: int
    num_steps: int
    step_seconds: float
    train_seconds: float
    planned_gib: float
    peak_gib: float
    num_cases: int
    dice: float | None
    v_rand: float | None = None
    v_info: float | None = None

    @property
    def what(self) -> tuple[str, str, str, str]:
        """What tells it from other rows."""
        return self.dataset, self.network, self.max_time, self.recipe


class Rows(Record):
    """All that was measured."""

    rows: tuple[Row, ...] = ()


def fitting(task: Task, asked: Sequence[str]) -> Iterator[str]:
    """The networks that segment in as many dimensions, of those asked for or of the registry."""
    for choice in map(NetworkChoice.of, asked or sorted(NETWORKS)):
        kind = NETWORKS.find(choice.name)
        if task.dims in kind.design.dims and kind.objectives[0] == SEGMENTATION:
            yield str(choice)


def measured(task: Task, network: str, max_time: str, recipe: str, workspace: Workspace) -> Row:
    """Train a network, score it, and read what the run wrote.

    Raises:
        CalledProcessError: It cannot be trained.
    """
    options = ["--network", network, "--max-time", max_time, "--overwrite"]
    if recipe:
        options += ["--recipe", recipe]
    used = run_verb("train", task.number, task.configuration, "0", *options)
    model = workspace.results / task.dataset / f"default__{file_label(network)}__{task.configuration}"
    fold, scores = fold_folder(model, 0), model / "scores_all.json"
    folders = (str(workspace.raw / task.dataset / "labelsTr"), str(masks_of_all(task, model, workspace)))
    regions = ("--regions-between", task.boundary) if task.boundary else ()
    # References of training cases have no mask.
    run_verb("evaluate", *folders, "--metrics", "overlap", *regions, "--missing", "ignore", "-o", str(scores))
    return row_of(fold, Summary.read(scores), used, (task.dataset, network, max_time, recipe))


def masks_of_all(task: Task, model: Path, workspace: Workspace) -> Path:
    """Masks of every validation case: those of the run, or predicted now, where it had no time for all."""
    raw = RawDataset.load(workspace.raw / task.dataset)
    names = split_of(workspace.preprocessed / task.dataset, raw, 0).validation
    of_run = fold_folder(model, 0) / "validation"
    if Summary.read(of_run / "scores.json").num_cases == len(names):
        return of_run
    images, masks = model / "images", model / "masks"
    for folder in (images, masks):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for case in raw.cases:
        for path in case.images if case.name in names else ():
            (images / path.name).symlink_to(path)
    run_verb("predict", "-i", str(images), "-o", str(masks), "--model", str(model), "-f", "0")
    return masks


def row_of(fold: Path, summary: Summary, used: Used, what: tuple[str, str, str, str]) -> Row:
    """The figures of a trained fold."""
    record = ModelRecord.read(record_path(fold))
    log = TrainingLog(fold / "training_log.csv")
    log.truncate(sys.maxsize)
    last = log.rows[-1]
    with torch.device("meta"):
        num_parameters = sum(weights.numel() for weights in build_network(record).parameters())
    regions = [summary.foreground.get(name) for name in ("v_rand", "v_info")]
    memory = record.configuration.memory
    return Row(
        **dict(zip(("dataset", "network", "max_time", "recipe"), what, strict=True)),
        computed_in=record.computed_in,
        num_parameters=num_parameters,
        patch_size=record.configuration.patch_size,
        batch_size=record.configuration.batch_size,
        num_steps=last.step,
        step_seconds=last.elapsed_seconds / last.step,
        train_seconds=used.seconds,
        planned_gib=memory.total_bytes / GIB if memory else 0.0,
        peak_gib=used.peak_gib,
        num_cases=summary.num_cases,
        dice=summary.foreground_dice,
        v_rand=regions[0].mean if regions[0] else None,
        v_info=regions[1].mean if regions[1] else None,
    )


def table(task: Task, rows: Sequence[Row]) -> Iterator[str]:
    """The rows of a dataset as lines of Markdown, the best Dice first."""
    yield f"\n{task.dataset}, fold 0, {rows[0].num_cases} validation cases, {task.configuration}:\n"
    scores = ("Dice", "V Rand", "V info") if task.boundary else ("Dice",)
    memory = ("memory planned", "memory measured")
    figures = ("format", "parameters", "patch", "batch", "steps", "s a step", *memory, "wall")
    yield f"| {' | '.join(('network', *scores, *figures))} |"
    yield f"|{'---|' * (1 + len(scores) + len(figures))}"
    for row in sorted(rows, key=lambda row: -(row.dice or 0)):
        told = (row.dice, row.v_rand, row.v_info)[: len(scores)]
        cells = (
            f"`{row.network}`{f' ({row.recipe})' if row.recipe else ''}, {row.max_time}",
            *("-" if score is None else f"{score:.4f}" for score in told),
            row.computed_in or "-",
            f"{row.num_parameters:,}",
            "x".join(map(str, row.patch_size)),
            str(row.batch_size),
            f"{row.num_steps:,}",
            f"{row.step_seconds:.3f}",
            f"{row.planned_gib:.2f} GiB",
            f"{row.peak_gib:.2f} GiB",
            f"{row.train_seconds:.0f} s",
        )
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--max-time", default="15m")
    parser.add_argument("--networks", nargs="+", default=[], metavar="NAME", help="all that fit by default")
    parser.add_argument("--dims", nargs="+", type=int, default=[2, 3], choices=[2, 3])
    parser.add_argument("--recipe", default="", help="paper, clock or nnunet; each network's own by default")
    parser.add_argument("--results", type=Path, help="where figures are kept; WORKSPACE/networks.json by default")
    options = parser.parse_args()
    folder: Path = options.workspace.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "raw").exists():
        (folder / "raw").symlink_to(options.raw.absolute())
    os.environ["AUTOUNET_WORKSPACE"] = str(folder)
    workspace, file = Workspace.at(folder), options.results or folder / "networks.json"
    rows = Rows.read(file).rows if file.exists() else ()
    for task in (task for task in TASKS if task.dims in options.dims):
        run_verb("plan_and_preprocess", "-d", task.number, "-c", task.configuration)
        for network in fitting(task, options.networks):
            if (task.dataset, network, options.max_time, options.recipe) in [row.what for row in rows]:
                continue
            print(f"{task.dataset}: {network}", file=sys.stderr, flush=True)
            try:
                rows = (*rows, measured(task, network, options.max_time, options.recipe, workspace))
            except subprocess.CalledProcessError as error:
                print(f"{network} left out: {error}", file=sys.stderr, flush=True)
                continue
            Rows(rows=rows).write(file)
    for task in TASKS:
        if of_task := [row for row in rows if row.dataset == task.dataset]:
            print("\n".join(table(task, of_task)), flush=True)


if __name__ == "__main__":
    main()
