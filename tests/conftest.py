"""What several test folders build on: small plans, measured datasets without files, and files of tiny datasets."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from autounet.data.dataset import RawDataset
from autounet.fingerprint import Fingerprint
from autounet.geometry import Shape3, Triple
from autounet.labels import LabelSchema
from autounet.network_plan import NetworkPlan
from autounet.plans import (
    ChannelPlan,
    Configuration,
    Decision,
    IntensityStatistics,
    NormalizationName,
    Plan,
)

# Before torch is imported. Threads that wait for each other by spinning take the processor from the one they wait for
# where a machine is shared: a training step was eight times as long beside another process.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

STATISTICS = IntensityStatistics(
    mean=10, std=4, minimum=-90, maximum=300, percentile_00_5=2, median=9, percentile_99_5=26
)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def make_fingerprint() -> Callable[..., Fingerprint]:
    """Builds the fingerprint of cases that are told by their spacings and shapes alone."""

    def make(
        spacings_mm: Sequence[Triple],
        shapes: Sequence[Shape3],
        *,
        num_channels: int = 1,
        relative_size_after_crop: float = 1.0,
        dataset_name: str = "Dataset001_Test",
        statistics: IntensityStatistics = STATISTICS,
    ) -> Fingerprint:
        intensities = (statistics,) * num_channels
        return Fingerprint.of_sizes(dataset_name, spacings_mm, shapes, intensities, relative_size_after_crop)

    return make


@pytest.fixture(scope="session")
def make_plan() -> Callable[..., Plan]:
    """Builds a plan with the configurations `2d` and `3d_fullres`, or with `2d` alone."""

    def make(
        *,
        normalizations: Sequence[NormalizationName] = ("zscore",),
        use_mask: bool = False,
        spacing_mm: Triple = (1.0, 1.0, 1.0),
        transpose_forward: Shape3 = (0, 1, 2),
        labels: LabelSchema | None = None,
        names: Sequence[str] = ("2d", "3d_fullres"),
    ) -> Plan:
        return Plan(
            dataset_name="Dataset001_Test",
            planner="nnunet",
            memory_gib=8.0,
            file_ending=".nii",
            labels=labels or LabelSchema.from_dataset_json({"background": 0, "organ": 1, "tumour": 2}, None, "test"),
            channels=tuple(
                ChannelPlan(name=f"c{index}", normalization=name, use_mask=use_mask, statistics=STATISTICS)
                for index, name in enumerate(normalizations)
            ),
            transpose_forward=transpose_forward,
            median_spacing_mm=spacing_mm,
            median_shape=(8.0, 16.0, 16.0),
            configurations={name: _configuration(name, spacing_mm) for name in names},
            decisions=(Decision(name="patch_size", value="8 x 8", reason="Small enough to read."),),
        )

    return make


def _configuration(name: str, spacing_mm: Triple) -> Configuration:
    num_axes = 2 if name == "2d" else 3
    return Configuration(
        name=name,
        spacing_mm=spacing_mm[-num_axes:],
        median_shape=(16.0,) * num_axes,
        patch_size=(8,) * num_axes,
        batch_size=2,
        batch_dice=False,
        network=NetworkPlan(
            name="plain",
            features=(4, 8),
            kernel_sizes=((3,) * num_axes,) * 2,
            strides=((1,) * num_axes, (2,) * num_axes),
            num_convs_encoder=(1, 1),
            num_convs_decoder=(1,),
        ),
    )


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., RawDataset]:
    """Writes pairs of an image `(C, Z, Y, X)` and a label map `(Z, Y, X)` as a raw dataset of NIfTI files."""

    def write(cases: dict[str, tuple[np.ndarray, np.ndarray]], *, spacing_mm: Triple = (1, 1, 1)) -> RawDataset:
        folder = tmp_path / "raw" / "Dataset001_Test"
        for name in ("imagesTr", "labelsTr"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        affine = np.diag([*spacing_mm[::-1], 1.0])
        for name, (image, label) in cases.items():
            for index, channel in enumerate(image):
                path = folder / "imagesTr" / f"{name}_{index:04d}.nii"
                nib.save(nib.Nifti1Image(channel.T.astype(np.float32), affine), path)
            nib.save(nib.Nifti1Image(label.T.astype(np.uint8), affine), folder / "labelsTr" / f"{name}.nii")
        num_channels = next(iter(cases.values()))[0].shape[0]
        description: dict[str, Any] = {
            "channel_names": {str(index): f"c{index}" for index in range(num_channels)},
            "labels": {"background": 0, "organ": 1, "tumour": 2},
            "numTraining": len(cases),
            "file_ending": ".nii",
        }
        (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
        return RawDataset.load(folder)

    return write
