"""Drawing with a network that knows the image: whatever lies between it and the file must not change that image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from autounet.diffusion.intensity import ChannelRange, IntensityRange, Line
from autounet.diffusion.schedule import NoiseSchedule
from autounet.errors import RequestError
from autounet.geometry import Geometry, Shape3
from autounet.inference.drawing import Drawer, DrawOptions
from autounet.inference.predictor import Predictor
from autounet.labels import LabelClass, LabelSchema
from autounet.models.folder import ModelRecord, build_network
from autounet.networks.diffusion_unet import DiffusionUNet
from autounet.training.config import TrainConfig
from autounet.training.precision import Precision

LABELS = LabelSchema(classes=(LabelClass(name="a", values=(1,)), LabelClass(name="b", values=(2,))))
SHARES = NoiseSchedule.of("cosine", 1000)
FLOAT32 = Precision(torch.float32, "")
MakeRecord = Callable[..., ModelRecord]
# Of the noise of the last time, as raw intensities, of which twenty are one of the network's: nine standard deviations,
# since few steps begin at times at which an image is not all noise.
RAW_LEFT_OVER = 20 * 9 * float((1 - SHARES.alpha_bars[0]).sqrt())


class Knowing(DiffusionUNet):
    """Knows that images are 0 in the background, 1 in `a`, -1 in `b`, and 0.5 where nothing is told."""

    def forward(self, x: Tensor, times: Tensor | None = None, context: Tensor | None = None) -> list[Tensor]:
        assert times is not None
        noised, masks = x[:, :1], x[:, 1:]
        told = masks.flatten(1).any(dim=1).reshape(-1, 1, 1, 1)
        image = torch.where(told, masks[:, 1:2] - masks[:, 2:3], torch.tensor(0.5))
        share = SHARES.at(times, x.ndim)
        noise = (noised - share.sqrt() * image) / (1 - share).sqrt()
        return [share.sqrt() * noise - (1 - share).sqrt() * image]


def drawer(
    make_record: MakeRecord, transpose: Shape3 = (0, 1, 2), spacing_mm: tuple[float, ...] | None = None
) -> Drawer:
    record = make_record((16, 16), labels=LABELS, transpose=transpose, spacing_mm=spacing_mm)
    options = (("attention", ()), ("context", 4), ("tokens", 2))
    plan = record.configuration.network.model_copy(
        update={"name": "diffusion_unet", "features": (8, 8), "options": options}
    )
    channel = ChannelRange(mean=10.0, std=2.0, low=8.0, high=12.0, raw_low=0.0, raw_high=255.0, whole_numbers=False)
    record = record.model_copy(
        update={
            "configuration": record.configuration.model_copy(update={"network": plan}),
            "config": TrainConfig(objective="diffusion"),
            "intensities": IntensityRange(channels=(channel,), num_files=1, cases=((Line(offset=0.0, scale=10.0),),)),
        }
    )
    network = Knowing(plan, record.num_inputs, record.num_outputs).eval()
    assert isinstance(build_network(record), DiffusionUNet)
    window = Predictor.of(record, (network,), device=torch.device("cpu"), precision=FLOAT32, mirror=False).window
    return Drawer(record, network, window, FLOAT32)


def label_map(shape: Shape3 = (1, 40, 24)) -> np.ndarray:
    label = np.zeros(shape, dtype=np.uint8)
    label[:, 3:15, 4:18] = 1
    label[:, 22:33, 2:9] = 2
    return label


def expected(label: np.ndarray) -> np.ndarray:
    """Raw intensities: ten times mean 10 and standard deviation 2."""
    return np.asarray(10 * (10 + 2 * ((label == 1) * 1.0 - (label == 2) * 1.0)))


def draw(made: Drawer, label: np.ndarray, name: str = "", **options: Any) -> np.ndarray:
    geometry = Geometry.from_spacing((1.0, 1.0, 1.0), 2)
    chosen = replace(DrawOptions(steps=4, guidance=1.0), **options)
    return made.draw(label, geometry, chosen, name).array


@pytest.mark.parametrize("steps", [2, 5])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_what_the_network_knows_is_drawn_in_raw_intensities(record: MakeRecord, steps: int, eta: float) -> None:
    label = label_map()
    image = draw(drawer(record), label, steps=steps, eta=eta)
    assert image.shape == (1, *label.shape)
    np.testing.assert_allclose(image[0], expected(label), atol=RAW_LEFT_OVER)


def test_images_smaller_than_a_patch_and_volumes_of_slices_are_drawn(record: MakeRecord) -> None:
    for shape in ((1, 9, 30), (3, 20, 16)):
        label = label_map()[:, : shape[1], :16].repeat(shape[0], axis=0)
        np.testing.assert_allclose(draw(drawer(record), label)[0], expected(label), atol=RAW_LEFT_OVER)


def test_axes_in_another_order_come_back_as_they_were(record: MakeRecord) -> None:
    label = label_map()
    image = draw(drawer(record, transpose=(0, 2, 1)), label)
    np.testing.assert_allclose(image[0], expected(label), atol=RAW_LEFT_OVER)


def test_an_image_drawn_at_another_spacing_has_the_size_of_its_label_map(record: MakeRecord) -> None:
    label = np.repeat(np.repeat(label_map(), 2, axis=1), 2, axis=2)
    image = draw(drawer(record, spacing_mm=(2.0, 2.0)), label)
    assert image.shape == (1, *label.shape)
    inside = ndimage.maximum_filter(label, (1, 5, 5)) == ndimage.minimum_filter(label, (1, 5, 5))
    assert inside.mean() > 0.5
    np.testing.assert_allclose(image[0][inside], expected(label)[inside], atol=RAW_LEFT_OVER)


def test_guidance_of_nothing_never_minds_the_label_map(record: MakeRecord) -> None:
    np.testing.assert_allclose(draw(drawer(record), label_map(), guidance=0.0), 110.0, atol=RAW_LEFT_OVER)


def test_guidance_goes_beyond_the_label_map_up_to_the_range_of_training(record: MakeRecord) -> None:
    """Twice as far from the half of where nothing is told: -0.5 and beyond both ends, which are cut off."""
    label = label_map()
    image = draw(drawer(record), label, guidance=2.0)[0]
    np.testing.assert_allclose(image[label == 0], 90.0, atol=RAW_LEFT_OVER)
    np.testing.assert_allclose(image[label == 1], 120.0, atol=RAW_LEFT_OVER)
    np.testing.assert_allclose(image[label == 2], 80.0, atol=RAW_LEFT_OVER)


def test_a_seed_and_a_name_tell_the_noise(record: MakeRecord) -> None:
    made, label = drawer(record), label_map()
    first = draw(made, label)
    assert np.array_equal(first, draw(made, label))
    assert not np.array_equal(first, draw(made, label, name="other"))
    assert not np.array_equal(first, draw(made, label, seed=1))


def test_labels_that_the_model_does_not_know_are_refused(record: MakeRecord) -> None:
    with pytest.raises(RequestError, match=r"label values \[3\] are none of the model's: \[0, 1, 2\]"):
        draw(drawer(record), np.full((1, 4, 4), 3, dtype=np.uint8))


@pytest.mark.parametrize(("options", "told"), [({"guidance": -1.0}, "--guidance -1"), ({"eta": 2.0}, "--eta 2")])
def test_options_out_of_range_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        DrawOptions(**options)
