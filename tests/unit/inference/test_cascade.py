"""The second stage's input channels, by hand; and that mirrors exchange those of left and right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autounet.data.io import Image
from autounet.errors import RequestError
from autounet.geometry import Geometry
from autounet.inference import export
from autounet.inference.cascade import first_stage_of, input_channels, swapped_inputs, with_earlier
from autounet.inference.predictor import Predictor
from autounet.labels import LabelClass, LabelSchema
from autounet.laterality import Laterality
from autounet.models.folder import ModelRecord
from autounet.preprocessing.case import prepare_case
from autounet.training.precision import Precision

CPU = torch.device("cpu")
FLOAT32 = Precision(torch.float32, "exact")
SIDES = Laterality(axis=2, pairs=((2, 5),), confirmed=True)
LABELS = LabelSchema(
    classes=(
        LabelClass(name="eye_r", values=(5,)),
        LabelClass(name="eye_l", values=(2,)),
        LabelClass(name="lens", values=(3,)),
    )
)


def second_stage(record: Any, **options: Any) -> ModelRecord:
    """A record whose configuration follows another, which it names."""
    model: ModelRecord = record(labels=LABELS, **options)
    first = model.configuration.model_copy(update={"name": "first"})
    second = model.configuration.model_copy(update={"previous_stage": "first"})
    plan = model.plan.model_copy(update={"configurations": {second.name: second, "first": first}})
    return model.model_copy(update={"plan": plan, "configuration": second, "previous_model": "first_model"})


def image_of(array: np.ndarray) -> Image:
    return Image(array.astype(np.float32), Geometry.from_spacing((1.0, 1.0, 1.0)))


class Told:
    """A first stage that has an answer ready."""

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask

    def predict(self, image: Image) -> np.ndarray:
        return self.mask


def test_channels_are_the_image_and_one_a_value_on_the_prepared_grid(record: Any) -> None:
    """Axes turned as the plan says, the empty slice cut off, values in ascending order."""
    model = second_stage(record, transpose=(2, 0, 1))
    assert model.plan.num_inputs(model.configuration) == 4
    array = np.zeros((1, 3, 4, 5))
    array[:, :, :, 1:] = np.random.default_rng(0).random((1, 3, 4, 4)) + 1
    mask = np.random.default_rng(1).choice([0, 2, 3, 5], (3, 4, 5)).astype(np.uint8)
    prepared = prepare_case(image_of(array), None, model.plan, model.configuration)
    channels = input_channels(with_earlier(prepared, mask, model.plan), model.plan)
    assert channels.dtype == np.float32
    assert channels.shape == (4, 4, 3, 4)
    np.testing.assert_array_equal(channels[0], prepared.image[0])
    turned = mask[:, :, 1:].transpose(2, 0, 1)
    for channel, value in zip(channels[1:], (2, 3, 5), strict=True):
        np.testing.assert_array_equal(channel, turned == value)
    with pytest.raises(RequestError, match=r"the mask has \(3, 4, 4\) voxels .* the image has \(3, 4, 5\)"):
        with_earlier(prepared, mask[:, :, 1:], model.plan)


def test_left_and_right_inputs_change_places(record: Any) -> None:
    model = second_stage(record, num_channels=2)
    assert swapped_inputs(model.plan, model.configuration, SIDES.pairs) == (0, 1, 4, 3, 2)
    assert swapped_inputs(model.plan, model.configuration, ()) == ()
    assert swapped_inputs(model.plan, model.plan.configuration("first"), SIDES.pairs) == ()


class Repeats(torch.nn.Module):
    """Gives as logits what the stage before told, and background where it told nothing."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [torch.cat([torch.full_like(x[:, :1], 0.5), x[:, 1:]], dim=1)]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("values", [[0, 2, 3, 5], [2]])
def test_a_network_that_repeats_the_first_stage_does_so_with_mirrors_too(
    record: Any, values: list[int], mirror: bool
) -> None:
    """Where all is of one class, and nothing varies, too."""
    model = second_stage(record, mirror_axes=(0, 1, 2), laterality=SIDES)
    mask = np.random.default_rng(1).choice(values, (9, 10, 11)).astype(np.uint8)
    image = image_of(np.ones((1, 9, 10, 11)))
    networks: Any = (Repeats(),)
    predictor = Predictor.of(model, networks, device=CPU, precision=FLOAT32, mirror=mirror)
    np.testing.assert_array_equal(predictor.predict(image, mask), mask)
    told: Any = Told(mask)
    both = Predictor(predictor.plan, predictor.configuration, networks, predictor.window, predictor.device, first=told)
    np.testing.assert_array_equal(both.predict(image), mask)
    np.testing.assert_array_equal(both.predict(image, np.zeros_like(mask)), 0)


def test_the_first_stage_lies_beside_and_fits(record: Any, tmp_path: Path) -> None:
    model = second_stage(record)
    assert first_stage_of(tmp_path / "second", record()) is None
    with pytest.raises(RequestError, match=r"its first stage .*first_model has no finished fold"):
        first_stage_of(tmp_path / "second", model)
    with pytest.raises(RequestError, match=r"\*__first has no finished fold"):
        first_stage_of(tmp_path / "second", model.model_copy(update={"previous_model": None}))
    low = record(labels=LABELS).model_copy(update={"finished": True})
    low.write(tmp_path / "first_model" / "fold_0" / "model.json")
    assert first_stage_of(tmp_path / "second", model) == tmp_path / "first_model"
    record().model_copy(update={"finished": True}).write(tmp_path / "first_model" / "fold_0" / "model.json")
    with pytest.raises(RequestError, match="other labels or channels"):
        first_stage_of(tmp_path / "second", model)


@pytest.mark.parametrize("ignore", [None, 9])
def test_blocks_give_what_the_whole_gives_in_both_stages(
    record: Any, point_wise: Any, monkeypatch: pytest.MonkeyPatch, ignore: int | None
) -> None:
    """Both stages resample; block by block each decides as over the whole case at once."""
    labels = LabelSchema(classes=LABELS.classes[:2], ignore_value=ignore)
    image = image_of(np.random.default_rng(0).normal(size=(1, 11, 13, 12)))

    def predictor(model: ModelRecord, num_inputs: int, seed: int) -> Predictor:
        network = point_wise(3)
        generator = torch.Generator().manual_seed(seed)
        network.weight = torch.randn(3, num_inputs, generator=generator)
        return Predictor.of(model, (network,), device=CPU, precision=FLOAT32)

    coarse: ModelRecord = record(labels=labels, spacing_mm=(1.9, 1.6, 2.1))
    fine = second_stage(record, spacing_mm=(0.8, 1.3, 0.9))
    fine = fine.model_copy(update={"plan": fine.plan.model_copy(update={"labels": labels})})
    cascade = replace(predictor(fine, 3, 1), first=predictor(coarse, 1, 0))
    monkeypatch.setattr(export, "_BLOCK", (100, 100, 100))
    whole = cascade.predict(image)
    alone = replace(cascade, first=None).predict(image, earlier=np.zeros((11, 13, 12), dtype=np.uint8))
    assert set(np.unique(whole)) == {0, 2, 5}
    assert (whole != alone).any(), "the second stage must heed the first"
    monkeypatch.setattr(export, "_BLOCK", (2, 3, 5))
    np.testing.assert_array_equal(cascade.predict(image), whole)
