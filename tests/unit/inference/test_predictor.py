"""A predictor from a raw image to its label map, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from autounet.data.io import Image
from autounet.errors import RequestError
from autounet.geometry import Geometry, Shape3, Triple
from autounet.inference.predictor import Predictor, WindowOptions
from autounet.labels import LabelClass, LabelSchema
from autounet.laterality import Laterality, LateralityMode, mirroring
from autounet.models.folder import ModelRecord, build_network, fold_folder, save_weights, seal_fold
from autounet.networks.base import SegmentationNetwork
from autounet.training.precision import Precision

CPU = torch.device("cpu")
FLOAT32 = Precision(torch.float32, "test")
MakeRecord = Callable[..., ModelRecord]
Build = Callable[[int], SegmentationNetwork]


def predictor_of(record: ModelRecord, network: SegmentationNetwork, mirror: bool = True) -> Predictor:
    return Predictor.of(record, (network,), device=CPU, precision=FLOAT32, mirror=mirror)


def image_of(shape: Shape3, spacing_mm: Triple = (1, 1, 1)) -> Image:
    array = np.random.default_rng(0).random((1, *shape)).astype(np.float32)
    return Image(array, Geometry.from_spacing(spacing_mm))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1)])
def test_a_network_that_thresholds_gives_the_thresholded_image(
    record: MakeRecord, threshold: Build, dims: int, transpose: Shape3
) -> None:
    image = image_of((9, 11, 7))
    image.array[:, :2] = 0  # to be cropped away
    model = record((6,) * dims, transpose=transpose, mirror_axes=tuple(range(dims)))
    label = predictor_of(model, threshold(dims)).predict(image)
    assert label.dtype == np.uint8
    assert np.array_equal(label, image.array[0] > 0.5)


def test_an_image_of_another_spacing_comes_back_in_its_own_frame(record: MakeRecord, threshold: Build) -> None:
    image = image_of((6, 10, 10), spacing_mm=(2, 0.8, 0.8))
    image.array[:] = 0.1
    image.array[0, 2:5, 3:8, 2:7] = 1.0
    label = predictor_of(record((8, 8, 8)), threshold(3)).predict(image)
    assert label.shape == (6, 10, 10)
    assert (label != (image.array[0] > 0.5)).mean() < 0.02


def test_an_empty_image_is_predicted_too(record: MakeRecord, threshold: Build) -> None:
    image = Image(np.zeros((1, 4, 5, 6), dtype=np.float32), Geometry.from_spacing((1, 1, 1)))
    assert not predictor_of(record(), threshold(3)).predict(image).any()


def test_another_number_of_channels_is_refused(record: MakeRecord, threshold: Build) -> None:
    image = Image(np.zeros((2, 4, 5, 6), dtype=np.float32), Geometry.from_spacing((1, 1, 1)))
    with pytest.raises(RequestError, match=r"2 channels.*planned for 1"):
        predictor_of(record(), threshold(3)).predict(image)


@pytest.mark.parametrize(
    ("patch", "mirrors", "shape", "expected"),
    [
        ((8, 8, 8), (), (8, 8, 8), 1),
        ((8, 8, 8), (), (4, 16, 12), 1 * 3 * 2),
        ((8, 8, 8), (0, 1, 2), (4, 16, 12), 6 * 8),
        ((8, 8), (0, 1), (5, 16, 12), 5 * 3 * 2 * 4),
    ],
)
def test_the_number_of_views_is_what_the_network_sees(
    record: MakeRecord,
    threshold: Build,
    patch: tuple[int, ...],
    mirrors: tuple[int, ...],
    shape: Shape3,
    expected: int,
) -> None:
    network = threshold(len(patch))
    predictor = predictor_of(record(patch, mirror_axes=mirrors), network)
    assert predictor.num_views(shape) == expected
    predictor.logits(image_of(shape).array)
    assert sum(call[0] for call in network.calls) == expected  # type: ignore[union-attr]


def test_a_view_takes_time(record: MakeRecord, threshold: Build) -> None:
    assert 0 < predictor_of(record(), threshold(3)).seconds_per_view(1) < 1


def test_mirrors_can_be_left_out(record: MakeRecord, threshold: Build) -> None:
    model = record(mirror_axes=(0, 1, 2))
    assert predictor_of(model, threshold(3)).window.mirror_axes == (0, 1, 2)
    assert predictor_of(model, threshold(3), mirror=False).window.mirror_axes == ()
    assert predictor_of(model, threshold(3)).without_mirrors().window.mirror_axes == ()


def save_fold(model: Path, record: ModelRecord, fold: int, finished: bool = True) -> SegmentationNetwork:
    torch.manual_seed(fold)
    network = build_network(record)
    folder = fold_folder(model, fold)
    save_weights(folder, dict(network.state_dict()))
    seal_fold(folder, record.model_copy(update={"fold": fold, "finished": finished}))
    return network


def test_folds_are_loaded_and_averaged(record: MakeRecord, tmp_path: Path) -> None:
    networks = [save_fold(tmp_path, record(), fold) for fold in (0, 1)]
    save_fold(tmp_path, record(), 2, finished=False)
    image = np.random.default_rng(0).random((1, 9, 8, 8)).astype(np.float32)
    found = Predictor.load(tmp_path, device=CPU, precision=FLOAT32).logits(image)
    single = [predictor_of(record(), network).logits(image) for network in networks]
    np.testing.assert_allclose(found, (single[0] + single[1]) / 2, rtol=1e-4, atol=1e-5)
    second = Predictor.load(tmp_path, folds=["1"], device=CPU, precision=FLOAT32).logits(image)
    np.testing.assert_allclose(second, single[1], rtol=1e-4, atol=1e-5)


def test_a_fold_that_is_not_finished_is_refused(record: MakeRecord, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no finished fold at all; finished: none"):
        Predictor.load(tmp_path, device=CPU, precision=FLOAT32)
    save_fold(tmp_path, record(), 0)
    save_fold(tmp_path, record(), 1, finished=False)
    with pytest.raises(RequestError, match="no finished fold 1; finished: 0"):
        Predictor.load(tmp_path, folds=["0", "1"], device=CPU, precision=FLOAT32)


SIDES = Laterality(axis=2, pairs=((1, 2),), confirmed=True)
TWO = LabelSchema(classes=(LabelClass(name="eye_l", values=(1,)), LabelClass(name="eye_r", values=(2,))))


@pytest.mark.parametrize(
    ("mode", "patch", "axes", "swap_axis"),
    [
        ("swap", (8, 8, 8), (0, 1, 2), 2),
        ("swap", (8, 8), (0, 1), 1),
        ("no_flip", (8, 8, 8), (0, 1), None),
        ("no_flip", (8, 8), (0,), None),
        ("ignore", (8, 8, 8), (0, 1, 2), None),
    ],
)
def test_prediction_minds_sides_as_training_did(
    record: MakeRecord,
    sides: Build,
    mode: LateralityMode,
    patch: tuple[int, ...],
    axes: tuple[int, ...],
    swap_axis: int | None,
) -> None:
    dims = len(patch)
    stored = mirroring(SIDES, mode, tuple(range(dims)), dims).axes
    model = record(patch, labels=TWO, mirror_axes=stored, laterality=SIDES, mode=mode)
    window = predictor_of(model, sides(dims)).window
    assert (window.mirror_axes, window.swap_axis) == (axes, swap_axis)
    if swap_axis is not None:
        assert window.swapped_channels == (0, 2, 1)
    image = np.random.default_rng(0).random((1, 9, 8, 8)).astype(np.float32)
    with_mirrors = predictor_of(model, sides(dims)).logits(image)
    plain = predictor_of(model, sides(dims), mirror=False).logits(image)
    assert np.allclose(with_mirrors, plain, atol=1e-5) == (mode != "ignore")


def test_folds_that_were_mirrored_differently_share_what_they_have_in_common(
    record: MakeRecord, tmp_path: Path
) -> None:
    for fold, (mode, axes) in enumerate([("swap", (0, 1, 2)), ("ignore", (0, 1, 2)), ("no_flip", (0, 1))]):
        model = record(labels=TWO, mirror_axes=axes, laterality=SIDES, mode=mode)
        save_fold(tmp_path, model, fold)
    windows = {
        folds: Predictor.load(tmp_path, folds=folds, device=CPU, precision=FLOAT32).window
        for folds in [("0",), ("0", "1"), ("0", "2"), ("1",), ("2", "1")]
    }
    assert windows["0",].swap_axis == 2
    assert {folds: window.mirror_axes for folds, window in windows.items()} == {
        ("0",): (0, 1, 2),
        ("0", "1"): (0, 1),
        ("0", "2"): (0, 1),
        ("1",): (0, 1, 2),
        ("2", "1"): (0, 1),
    }


def test_a_mask_of_the_stage_before_becomes_a_channel_a_class(record: MakeRecord) -> None:
    class LastChannel(SegmentationNetwork):
        """Says of each class what its channel says."""

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [torch.cat([torch.full_like(x[:, :1], 0.5), x[:, 1:]], dim=1)]

    predictor = predictor_of(record(labels=TWO), LastChannel())
    image = image_of((9, 8, 7))
    earlier = np.random.default_rng(0).integers(0, 3, size=(9, 8, 7)).astype(np.uint8)
    assert np.array_equal(predictor.predict(image, earlier), earlier)


def test_memory_on_a_gpu_decides_where_results_lie(record: MakeRecord, threshold: Build) -> None:
    predictor = predictor_of(record(), threshold(3))
    assert predictor.results_bytes((4, 9, 10)) == 8 * 9 * 10 * 2 * 4
    half = Predictor.of(
        record(), (threshold(3),), device=CPU, precision=FLOAT32, options=WindowOptions(accumulate=torch.float16)
    )
    assert half.results_bytes((4, 9, 10)) == 8 * 9 * 10 * 2 * 2
