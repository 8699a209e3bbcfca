"""Asks nnU-Net's own planners for the plans of made-up datasets, and writes their answers to `plans.json`.

Run by hand, with an interpreter that has nnU-Net: `python tests/golden/nnunet_oracle/make.py`. No image is needed: its
planners read `dataset.json`, a fingerprint, and the header of one file to find a reader, all written to a temporary
folder. Networks are built on the meta device, since nnU-Net counts their feature maps from shapes alone.

This file knows nothing of this package, so that it runs where the package is not installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

OUTPUT = Path(__file__).with_name("plans.json")
_PLANNING = "nnunetv2.experiment_planning.experiment_planners"
_RESIDUAL = f"{_PLANNING}.residual_unets.residual_encoder_unet_planners"
# Names here, and where nnU-Net keeps its planner.
PLANNERS = {
    "nnunet": (f"{_PLANNING}.default_experiment_planner", "ExperimentPlanner"),
    "nnunet_resenc": (_RESIDUAL, "ResEncUNetPlanner"),
    "nnunet_resenc_m": (_RESIDUAL, "nnUNetPlannerResEncM"),
    "nnunet_resenc_l": (_RESIDUAL, "nnUNetPlannerResEncL"),
    "nnunet_resenc_xl": (_RESIDUAL, "nnUNetPlannerResEncXL"),
}
# Spacing that nnU-Net's readers give to the missing axis of 2D images, in multiples of the coarsest of the other two.
ACROSS = 999.0

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
# How many cases, each of which spacing and cropped shape `(z, y, x)`.
Cases = tuple[tuple[int, Triple, Shape], ...]


@dataclass(frozen=True)
class Dataset:
    """What nnU-Net's planners look at.

    Attributes:
        cases: Cropped cases, in nnU-Net's terms: 2D images have 999 times their coarsest spacing across.
        num_labels: Entries of `labels`, background counted; `labels` overrules it.
        labels: As in `dataset.json`.
        memory_gib: `gpu_memory_target_in_gb`; `None` for each planner's default.
        spacing_mm: `overwrite_target_spacing`.
    """

    cases: Cases
    num_labels: int = 2
    labels: Mapping[str, int | list[int]] = field(default_factory=dict)
    regions_class_order: tuple[int, ...] | None = None
    channels: tuple[str, ...] = ("MRI",)
    file_ending: str = ".nii.gz"
    relative_size_after_crop: float = 1.0
    memory_gib: float | None = None
    spacing_mm: Triple | None = None


DATASETS = {
    # Slices far apart: the target takes the 10th percentile of mixed spacings, and never falls below the others'.
    "heart": Dataset(((40, (10, 1.5, 1.5), (10, 232, 200)),), 4),
    "heart_mixed": Dataset(
        (
            (60, (10, 1.5625, 1.5625), (9, 237, 208)),
            (25, (5, 1.3671875, 1.3671875), (18, 256, 216)),
            (15, (6.5, 1.6796875, 1.6796875), (14, 240, 210)),
            (100, (8, 1.75, 1.75), (10, 222, 256)),
        ),
        4,
    ),
    "heart_few_fine": Dataset(
        ((30, (8, 1.5, 1.4), (10, 240, 230)), (6, (1.2, 1.5, 1.4), (60, 240, 230))), 4, channels=("cine",)
    ),
    # CT, cascades.
    "ct_mixed_slices": Dataset(
        (
            (12, (0.7, 0.703125, 0.703125), (430, 512, 512)),
            (40, (2.5, 0.767578125, 0.767578125), (121, 512, 512)),
            (37, (5, 0.8203125, 0.8203125), (61, 512, 512)),
            (11, (7.5, 0.9765625, 0.9765625), (40, 512, 512)),
        ),
        3,
        channels=("CT",),
    ),
    "liver_ct": Dataset(((131, (1, 0.767, 0.767), (482, 512, 512)),), 3, channels=("CT",)),
    "liver_ct_4_gib": Dataset(((131, (1, 0.767, 0.767), (482, 512, 512)),), 3, channels=("CT",), memory_gib=4),
    "abdomen_ct": Dataset(
        ((200, (2, 0.68, 0.68), (238, 590, 590)), (160, (5, 0.78, 0.78), (103, 512, 512))), 16, channels=("CT",)
    ),
    "abdomen_ct_80_gib": Dataset(((360, (2, 0.68, 0.68), (238, 590, 590)),), 16, channels=("CT",), memory_gib=80),
    # Its slices are more than twice as far apart as its voxels, so that the low resolution starts in the plane.
    "thick_large_ct": Dataset(((51, (3, 0.7, 0.7), (210, 640, 700)),), 5, channels=("CT",)),
    # One in which the cascade's low resolution would be hardly coarser, and is dropped.
    "hardly_too_large": Dataset(((80, (1, 1, 1), (200, 220, 210)),), 3, channels=("ct",)),
    "whole_body_120_labels": Dataset(
        ((600, (1.5, 1.5, 1.5), (265, 250, 249)), (601, (1.5, 1.5, 1.5), (310, 262, 230))), 120, channels=("CT",)
    ),
    "huge": Dataset(((10, (0.5, 0.5, 0.5), (1000, 1000, 1000)),), 2),
    # MR.
    "brain_two_channels": Dataset(((123, (1, 1, 1), (155, 240, 240)),), 2, channels=("T1", "FLAIR")),
    "brain_24_gib": Dataset(((123, (1, 1, 1), (155, 240, 240)),), 2, channels=("T1", "FLAIR"), memory_gib=24),
    "brain_regions": Dataset(
        ((240, (1, 1, 1), (138, 170, 138)), (244, (1, 1, 1), (140, 172, 137))),
        labels={"background": 0, "whole tumour": [1, 2, 3], "core": [2, 3], "enhancing": 3},
        regions_class_order=(1, 2, 3),
        channels=("T1", "T1gd", "T2", "FLAIR"),
        relative_size_after_crop=0.6,
    ),
    "prostate": Dataset(((32, (3.6, 0.62, 0.62), (20, 320, 319)),), 3, channels=("T2", "ADC")),
    "prostate_6_gib": Dataset(((32, (3.6, 0.62, 0.62), (20, 320, 319)),), 3, channels=("T2", "ADC"), memory_gib=6),
    "hippocampus": Dataset(
        ((90, (1, 1, 1), (34, 50, 35)), (80, (1, 1, 1), (36, 48, 33)), (90, (1, 1, 1), (38, 54, 36))), 3
    ),
    "hippocampus_ignored": Dataset(
        ((220, (1, 1, 1), (36, 50, 35)),), labels={"background": 0, "anterior": 1, "posterior": 2, "ignore": 3}
    ),
    # Every scheme, of which only z-scores may be taken inside the body; a name that is nearly a scheme's.
    "all_normalizations": Dataset(
        ((25, (1.2, 0.9, 0.9), (120, 200, 190)),),
        channels=("CT", "zScore", "noNorm", "rescale_to_0_1", "rgb_to_0_1", "rescale_0_1"),
        relative_size_after_crop=0.74,
        memory_gib=11,
    ),
    "not_cropped_enough": Dataset(((25, (1.2, 0.9, 0.9), (120, 200, 190)),), relative_size_after_crop=0.75),
    # Electron microscopy, nanometres told as millimetres.
    "em_thick_slices": Dataset(((1, (50, 4.6, 4.6), (20, 512, 512)),), 2),
    "em_three_stacks": Dataset(((3, (40, 4, 4), (125, 1250, 1250)),), 3),
    # Axis orders.
    "x_coarsest": Dataset(((32, (0.62, 0.62, 3.6), (320, 319, 20)),), 3),
    "y_coarsest_cascade": Dataset(((31, (0.8, 3, 0.9), (520, 190, 480)), (30, (0.7, 4, 0.8), (600, 150, 540))), 3),
    "y_and_x_equally_coarse": Dataset(((20, (0.5, 1.5, 1.5), (300, 128, 100)),), 2),
    # Medians that end in one half, down to a slice and a half.
    "half_voxels": Dataset(((5, (2, 1, 1), (35, 99, 80)), (5, (2, 1, 1), (36, 100, 81))), 3),
    "slice_and_a_half": Dataset(((8, (5, 1, 1), (1, 200, 201)), (8, (5, 1, 1), (2, 201, 202))), 3),
    "one_slice_in_most": Dataset(((9, (5, 1, 1), (1, 200, 201)), (8, (5, 1, 1), (2, 201, 202))), 3),
    # Odd shapes and counts.
    "long_and_thin": Dataset(((14, (1, 1, 1), (2000, 40, 30)),), 2),
    "tiny": Dataset(((12, (1, 1, 1), (5, 6, 7)), (9, (1, 1, 1), (12, 9, 10))), 2),
    "two_cases": Dataset(((2, (1, 0.8, 0.8), (60, 90, 95)),), 2),
    "many_small_cases": Dataset(((5000, (3, 2, 2), (64, 64, 64)),), 9),
    "requested_spacing": Dataset(
        ((30, (3.3, 0.9, 0.9), (90, 320, 300)), (21, (3, 0.8, 0.8), (88, 384, 380))), 3, spacing_mm=(2.5, 1.1, 1.3)
    ),
    # 2D.
    "cells_png": Dataset(((40, (ACROSS, 1, 1), (1, 237, 298)),), file_ending=".png", channels=("grey",)),
    "photographs_png": Dataset(((300, (ACROSS, 1, 1), (1, 1000, 1000)),), 12, file_ending=".png"),
    "histology_rgb": Dataset(
        (
            (30, (ACROSS, 1, 1), (1, 520, 696)),
            (11, (ACROSS, 1, 1), (1, 256, 320)),
            (7, (ACROSS, 1, 1), (1, 1024, 900)),
        ),
        channels=("rgb_to_0_1",) * 3,
        file_ending=".png",
    ),
    "flat_nifti": Dataset(
        ((25, (ACROSS * 0.4, 0.3, 0.4), (1, 301, 250)), (26, (ACROSS * 0.5, 0.35, 0.5), (1, 288, 256))), 3
    ),
}


def ask(dataset: Dataset, planner: str, folder: Path) -> dict[str, Any]:
    """The facts of one plan, as nnU-Net's own code has them.

    Args:
        dataset: What to plan.
        planner: A key of `PLANNERS`.
        folder: An empty folder for this question.
    """
    module, name = PLANNERS[planner]
    _write_inputs(dataset, folder)
    os.environ |= {"nnUNet_raw": str(folder / "raw"), "nnUNet_preprocessed": str(folder / "preprocessed")}
    os.environ |= {"nnUNet_results": str(folder / "results"), "nnUNet_n_proc_DA": "1"}
    options: dict[str, Any] = {}
    if dataset.memory_gib is not None:
        options["gpu_memory_target_in_gb"] = dataset.memory_gib
    if dataset.spacing_mm is not None:
        options["overwrite_target_spacing"] = [float(value) for value in dataset.spacing_mm]
    with _quiet(), importlib.import_module("torch").device("meta"):
        handler = importlib.import_module("nnunetv2.utilities.plans_handling.plans_handler")
        asked = getattr(importlib.import_module(module), name)("Dataset001_Oracle", **options)
        asked.plan_experiment()
        # As saved, and with inheritance resolved, which is how nnU-Net's training reads it.
        manager = handler.PlansManager(str(next((folder / "preprocessed").rglob(f"{asked.plans_identifier}.json"))))
        names = list(manager.plans["configurations"])
        configurations = {name: manager.get_configuration(name).configuration for name in names}
    return _facts(manager.plans, configurations)


def _write_inputs(dataset: Dataset, folder: Path) -> None:
    raw, preprocessed = (folder / name / "Dataset001_Oracle" for name in ("raw", "preprocessed"))
    (raw / "imagesTr").mkdir(parents=True)
    preprocessed.mkdir(parents=True)
    description = {
        "channel_names": {str(index): name for index, name in enumerate(dataset.channels)},
        "labels": labels_of(dataset),
        "numTraining": sum(count for count, _, _ in dataset.cases),
        "file_ending": dataset.file_ending,
    }
    if dataset.regions_class_order is not None:
        description["regions_class_order"] = dataset.regions_class_order
    fingerprint = {
        "spacings": [spacing for count, spacing, _ in dataset.cases for _ in range(count)],
        "shapes_after_crop": [shape for count, _, shape in dataset.cases for _ in range(count)],
        "foreground_intensity_properties_per_channel": {str(index): {} for index in range(len(dataset.channels))},
        "median_relative_size_after_cropping": dataset.relative_size_after_crop,
    }
    (raw / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint), encoding="utf-8")
    image = raw / "imagesTr" / f"case_0000{dataset.file_ending}"
    if dataset.file_ending == ".png":
        importlib.import_module("skimage.io").imsave(image, np.zeros((8, 8), np.uint8), check_contrast=False)
    else:
        sitk = importlib.import_module("SimpleITK")
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 2, 2), np.uint8)), str(image))


def labels_of(dataset: Dataset) -> dict[str, int | list[int]]:
    """The `labels` of the dataset's `dataset.json`."""
    if dataset.labels:
        return dict(dataset.labels)
    return {"background": 0, **{f"label {value}": value for value in range(1, dataset.num_labels)}}


