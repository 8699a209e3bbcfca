"""`find_best` with all predictions in place: two configurations, five folds, every case of a dataset.

    python tests/benchmarks/find_best.py DATA/Dataset004_Hippocampus [--folder WORKSPACE] [--cases 220] [--jobs 2]

No network is trained: predictions are the labels, disturbed. Labels are blurred, noise is added, and spurious islands
here and there, so that probabilities and masks are like a network's; `2d` gets more noise than `3d_fullres`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from autounet import pipeline
from autounet.console import ConsoleReporter, finishing_table, standings_table
from autounet.data.dataset import RawDataset
from autounet.data.io import read_label, write_label
from autounet.inference.export import label_of_probabilities
from autounet.inference.probabilities import ProbabilityRecord, probability_sink
from autounet.launch.requirements import all_splits
from autounet.models.folder import ModelRecord, build_network, fold_folder, model_folder, save_weights, seal_fold
from autounet.planners.request import PlanRequest
from autounet.plans import Plan
from autounet.training.config import TrainConfig
from autounet.workspace import Workspace

NOISE = {"2d": 2.2, "3d_fullres": 1.8}


def link_cases(source: Path, folder: Path, num_cases: int) -> None:
    """A raw dataset of some of the source's cases."""
    description = json.loads((source / "dataset.json").read_text())
    names = sorted(path.name for path in (source / "labelsTr").iterdir())[:num_cases]
    ending = description["file_ending"]
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for label in names:
        image = f"{label.removesuffix(ending)}_0000{ending}"
        (folder / "labelsTr" / label).symlink_to(source / "labelsTr" / label)
        (folder / "imagesTr" / image).symlink_to(source / "imagesTr" / image)
    description["numTraining"] = len(names)
    (folder / "dataset.json").write_text(json.dumps(description))


def disturbed(
    label: npt.NDArray[np.integer], plan: Plan, noise: float, generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Probabilities `(K, Z, Y, X)` of a network that is roughly right."""
    classes = np.stack([label == value for value in plan.labels.output_values]).astype(np.float32)
    logits = 9 * np.stack([ndimage.gaussian_filter(mask, 1.0) for mask in classes])
    for logit in logits:
        logit += noise * 4 * ndimage.gaussian_filter(generator.standard_normal(label.shape), 1.5)
    for _ in range(2):
        z, y, x = generator.integers(0, np.array(label.shape) - 3).tolist()
        island = logits[int(generator.integers(1, len(logits))), z : z + 3, y : y + 3, x : x + 3]
        island += 7
    exps = np.exp(logits - logits.max(axis=0))
    return np.asarray(exps / exps.sum(axis=0), dtype=np.float32)


def fabricate(workspace: Workspace, dataset: str) -> None:
    """Untrained models of both configurations, and what they might have said of their validation cases."""
    request = PlanRequest(features=8)
    plan = pipeline.plan(workspace, dataset, request=request, device="cpu", jobs=1).plan
    raw = RawDataset.load(workspace.raw / plan.dataset_name)
    cases = {case.name: case for case in raw.cases}
    for name, noise in NOISE.items():
        configuration = plan.configuration(name)
        for fold, split in enumerate(all_splits(workspace.preprocessed / plan.dataset_name, raw)):
            folder = fold_folder(model_folder(workspace, plan, configuration), fold)
            record = ModelRecord(
                plan=plan,
                configuration=configuration,
                fold=fold,
                mirror_axes=tuple(range(configuration.num_spatial_dims)),
                config=TrainConfig(),
                finished=True,
                training_digest=split.training_digest,
            )
            save_weights(folder, build_network(record).state_dict())
            seal_fold(folder, record)
            for index, case in enumerate(split.validation):
                reference = cases[case].label
                assert reference is not None
                write_prediction(folder / "validation", case, reference, plan, noise, seed=(fold, index, len(name)))


def write_prediction(folder: Path, case: str, reference: Path, plan: Plan, noise: float, seed: tuple[int, ...]) -> None:
    """A mask and its probabilities."""
    label, geometry = read_label(reference)
    probabilities = disturbed(label, plan, noise, np.random.default_rng(seed))
    record = ProbabilityRecord(
        case=case,
        geometry=geometry,
        shape=label.shape,
        labels=plan.labels,
        file_ending=plan.file_ending,
        channel_names=tuple(channel.name for channel in plan.channels),
        scale=65535,
    )
    with probability_sink(folder, record) as sink:
        sink.write(0, np.rint(probabilities * sink.scale).astype(sink.dtype))
    write_label(folder / f"{case}{plan.file_ending}", label_of_probabilities(probabilities, plan.labels), geometry)


def main() -> None:
    """Fabricate a workspace, unless it is there, and time the choice."""
    from rich.console import Console

    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path, help="a raw dataset without regions")
    parser.add_argument("--folder", type=Path, help="keep the workspace there")
    parser.add_argument("--cases", type=int, default=220)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="find_best_"))
    workspace, dataset = Workspace.at(folder), arguments.source.name
    if not (workspace.results / dataset).is_dir():
        link_cases(arguments.source.absolute(), workspace.raw / dataset, arguments.cases)
        fabricate(workspace, dataset)
    reporter = ConsoleReporter(Console())
    start = time.perf_counter()
    found = pipeline.find_best(workspace, dataset, jobs=arguments.jobs, device="cpu", reporter=reporter)
    seconds = time.perf_counter() - start
    reporter.console.print(standings_table(found.best))
    print("\n".join(found.best.choice.reasons))
    reporter.console.print(finishing_table(found.best))
    print(f"{found.best.num_cases} cases, {len(NOISE)} configurations, {arguments.jobs} processes: {seconds:.1f} s")
    if arguments.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
