"""Levers of Dice a minute on Dataset004_Hippocampus, each against the recipe by the clock; run from the checkout.

    python -m tests.benchmarks.levers RAW_FOLDER WORKSPACE [--results docs/benchmarks/levers] [--minutes 5 10 20]
                                      [--arms recipe wide ...] [--seeds 0 1 2] [--precision bfloat16]
    python -m tests.benchmarks.levers RAW_FOLDER WORKSPACE [--results docs/benchmarks/levers] --table

RAW_FOLDER holds Dataset004_Hippocampus. Every run is one thread of a process of its own, as many at once as `--jobs`
says, on a virtual clock: a step takes what it took on an idle machine of two cores (Sapphire Rapids, float32), whatever
this machine does meanwhile. So runs may share the cores, be stopped, and be repeated. Fold 0, all 44 validation cases
with mirrors. The Dice of every case is kept in `--results`, and what lies there is not run again; `--table` prints it:
differences from the recipe per case, averaged over the seeds that both have, intervals over cases and
sign-flip permutations.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch

from tests.benchmarks.verbs import run_verb

DATASET = "Dataset004_Hippocampus"
# Seconds a voxel of a network of 16 features, forward, backward and update, and how they grow with the features.
_VOXEL_SECONDS, _WIDTH, _WIDTH_POWER = 2.2e-6, 16, 1.6
# What the final validation takes on the machine of the virtual clock.
_VALIDATION_SECONDS = 35.0


@dataclass(frozen=True)
class Arm:
    """A change to the recipe.

    Attributes:
        told: In the table.
        choices: Fields of `TrainConfig`.
        keeps_width: The network keeps the width that was planned for the memory.
        is_unaveraged: The recipe's own runs, by their weights before averaging.
    """

    told: str
    choices: Mapping[str, Any] = field(default_factory=dict)
    keeps_width: bool = False
    is_unaveraged: bool = False


RECIPE, UNAVERAGED = "recipe", "unaveraged"
ARMS = {
    RECIPE: Arm("the recipe"),
    "wide": Arm("width 32, not sized to the time", keeps_width=True),
    "constant_patch": Arm("patches that do not grow", {"growth": (), "growth_batch": 0.0}),
    "cooldown": Arm("constant rate, linear cool-down of the last 30 %", {"schedule": "constant", "cooldown": 0.3}),
    "adamw": Arm("AdamW, 2e-3, instead of Muon", {"optimizer": "adamw", "learning_rate": 2e-3}),
    UNAVERAGED: Arm("weights not averaged", is_unaveraged=True),
    "float32": Arm("float32, as many steps", {"precision": "float32"}),
}


def voxel_seconds(features: int) -> float:
    """What a voxel takes a network of that width on the virtual clock."""
    return float(_VOXEL_SECONDS * (features / _WIDTH) ** _WIDTH_POWER)


class VirtualClock:
    """Seconds that pass only as steps are made."""

    def __init__(self, features: int) -> None:
        self.now = 0.0
        self._voxel_seconds = voxel_seconds(features)

    def perf_counter(self) -> float:
        """As `time.perf_counter`."""
        return self.now

    def watch(self, network: Any) -> None:
        """From now on, as much time passes as each batch takes that the network is trained on."""

        def tick(_: Any, inputs: tuple[Any, ...]) -> None:
            if torch.is_grad_enabled():
                # Not what the batch was cut as: before augmentation a patch has twice the voxels.
                self.now += self._voxel_seconds * len(inputs[0]) * math.prod(inputs[0].shape[2:])

        network.register_forward_pre_hook(tick)


def step_seconds(configuration: Any) -> float:
    """What a step of a configuration takes on the virtual clock."""
    voxels = configuration.batch_size * math.prod(configuration.patch_size)
    return float(voxel_seconds(configuration.network.features[0]) * voxels)


def scores_path(options: argparse.Namespace, arm: str, seed: int, minutes: float) -> Path:
    """Where the Dice of each case of a run is kept."""
    results: Path = options.results or options.workspace / "levers"
    return results / f"{minutes:g}m" / f"{arm}_{seed}.json"


def train_arm(options: argparse.Namespace, name: str, seed: int, minutes: float) -> None:
    """Train one arm with one seed on the virtual clock, and keep the Dice of every case."""
    from autounet.launch import fold, fold_record, timing
    from autounet.pipeline.training import train
    from autounet.training import trainer
    from autounet.training.config import TrainConfig
    from autounet.workspace import Workspace

    arm = ARMS[name]
    recipe = TrainConfig.for_clock(minutes * 60).model_dump()
    config = TrainConfig.model_validate({**recipe, "seed": seed, "precision": options.precision, **arm.choices})
    results = options.workspace / "levers" / f"{minutes:g}m" / f"run_{name}_{seed}"
    workspace = replace(Workspace.at(options.workspace), results=results)
    sized, make = timing.with_time, trainer.Trainer

    def as_in_the_arm(plan: Any, configuration: Any, *rest: Any, **more: Any) -> Any:
        found = sized(plan, configuration, *rest, **more)
        return found.model_copy(update={"network": configuration.network}) if arm.keeps_width else found

    def on_the_clock(network: Any, objective: Any, stages: Any, *rest: Any, **more: Any) -> Any:
        clock = VirtualClock(network.plan.features[0])
        clock.watch(network)
        patched.enter_context(mock.patch.object(trainer, "time", clock))
        return make(network, objective, stages, *rest, **more)

    with ExitStack() as patched:
        for where, what, instead in (
            (timing, "measure_step", lambda configuration, *_, **__: step_seconds(configuration)),
            (fold_record, "with_time", as_in_the_arm),
            (fold, "Trainer", on_the_clock),
            (fold, "_training_seconds", lambda *_: minutes * 60 - _VALIDATION_SECONDS),
            (make, "_validation_is_due", lambda *_: False),
        ):
            patched.enter_context(mock.patch.object(where, what, instead))
        patched.enter_context(mock.patch("autounet.inference.predictor.Predictor.seconds_per_view", lambda *_: 1e-6))
        trained = train(workspace, DATASET, "3d_fullres", 0, config=config, device="cpu", overwrite=True)
    assert trained.summary is not None
    keep_scores(scores_path(options, name, seed, minutes), trained.summary, trained.fold)
    if name == RECIPE:
        score_unaveraged(options, trained.fold, seed, minutes)


def score_unaveraged(options: argparse.Namespace, folder: Path, seed: int, minutes: float) -> None:
    """Score the recipe's run once more, with the weights of its last step."""
    from autounet.data.dataset import RawDataset
    from autounet.inference.predictor import Predictor
    from autounet.launch.requirements import split_of
    from autounet.launch.validation import validate_fold
    from autounet.models.folder import ModelRecord, build_network, record_path
    from autounet.training.checkpoint import load_tensors, without_prefix
    from autounet.training.precision import choose_precision

    tensors, _ = load_tensors(folder / "checkpoint.safetensors")
    record = ModelRecord.read(record_path(folder))
    network = build_network(record)
    network.load_state_dict(without_prefix("network", tensors))
    cpu = torch.device("cpu")
    precision = choose_precision(record.computed_in or "auto", cpu)
    predictor = Predictor.of(record, (network,), device=cpu, precision=precision)
    raw = RawDataset.load(options.workspace / "raw" / DATASET)
    split = split_of(options.workspace / "preprocessed" / DATASET, raw, 0)
    cases = [case for case in raw.cases if case.name in split.validation]
    summary = validate_fold(predictor, cases, folder / "unaveraged")
    keep_scores(scores_path(options, UNAVERAGED, seed, minutes), summary, folder)