def _facts(plans: dict[str, Any], configurations: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the comparison needs; `shared` is the same for every planner and configuration."""
    any_of_them = configurations["2d"]
    shared = {key: any_of_them[key] for key in ("normalization_schemes", "use_mask_for_norm")}
    assert all(resolved[key] == shared[key] for resolved in configurations.values() for key in shared)
    facts = {name: _configuration_facts(resolved) for name, resolved in sorted(configurations.items())}
    if "3d_cascade_fullres" in facts:
        assert facts["3d_cascade_fullres"] == {**facts["3d_fullres"], "previous_stage": "3d_lowres"}
        facts["3d_cascade_fullres"] = {"same_as": "3d_fullres", "previous_stage": "3d_lowres"}
    network = any_of_them["architecture"]["network_class_name"].rpartition(".")[2]
    return {
        "shared": {"transpose_forward": plans["transpose_forward"], **shared},
        "plan": {"network": network, "configurations": facts},
    }


def _configuration_facts(resolved: dict[str, Any]) -> dict[str, Any]:
    network = resolved["architecture"]["arch_kwargs"]
    is_plain = "n_conv_per_stage" in network
    facts = {
        "spacing": resolved["spacing"],
        "median_shape": resolved["median_image_size_in_voxels"],
        "patch_size": resolved["patch_size"],
        "batch_size": resolved["batch_size"],
        "batch_dice": resolved["batch_dice"],
        "features": network["features_per_stage"],
        "strides": _digits(network["strides"]),
        "kernel_sizes": _digits(network["kernel_sizes"]),
        "encoder": _digits([network["n_conv_per_stage" if is_plain else "n_blocks_per_stage"]]),
        "decoder": _digits([network["n_conv_per_stage_decoder"]]),
    }
    return facts | {key: resolved[key] for key in ("previous_stage", "next_stage") if key in resolved}


def _digits(stages: list[list[int]]) -> str:
    """Small numbers, one digit each, and a blank between stages: `111 122 222`."""
    assert all(0 < value < 10 for stage in stages for value in stage)
    return " ".join("".join(str(value) for value in stage) for stage in stages)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """nnU-Net tells much while it plans, and warns of memory other than a preset's."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def answers(dataset: Dataset) -> dict[str, Any]:
    """One dataset as asked, and the facts of every planner's plan."""
    asked = {key: value for key, value in asdict(dataset).items() if key != "num_labels"}
    facts = {}
    for planner in PLANNERS:
        with tempfile.TemporaryDirectory() as folder:
            facts[planner] = ask(dataset, planner, Path(folder))
    shared = facts["nnunet"]["shared"]
    assert all(planned["shared"] == shared for planned in facts.values())
    plans = {planner: planned["plan"] for planner, planned in facts.items()}
    return {"asked": {**asked, "labels": labels_of(dataset)}, "shared": shared, "plans": plans}


def written(content: Any, depth: int = 6) -> str:
    """JSON with a line for each entry of the outer objects, so that changes can be read, and none for the inner."""
    if not (isinstance(content, dict) and depth):
        return json.dumps(content, separators=(",", ":"))
    entries = (
        f"{json.dumps(key)}:{written(value, 0 if key in ('asked', 'shared') else depth - 1)}"
        for key, value in content.items()
    )
    return "{\n" + ",\n".join(entries) + "\n}"


def main() -> None:
    """Ask everything and write it down."""
    version = importlib.metadata.version("nnunetv2")
    datasets = {name: answers(dataset) for name, dataset in DATASETS.items()}
    OUTPUT.write_text(written({"nnunetv2": version, "datasets": datasets}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
