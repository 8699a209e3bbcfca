"""Images that are unlike the training data are told of with the reason, and others are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from autounet.data.appearance import appearance_of
from autounet.data.io import Image
from autounet.data.io.base import affine_rows
from autounet.data.usual import UsualImages
from autounet.errors import RequestError
from autounet.geometry import Geometry
from autounet.inference.predictions import Predictions, write_predictions
from autounet.inference.unlike import Likeness, TrainingLooks
from autounet.models.folder import ModelRecord
from autounet.plans import ChannelPlan, IntensityStatistics, NormalizationName

FOREGROUND = IntensityStatistics(
    mean=60, std=40, minimum=-200, maximum=300, percentile_00_5=-80, median=60, percentile_99_5=180
)
SCHEMES: tuple[NormalizationName, ...] = ("ct", "zscore")


def scan(seed: int) -> Image:
    """A bright body in air with a soft second contrast: `(2, Z, Y, X)` in Hounsfield units and without a unit."""
    generator = np.random.default_rng(seed)
    z, y, x = np.indices((10, 24, 24)) - np.array([5, 12, 12])[:, None, None, None]
    body = (z / 6) ** 2 + (y / generator.uniform(9, 11)) ** 2 + (x / 10) ** 2 < 1
    ct = np.where(body, generator.normal(40, 60, body.shape), -1000) + generator.normal(0, 8, body.shape)
    soft = generator.uniform(0.5, 2) * np.where(body, 300 - 20 * np.abs(z) + generator.normal(0, 20, body.shape), 0)
    image = Image.from_array(np.stack([ct, soft]), (5.0 * generator.uniform(0.95, 1.05), 1.0, 1.0))
    return turned(image, (-1, -1, 1))


def turned(image: Image, signs: tuple[int, int, int]) -> Image:
    """The same voxels, with axes that run elsewhere."""
    matrix = image.geometry.matrix
    matrix[:3, :3] *= np.array(signs)
    return replace(image, geometry=image.geometry.model_copy(update={"affine": affine_rows(matrix)}))


def respaced(image: Image, spacing_mm: tuple[float, float, float]) -> Image:
    return turned(replace(image, geometry=Geometry.from_spacing(spacing_mm)), (-1, -1, 1))


@pytest.fixture(scope="module")
def looks() -> TrainingLooks:
    channels = tuple(
        ChannelPlan(name=name, normalization=scheme, use_mask=False, statistics=FOREGROUND)
        for name, scheme in zip(("CT", "soft"), SCHEMES, strict=True)
    )
    usual = UsualImages.of([appearance_of(scan(seed)) for seed in range(12)], SCHEMES)
    return TrainingLooks(channels, "as_stored", usual)


def zscored(image: Image, channel: int) -> Image:
    array = image.array.copy()
    array[channel] = (array[channel] - array[channel].mean()) / array[channel].std()
    return replace(image, array=array)


def subjects(likeness: Likeness) -> set[str]:
    return {oddity.about for oddity in likeness.unlike}


def test_other_cases_of_the_same_kind_raise_no_alarm(looks: TrainingLooks) -> None:
    found = [looks.likeness(scan(seed)) for seed in range(100, 160)]
    assert not [entry for entry in found if entry.unlike]
    assert max(entry.score for entry in found) < 1


def test_swapped_channels_are_named_as_such(looks: TrainingLooks) -> None:
    image = scan(100)
    found = looks.likeness(replace(image, array=image.array[::-1].copy()))
    assert subjects(found) == {"channel order"}
    assert "soft, CT" in found.unlike[0].value
    assert found.score > 1


@pytest.mark.parametrize("channel", [0, 1])
def test_what_was_normalised_before_is_seen(looks: TrainingLooks, channel: int) -> None:
    found = looks.likeness(zscored(scan(100), channel))
    assert "normalisation" in subjects(found)
    assert found.unlike[0].channel == ("CT", "soft")[channel]
    assert "z-scored" in str(found)


def test_intensities_scaled_to_one_are_seen_where_the_unit_matters(looks: TrainingLooks) -> None:
    image = scan(100)
    array = image.array.copy()
    array[0] = (array[0] - array[0].min()) / np.ptp(array[0])
    assert "normalised (from 0 to 1)" in str(looks.likeness(replace(image, array=array)))


@pytest.mark.parametrize(
    ("spacing_mm", "hint"),
    [
        ((50, 10, 10), "10 times too large"),
        ((0.005, 0.001, 0.001), "1000 times too small"),
        ((1, 1, 5), "another order of the axes"),
        ((5, 2, 2), "header tells the truth"),
    ],
)
def test_a_wrong_voxel_size_is_told_with_what_it_may_be(
    looks: TrainingLooks, spacing_mm: tuple[float, float, float], hint: str
) -> None:
    found = looks.likeness(respaced(scan(100), spacing_mm))
    # The extent is odd for the same reason, and not told of.
    assert subjects(found) == {"spacing"}
    assert hint in found.unlike[0].remedy


def test_another_part_of_the_body_has_another_size(looks: TrainingLooks) -> None:
    image = scan(100)
    wide = Image(np.tile(image.array, (1, 6, 3, 3)), image.geometry)
    assert "size" in subjects(looks.likeness(wide))


def test_axes_that_run_elsewhere_are_told(looks: TrainingLooks) -> None:
    (oddity,) = looks.likeness(turned(scan(100), (-1, 1, 1))).unlike
    assert (oddity.about, oddity.value, oddity.training) == ("orientation", "its axes run RPS", "LPS")


def test_a_smoothed_image_is_told() -> None:
    generator = np.random.default_rng(0)
    images = [Image.from_array(generator.normal(0, 10, (4, 30, 30))) for _ in range(7)]
    channel = ChannelPlan(name="x", normalization="zscore", use_mask=False, statistics=FOREGROUND)
    usual = UsualImages.of([appearance_of(image) for image in images[1:]], ["zscore"])
    known = TrainingLooks((channel,), "as_stored", usual)
    assert not known.likeness(images[0]).unlike
    smooth = replace(images[0], array=ndimage.gaussian_filter(images[0].array, (0, 0, 1, 1)))
    (oddity,) = known.likeness(smooth).unlike
    assert oddity.about == "texture"
    # Neighbours that do not know of each other differ by 2 / sqrt(pi) standard deviations in the mean.
    assert oddity.training == "by 1.1"


def test_another_number_of_channels_is_left_to_the_prediction(looks: TrainingLooks) -> None:
    image = scan(100)
    assert looks.likeness(replace(image, array=image.array[:1])) == Likeness(score=0.0)


def test_a_model_that_knows_no_images_judges_by_its_plan(record: Callable[..., ModelRecord]) -> None:
    known = TrainingLooks.of(record(patch=(8, 8, 8)))
    assert known.is_coarse
    foreground = np.random.default_rng(0).uniform(-2, 2, (8, 8, 8))
    assert not known.likeness(Image.from_array(foreground, (1, 1, 1))).unlike
    assert subjects(known.likeness(Image.from_array(foreground, (10, 10, 10)))) == {"spacing"}
    assert subjects(known.likeness(Image.from_array(1000 + foreground, (1, 1, 1)))) == {"intensities"}


def test_the_record_keeps_the_cases_of_earlier_runs_and_replaces_what_it_cannot_read(tmp_path: Path) -> None:
    first, second = Likeness(score=0.5), Likeness(score=0.25)
    write_predictions(tmp_path, [Path("model")], {"b": first, "c": first}, is_coarse=False)
    write_predictions(tmp_path, [Path("model")], {"a": second, "b": second}, is_coarse=False)
    cases = Predictions.read(tmp_path / "predictions.json").cases
    assert cases == {"a": second, "b": second, "c": first}
    (tmp_path / "predictions.json").write_text("[]")
    with pytest.raises(RequestError):
        Predictions.read(tmp_path / "predictions.json")
    write_predictions(tmp_path, [Path("model")], {"d": first}, is_coarse=True)
    assert list(Predictions.read(tmp_path / "predictions.json").cases) == ["d"]


def test_where_the_axes_of_an_array_run_is_not_asked(looks: TrainingLooks) -> None:
    other = turned(scan(20), (-1, 1, 1))
    assert [oddity.about for oddity in looks.likeness(other).unlike] == ["orientation"]
    assert looks.without_axes.likeness(other).unlike == ()