def keep_scores(path: Path, summary: Any, folder: Path) -> None:
    """Write the Dice of every class and case, and what was trained."""
    from autounet.models.folder import ModelRecord, record_path
    from autounet.training.checkpoint import load_tensors

    record = ModelRecord.read(record_path(folder))
    _, metadata = load_tensors(folder / "checkpoint.safetensors")
    dice = {case.case: [round(score.dice, 6) for score in case.classes.values()] for case in summary.cases}
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {
        "dice": dice,
        "mean": summary.foreground_dice,
        "steps": json.loads(metadata["state"])["step"],
        "features": record.configuration.network.features[0],
        "patch": list(record.configuration.patch_size),
        "batch": record.configuration.batch_size,
    }
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def run_all(options: argparse.Namespace) -> None:
    """Run what is missing, seed by seed, so that a table can be made at any time."""
    wanted = [
        (minutes, seed, arm)
        for minutes in options.minutes
        for seed in options.seeds
        for arm in options.arms
        if not ARMS[arm].is_unaveraged and not scores_path(options, arm, seed, minutes).exists()
    ]

    def run(job: tuple[float, int, str]) -> None:
        minutes, seed, arm = job
        command = [sys.executable, "-m", "tests.benchmarks.levers", str(options.raw), str(options.workspace)]
        command += ["--one", arm, "--seeds", str(seed), "--minutes", f"{minutes:g}", "--precision", options.precision]
        command += ["--results", str(options.results)] if options.results else []
        log = options.workspace / "levers" / f"{minutes:g}m_{arm}_{seed}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as file:
            done = subprocess.run(command, stdout=file, stderr=file, env={**os.environ, "OMP_NUM_THREADS": "1"})
        print(
            f"{minutes:g} min, {arm}, seed {seed}: {'done' if done.returncode == 0 else f'failed, {log}'}", flush=True
        )

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run, wanted))


