"""Kinds of data that differ in channels, labels, format or shape go through the whole pipeline alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from autounet import pipeline
from autounet.data.io import read_label
from autounet.training.config import TrainConfig
from autounet.workspace import Workspace

DATASET = "Dataset011_Kind"
NUM_TRAINING = 5
STEPS = TrainConfig.for_clock(1).model_copy(update={"max_seconds": None, "num_epochs": 1, "steps_per_epoch": 60})


def box(shape: tuple[int, ...], generator: np.random.Generator) -> tuple[slice, ...]:
    """A box of about half the image's edges."""
    starts = [int(generator.integers(1, max(2, edge // 2))) for edge in shape]
    return tuple(slice(start, start + max(2, edge // 3)) for start, edge in zip(starts, shape, strict=True))


def anisotropic_mr_with_regions(raw: Path, part: str, name: str, generator: np.random.Generator) -> None:
    """Two channels, slices six times thicker than pixels, a tumour inside a lesion, told as regions."""
    label = np.zeros((10, 48, 40), np.uint8)
    z, y, x = box(label.shape, generator)
    label[z, y, x] = 1
    label[z, slice(y.start + 3, y.stop - 3), slice(x.start + 3, x.stop - 3)] = 2
    affine = np.diag([-1.0, -1.0, 6.0, 1.0])
    for channel, strength in enumerate((40.0, -30.0)):
        image = 100 + strength * label + generator.normal(0, 8, label.shape)
        nib.save(
            nib.Nifti1Image(image.T.astype(np.float32), affine),
            raw / f"images{part}" / f"{name}_{channel:04d}.nii.gz",
        )
    nib.save(nib.Nifti1Image(label.T, affine), raw / f"labels{part}" / f"{name}.nii.gz")


def colour_photographs_with_ignored_pixels(raw: Path, part: str, name: str, generator: np.random.Generator) -> None:
    """RGB in one file; a stripe of each label is not annotated."""
    label = np.zeros((64, 48), np.uint8)
    label[box(label.shape, generator)] = 1
    image = np.stack([80 + 90 * label, 120 - 60 * label, 100 + 0 * label], axis=-1)
    image = (image + generator.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)
    label[:5] = 2
    Image.fromarray(image).save(raw / f"images{part}" / f"{name}_0000.png")
    Image.fromarray(label).save(raw / f"labels{part}" / f"{name}.png")


def volumes_of_labels_with_gaps(raw: Path, part: str, name: str, generator: np.random.Generator) -> None:
    """Label values 50 and 300, as some annotation tools export them."""
    label = np.zeros((16, 32, 32), np.uint16)
    y, x = (int(start) for start in generator.integers(2, 12, 2))
    label[3:13, y : y + 18, x : x + 18] = 300
    label[3:13, y : y + 9, x : x + 18] = 50
    image = 100 + 60 * (label == 300) - 60 * (label == 50) + generator.normal(0, 8, label.shape)
    for folder, array, file in (("images", image.astype(np.float32), f"{name}_0000"), ("labels", label, name)):
        nib.save(nib.Nifti1Image(array.T, np.eye(4)), raw / f"{folder}{part}" / f"{file}.nii.gz")


def stacks_of_tiff_with_spacing_beside(raw: Path, part: str, name: str, generator: np.random.Generator) -> None:
    """3D TIFF, whose spacing is in a JSON file."""
    label = np.zeros((20, 36, 32), np.uint8)
    label[box(label.shape, generator)] = 1
    image = (90 + 60 * label + generator.normal(0, 8, label.shape)).astype(np.uint16)
    spacing = json.dumps({"spacing": [2.0, 1.0, 1.0]})
    for folder, array, file in (("images", image, f"{name}_0000"), ("labels", label, name)):
        tifffile.imwrite(raw / f"{folder}{part}" / f"{file}.tif", array, photometric="minisblack")
        (raw / f"{folder}{part}" / f"{name}.json").write_text(spacing)


KINDS: dict[str, tuple[Callable[[Path, str, str, np.random.Generator], None], str, dict[str, object]]] = {
    "regions": (
        anisotropic_mr_with_regions,
        "3d_fullres",
        {
            "channel_names": {"0": "T1", "1": "T2"},
            "labels": {"background": 0, "lesion": [1, 2], "tumour": [2]},
            "regions_class_order": [1, 2],
            "file_ending": ".nii.gz",
        },
    ),
    "ignore": (
        colour_photographs_with_ignored_pixels,
        "2d",
        {
            "channel_names": {"0": "rgb_to_0_1", "1": "rgb_to_0_1", "2": "rgb_to_0_1"},
            "labels": {"background": 0, "car": 1, "ignore": 2},
            "file_ending": ".png",
        },
    ),
    "gaps": (
        volumes_of_labels_with_gaps,
        "3d_fullres",
        {
            "channel_names": {"0": "MR"},
            "labels": {"background": 0, "organ": 300, "vessel": 50},
            "file_ending": ".nii.gz",
        },
    ),
    "tiff": (
        stacks_of_tiff_with_spacing_beside,
        "3d_fullres",
        {"channel_names": {"0": "light"}, "labels": {"background": 0, "cell": 1}, "file_ending": ".tif"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_data_is_learned_and_predicted(kind: str, tmp_path: Path) -> None:
    write, configuration, description = KINDS[kind]
    workspace, raw = Workspace.at(tmp_path), tmp_path / "raw" / DATASET
    for folder in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (raw / folder).mkdir(parents=True)
    for index in range(NUM_TRAINING + 2):
        part = "Tr" if index < NUM_TRAINING else "Ts"
        write(raw, part, f"case{index}", np.random.default_rng(index))
    (raw / "dataset.json").write_text(json.dumps({**description, "numTraining": NUM_TRAINING}))

    planned = pipeline.plan_and_preprocess(workspace, "11", configurations=[configuration], jobs=1)
    content = json.loads(planned.path.read_text())
    network = content["configurations"][configuration]["network"]
    network["features"] = [8 for _ in network["features"]]
    content["configurations"][configuration]["batch_size"] = 2
    planned.path.write_text(json.dumps(content))
    pipeline.train(workspace, "11", configuration, 0, config=STEPS, device="cpu")
    masks = tmp_path / "masks"
    pipeline.predict(workspace, raw / "imagesTs", masks, device="cpu")
    summary, _ = pipeline.evaluate(raw / "labelsTs", masks)

    assert summary.num_cases == 2
    assert summary.foreground_dice is not None
    assert summary.foreground_dice > 0.6
    for path in sorted((raw / "labelsTs").glob(f"*{description['file_ending']}")):
        reference, geometry = read_label(path)
        mask, mask_geometry = read_label(masks / path.name)
        assert mask.shape == reference.shape
        assert mask_geometry.spacing_mm == pytest.approx(geometry.spacing_mm, abs=1e-6)
        allowed = {"regions": {0, 1, 2}, "gaps": {0, 50, 300}}.get(kind, {0, 1})  # nobody predicts "ignore"
        assert set(np.unique(mask)) <= allowed
