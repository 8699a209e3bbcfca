"""What of nnU-Net's cannot be mapped is refused with file, value and reason; masks of what can are in tests/golden."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.models.folder import trained_folds
from autounet.models.nnunet.checkpoint import read_checkpoint
from autounet.models.nnunet.importing import ImportRequest, import_model
from autounet.models.nnunet.plans import training_plan

Content = dict[str, Any]


@pytest.fixture
def theirs(tmp_path: Path, repository: Path) -> Path:
    """nnU-Net's folder of one fold: two channels, CT and z-score."""
    source = repository / "tests" / "golden" / "nnunet_models" / "anisotropic_ct" / "model"
    return Path(shutil.copytree(source, tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"))


def edit(path: Path, change: Callable[[Content], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def entry(content: Content) -> Content:
    found: Content = content["configurations"]["3d_fullres"]
    return found


def arguments(content: Content) -> Content:
    found: Content = entry(content)["architecture"]["arch_kwargs"]
    return found


PLAN_CHANGES: dict[str, tuple[Callable[[Content], object], str]] = {
    "architecture": (
        lambda plans: entry(plans)["architecture"].update(network_class_name="a.b.PrimusM"),
        "the network is a PrimusM; only PlainConvUNet and ResidualEncoderUNet",
    ),
    "batch norm": (
        lambda plans: arguments(plans).update(norm_op="torch.nn.modules.batchnorm.BatchNorm3d"),
        "norm_op is .*BatchNorm3d, not InstanceNorm3d",
    ),
    "eps": (lambda plans: arguments(plans).update(norm_op_kwargs={"eps": 1e-3}), "eps is 0.001, not 1e-05"),
    "relu": (lambda plans: arguments(plans).update(nonlin="torch.nn.ReLU"), "nonlin is torch.nn.ReLU"),
    "slope": (lambda plans: arguments(plans).update(nonlin_kwargs={"negative_slope": 0.2}), "slope .* is 0.2"),
    "order": (lambda plans: arguments(plans).update(nonlin_first=True), "non-linearity comes before the norm"),
    "one dimension": (lambda plans: arguments(plans).update(conv_op="torch.nn.Conv1d"), "conv_op is torch.nn.Conv1d"),
    "unknown argument": (
        lambda plans: arguments(plans).update(squeeze_excitation=True),
        "squeeze_excitation' = True is not known",
    ),
    "even kernel": (
        lambda plans: arguments(plans).update(kernel_sizes=[[2, 3, 3], [3, 3, 3], [3, 3, 3]]),
        "kernel_sizes must be odd",
    ),
    "wider": (
        lambda plans: arguments(plans).update(features_per_stage=[4, 6, 9]),
        "holds the weights of another network than its plans tell: .*has shape",
    ),
    "deeper": (
        lambda plans: arguments(plans).update(n_conv_per_stage=[3, 2, 2]),
        r"encoder\.0\.2\.conv\.weight is missing",
    ),
    "shallower": (lambda plans: arguments(plans).update(n_conv_per_stage=[1, 2, 2]), r"encoder\.0\.1.* is not known"),
    "preprocessor": (lambda plans: entry(plans).update(preprocessor_name="Mine"), "preprocessor Mine is not nnU-Net's"),
    "normalisation": (
        lambda plans: entry(plans).update(normalization_schemes=["CTNormalization", "Mine"]),
        "channel 1 is normalised by Mine",
    ),
    "channels": (
        lambda plans: entry(plans).update(normalization_schemes=["CTNormalization"]),
        "1 normalization_schemes and 2 use_mask_for_norm, but dataset.json has 2 channels",
    ),
    "no intensities": (
        lambda plans: plans.pop("foreground_intensity_properties_per_channel"),
        "channel 0 is normalised as CT, but its intensities are missing",
    ),
    "resampling": (lambda plans: entry(plans).update(resampling_fn_data="mine"), "resampling_fn_data is mine"),
    "order of logits": (
        lambda plans: entry(plans)["resampling_fn_probabilities_kwargs"].update(order=3),
        "resampling_fn_probabilities: order 3",
    ),
    "argument of resampling": (
        lambda plans: entry(plans)["resampling_fn_data_kwargs"].update(clever=1),
        "'resampling_fn_data_kwargs.clever' = 1 is not known",
    ),
    "reader": (lambda plans: plans.update(image_reader_writer="Mine"), "images were read by Mine"),
    "label manager": (lambda plans: plans.update(label_manager="Mine"), "label_manager is Mine"),
    "inheritance": (lambda plans: entry(plans).update(inherits_from="3d_fullres"), "inherits from itself"),
    "parent": (lambda plans: entry(plans).update(inherits_from="2d"), "configuration '2d' is missing"),
    "missing key": (lambda plans: entry(plans).pop("patch_size"), "'patch_size' is missing"),
    "no architecture": (lambda plans: entry(plans).pop("architecture"), "UNet_class_name, which old plans have"),
    "cascade": (
        lambda plans: (
            entry(plans).update(previous_stage="low"),
            plans["configurations"].update(low={**entry(plans), "previous_stage": None}),
        ),
        "encoder.0.0.conv.weight has shape",
    ),
}


@pytest.mark.parametrize("name", PLAN_CHANGES)
def test_what_cannot_be_mapped_is_refused_and_nothing_appears(name: str, theirs: Path, tmp_path: Path) -> None:
    change, said = PLAN_CHANGES[name]
    edit(theirs / "plans.json", change)
    with pytest.raises(RequestError, match=said):
        import_model(ImportRequest(theirs), tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == [theirs.name]


DESCRIPTION_CHANGES: dict[str, tuple[Callable[[Content], object], str]] = {
    "gap": (lambda content: content["labels"].update(b=5, ignore=6), r"\[0, 1, 5\] are not consecutive"),
    "another number of classes": (lambda content: content["labels"].update(c=3, ignore=4), "heads.0.weight has shape"),
    "ending": (lambda content: content.pop("file_ending"), "'file_ending' is missing"),
}


@pytest.mark.parametrize("name", DESCRIPTION_CHANGES)
def test_labels_that_are_not_the_networks_are_refused(name: str, theirs: Path, tmp_path: Path) -> None:
    change, said = DESCRIPTION_CHANGES[name]
    edit(theirs / "dataset.json", change)
    with pytest.raises(RequestError, match=said):
        import_model(ImportRequest(theirs), tmp_path / "model")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this ran",))


def test_a_checkpoint_that_could_run_something_is_not_loaded(
    theirs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = theirs / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    torch.save({**content, "logging": Evil()}, path)
    with pytest.raises(RequestError, match=r"checkpoint_final\.pth holds print, which is not data"):
        import_model(ImportRequest(theirs), tmp_path / "model")
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(RequestError, match=r"not data|damaged or no checkpoint"):
        read_checkpoint(path)
    assert "this ran" not in capsys.readouterr().out


def test_numpys_scalars_are_data(theirs: Path) -> None:
    path = theirs / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    kinds = (np.float64, np.float32, np.int64, np.int32)
    torch.save({**content, "logging": {"x": [kind(1) for kind in kinds]}}, path)
    assert read_checkpoint(path).current_epoch == 3


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_checkpoint_is_told(share: float, theirs: Path) -> None:
    path = theirs / "fold_0" / "checkpoint_final.pth"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RequestError, match=r"checkpoint_final\.pth is damaged or no checkpoint"):
        read_checkpoint(path)


def test_what_is_no_checkpoint_of_nnunet_is_told(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "x.pth")
    with pytest.raises(RequestError, match="no checkpoint of nnU-Net v2"):
        read_checkpoint(tmp_path / "x.pth")
    with pytest.raises(RequestError, match="does not exist"):
        read_checkpoint(tmp_path / "y.pth")


def test_weights_that_are_not_numbers_are_refused(theirs: Path, tmp_path: Path) -> None:
    path = theirs / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    content["network_weights"]["decoder.seg_layers.1.bias"][0] = float("nan")
    torch.save(content, path)
    with pytest.raises(RequestError, match=r"heads\.0\.bias holds NaN"):
        import_model(ImportRequest(theirs), tmp_path / "model")


def test_a_folder_that_is_another_is_told_with_what_was_meant(theirs: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=rf"Did you mean one of these\?\n  {theirs}"):
        import_model(ImportRequest(theirs.parent), tmp_path / "model")
    with pytest.raises(RequestError, match=rf"Did you mean {theirs}, with --fold 0"):
        import_model(ImportRequest(theirs / "fold_0"), tmp_path / "model")
    with pytest.raises(RequestError, match="nowhere is no folder"):
        import_model(ImportRequest(tmp_path / "nowhere"), tmp_path / "model")


def test_a_fold_or_checkpoint_that_is_not_there_is_told_with_those_that_are(theirs: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="fold 3; folds that have one: 0"):
        import_model(ImportRequest(theirs, ("0", "3")), tmp_path / "model")
    with pytest.raises(RequestError, match=r"Checkpoints there: checkpoint_final\.pth \(--checkpoint\)"):
        import_model(ImportRequest(theirs, checkpoint="checkpoint_best.pth"), tmp_path / "model")


def test_the_first_stage_must_lie_beside_the_second(repository: Path, tmp_path: Path) -> None:
    name = "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"
    source = repository / "tests" / "golden" / "nnunet_models" / "cascade" / name
    alone = Path(shutil.copytree(source, tmp_path / "there" / name))
    with pytest.raises(RequestError, match="'3d_lowres', is not beside it"):
        import_model(ImportRequest(alone), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_nnunet_noted_of_the_training_comes_along(theirs: Path, tmp_path: Path) -> None:
    (theirs / "fold_0" / "validation").mkdir()
    (theirs / "fold_0" / "validation" / "summary.json").write_text(
        '{"foreground_mean": {"Dice": 0.75}, "mean": {"1": {"Dice": 0.5}, "2": {"Dice": NaN}}}'
    )
    intensities = json.loads((theirs / "plans.json").read_text())["foreground_intensity_properties_per_channel"]
    fingerprint = {
        "spacings": [[5, 1, 1], [4, 2, 1], [6, 1, 1]],
        "shapes_after_crop": [[10, 20, 30], [11, 22, 33], [12, 18, 30]],
        "foreground_intensity_properties_per_channel": intensities,
    }
    (theirs / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    import_model(ImportRequest(theirs), tmp_path / "model")
    record = trained_folds(tmp_path / "model")["0"]
    assert record.validation_dice == 0.75
    assert record.class_dice == {"a": 0.5, "b": None}
    assert record.training_data is not None
    assert record.training_data.num_cases == 3
    assert record.training_data.usual is not None
    assert not record.training_data.usual.intensities  # nobody knows how the images look
    assert record.training_data.spacing_mm.median == (5, 1, 1)
    assert record.training_data.shape.maximum == (12, 22, 33)
    assert record.origin is not None
    assert (record.origin.trainer, record.origin.num_epochs) == ("nnUNetTrainer", 3)
    assert record.config.precision == "auto", "as nnU-Net, which computes in half precision on a GPU"
    assert record.mirror_axes == (0, 1, 2)


def test_a_plan_alone_is_taken_over_for_training(theirs: Path) -> None:
    description = DatasetDescription.load(theirs)
    plan = training_plan(theirs / "plans.json", description, "nnunet-like")
    assert plan.planner == "nnunet-like"
    assert plan.dataset_name == theirs.name
    assert plan.transpose_forward == (1, 2, 0)
    configuration = plan.configuration("3d_fullres")
    assert (configuration.patch_size, configuration.batch_size) == ((6, 16, 12), 2)
    assert [(channel.normalization, channel.use_mask) for channel in plan.channels] == [("ct", False), ("zscore", True)]
    edit(theirs / "plans.json", lambda plans: entry(plans)["resampling_fn_seg_kwargs"].update(order=0))
    with pytest.raises(RequestError, match="label maps are resampled linearly"):
        training_plan(theirs / "plans.json", description, "nnunet-like")


@pytest.mark.parametrize(
    ("reader", "spacing", "grid"),
    [
        ("SimpleITKIO", 1.0, "as_stored"),
        ("NaturalImage2DIO", 3.0, "unit_spacing"),
        ("NibabelIOWithReorient", 1.0, "ras"),
        ("Tiff3DIO", 1.0, "unit_spacing"),
        ("Tiff3DIO", 2.0, "as_stored"),
    ],
)
def test_what_a_reader_does_to_the_grid_is_done(theirs: Path, reader: str, spacing: float, grid: str) -> None:
    update = {"image_reader_writer": reader, "original_median_spacing_after_transp": [spacing] * 3}
    edit(theirs / "plans.json", lambda plans: plans.update(update))
    assert training_plan(theirs / "plans.json", DatasetDescription.load(theirs), "x").grid == grid