def of_seeds(options: argparse.Namespace, arm: str, minutes: float) -> dict[int, dict[str, Any]]:
    """The finished runs of an arm."""
    paths = {seed: scores_path(options, arm, seed, minutes) for seed in options.seeds}
    return {seed: json.loads(path.read_text(encoding="utf-8")) for seed, path in paths.items() if path.exists()}


def mean_over(runs: Mapping[int, dict[str, Any]], seeds: Sequence[int]) -> npt.NDArray[np.float64]:
    """Dice `(cases, classes)`, averaged over seeds."""
    tables = [[dice for _, dice in sorted(runs[seed]["dice"].items())] for seed in seeds]
    return np.asarray(np.mean(tables, axis=0), dtype=np.float64)


def rows(options: argparse.Namespace, minutes: float) -> Iterator[str]:
    """A row for every arm that has run."""
    from autounet.evaluation.bootstrap import paired_difference

    recipe = of_seeds(options, RECIPE, minutes)
    for name, arm in ARMS.items():
        runs = of_seeds(options, name, minutes)
        if not runs:
            continue
        first = next(iter(runs.values()))
        told = ", ".join(f"{run['mean']:.4f}".removeprefix("0") for run in runs.values())
        size = f"{first['features']}, {'x'.join(map(str, first['patch']))}, {first['batch']}"
        steps = round(np.mean([run["steps"] for run in runs.values()]))
        against = ""
        common = [seed for seed in runs if seed in recipe]
        if name != RECIPE and common:
            found = paired_difference(mean_over(runs, common), mean_over(recipe, common))
            assert found is not None
            against = f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f}) | {found.p_value:.4f}"
        yield f"| {arm.told} | {', '.join(map(str, runs))} | {size} | {steps:,} | {told} | {against or ' | '} |"


def main() -> None:
    """Run, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0, 10.0, 20.0])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, help="where scores are kept; in WORKSPACE by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precision", default="auto", help="of all arms but float32")
    parser.add_argument("--table", action="store_true", help="print what there is")
    parser.add_argument("--one", metavar="ARM", help="run one arm, in this process")
    options = parser.parse_args()
    if options.one:
        train_arm(options, options.one, options.seeds[0], options.minutes[0])
        return
    if not options.table:
        options.workspace.mkdir(parents=True, exist_ok=True)
        if not (options.workspace / "raw").exists():
            (options.workspace / "raw").symlink_to(options.raw.absolute())
        os.environ["AUTOUNET_WORKSPACE"] = str(options.workspace)
        run_verb("plan_and_preprocess", "-d", "4", "-c", "3d_fullres")
        run_all(options)
    for minutes in options.minutes:
        print(
            f"\n{minutes:g} minutes\n\n| arm | seeds | features, patch, batch | steps | Dice | against the recipe | p |"
        )
        print("|---" * 7 + "|", *rows(options, minutes), sep="\n")


if __name__ == "__main__":
    main()
