"""Plans against those of nnU-Net's own code, digit for digit; `nnunet_oracle/make.py` asked for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autounet.data.description import DatasetDescription
from autounet.fingerprint import Fingerprint
from autounet.geometry import Triple
from autounet.labels import LabelSchema
from autounet.planners import PLANNERS
from autounet.planners.request import PlanRequest
from autounet.plans import Configuration, Plan

ORACLE: dict[str, Any] = json.loads((Path(__file__).parent / "nnunet_oracle" / "plans.json").read_text("utf-8"))
DATASETS: dict[str, dict[str, Any]] = ORACLE["datasets"]
OUR_PLANNERS = ("nnunet", "nnunet_resenc", "nnunet_resenc_l", "nnunet_resenc_m", "nnunet_resenc_xl")
OUR_NAMES = {
    "PlainConvUNet": "plain",
    "ResidualEncoderUNet": "resenc",
    "CTNormalization": "ct",
    "NoNormalization": "nonorm",
    "RGBTo01Normalization": "rgb_to_0_1",
    "RescaleTo01Normalization": "rescale_to_0_1",
    "ZScoreNormalization": "zscore",
}


def test_every_planner_of_nnunet_was_asked_about_every_dataset() -> None:
    assert ORACLE["nnunetv2"] == "2.8.1"
    assert all(sorted(answers["plans"]) == sorted(OUR_PLANNERS) for answers in DATASETS.values())
    assert set(OUR_PLANNERS) == {name for name in PLANNERS if name.startswith("nnunet")}


@pytest.mark.parametrize("planner", OUR_PLANNERS)
@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_plan_is_nnunets(dataset: str, planner: str, make_fingerprint: Callable[..., Fingerprint]) -> None:
    answers = DATASETS[dataset]
    asked = answers["asked"]
    plan = PLANNERS.find(planner)(
        _fingerprint(asked, make_fingerprint),
        _description(asked),
        PlanRequest(memory_gib=asked["memory_gib"], spacing_mm=asked["spacing_mm"]),
    )
    assert _our_facts(plan) == _their_facts(answers, planner)


def test_second_stages_and_their_first_name_each_other() -> None:
    stages = [
        (name, entry["previous_stage"], entries["3d_lowres"]["next_stage"])
        for answers in DATASETS.values()
        for entries in (planned["configurations"] for planned in answers["plans"].values())
        for name, entry in entries.items()
        if "previous_stage" in entry
    ]
    assert len(stages) > 30
    assert set(stages) == {("3d_cascade_fullres", "3d_lowres", "3d_cascade_fullres")}


def _fingerprint(asked: dict[str, Any], make_fingerprint: Callable[..., Fingerprint]) -> Fingerprint:
    cases = [(spacing, tuple(shape)) for count, spacing, shape in asked["cases"] for _ in range(count)]
    is_2d = all(shape[0] == 1 for _, shape in cases)
    return make_fingerprint(
        [_own_spacing(spacing, is_2d) for spacing, _ in cases],
        [shape for _, shape in cases],
        num_channels=len(asked["channels"]),
        relative_size_after_crop=asked["relative_size_after_crop"],
    )


def _own_spacing(spacing_mm: list[float], is_2d: bool) -> Triple:
    """nnU-Net's readers give 2D images 999 times their coarsest spacing across; the readers here 1 mm."""
    z, y, x = spacing_mm
    return (1.0 if is_2d else z, y, x)


def _description(asked: dict[str, Any]) -> DatasetDescription:
    return DatasetDescription(
        name="Dataset001_Oracle",
        channel_names=tuple(asked["channels"]),
        labels=LabelSchema.from_dataset_json(asked["labels"], asked["regions_class_order"], "plans.json"),
        file_ending=asked["file_ending"],
    )


def _our_facts(plan: Plan) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "transpose_forward": list(plan.transpose_forward),
        "normalization": [channel.normalization for channel in plan.channels],
        "use_mask": [channel.use_mask for channel in plan.channels],
        "median_shape": list(plan.median_shape[1:]),
        "median_spacing_mm": list(plan.median_spacing_mm[1:]),
    }
    followers = {entry.previous_stage: name for name, entry in plan.configurations.items() if entry.previous_stage}
    for name, configuration in plan.configurations.items():
        facts |= {f"{name}: {key}": value for key, value in _our_configuration(configuration).items()}
        facts[f"{name}: next_stage"] = followers.get(name)
    return facts


def _our_configuration(configuration: Configuration) -> dict[str, Any]:
    network = configuration.network
    return {
        "spacing": list(configuration.spacing_mm),
        "median_shape": list(configuration.median_shape),
        "patch_size": list(configuration.patch_size),
        "batch_size": configuration.batch_size,
        "batch_dice": configuration.batch_dice,
        "previous_stage": configuration.previous_stage,
        "network": network.name,
        "features": list(network.features),
        "strides": _digits(network.strides),
        "kernel_sizes": _digits(network.kernel_sizes),
        "encoder": _digits([network.num_convs_encoder]),
        "decoder": _digits([network.num_convs_decoder]),
    }


def _digits(stages: Any) -> str:
    return " ".join("".join(str(value) for value in stage) for stage in stages)


def _their_facts(answers: dict[str, Any], planner: str) -> dict[str, Any]:
    shared, planned = answers["shared"], answers["plans"][planner]
    entries = planned["configurations"]
    facts: dict[str, Any] = {
        "transpose_forward": shared["transpose_forward"],
        "normalization": [OUR_NAMES[name] for name in shared["normalization_schemes"]],
        "use_mask": shared["use_mask_for_norm"],
        "median_shape": entries["2d"]["median_shape"],
        "median_spacing_mm": entries["2d"]["spacing"],
    }
    for name, entry in entries.items():
        own = {key: value for key, value in entry.items() if key != "same_as"}
        resolved = {**entries.get(entry.get("same_as"), {}), **own, "network": OUR_NAMES[planned["network"]]}
        resolved = {"previous_stage": None, "next_stage": None, **resolved}
        facts |= {f"{name}: {key}": value for key, value in resolved.items()}
    return facts
