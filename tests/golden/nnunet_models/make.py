"""Make tiny trained models of nnU-Net's, and what nnU-Net predicts with them. Needs `pip install nnunetv2==2.8.1`.

    python make.py

Weights are random, so masks are speckled: what counts is that they are reproduced. Each folder holds `model/` as
nnU-Net leaves it, `images/`, `masks/` by `nnUNetPredictor`, and `logits.npz`: a patch and nnU-Net's logits of it.
"""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image

HERE = Path(__file__).parent
RESAMPLE = "resample_data_or_seg_to_shape"
INTENSITIES = {
    "max": 900.0,
    "mean": 40.0,
    "median": 35.0,
    "min": -950.0,
    "percentile_00_5": -200.0,
    "percentile_99_5": 310.0,
    "std": 90.0,
}
LABELS = {"background": 0, "b": 2, "a": 1}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "rim": 3}


def architecture(kind: str, dims: int, kernels: list[Any], strides: list[Any], **more: Any) -> dict[str, Any]:
    is_plain = kind == "PlainConvUNet"
    num_stages = len(kernels)
    depth = {"n_conv_per_stage": [2] * num_stages} if is_plain else {"n_blocks_per_stage": [1, 2, 2][:num_stages]}
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
        "arch_kwargs": {
            "n_stages": num_stages,
            "features_per_stage": [4, 6, 8][:num_stages],
            "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
            "kernel_sizes": kernels,
            "strides": strides,
            **depth,
            "n_conv_per_stage_decoder": [2 if is_plain else 1] * (num_stages - 1),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
            **more,
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def configuration(patch: list[int], spacing: list[float], schemes: list[str], masks: list[bool], **more: Any) -> Any:
    def how(order: int, is_seg: bool = False) -> dict[str, Any]:
        return {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}

    return {
        "data_identifier": "x",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch,
        "median_image_size_in_voxels": [float(size) for size in patch],
        "spacing": spacing,
        "normalization_schemes": schemes,
        "use_mask_for_norm": masks,
        "resampling_fn_data": RESAMPLE,
        "resampling_fn_seg": RESAMPLE,
        "resampling_fn_data_kwargs": how(3),
        "resampling_fn_seg_kwargs": how(1, is_seg=True),
        "resampling_fn_probabilities": RESAMPLE,
        "resampling_fn_probabilities_kwargs": how(1),
        "batch_dice": False,
        **more,
    }


def plans(configurations: dict[str, Any], num_channels: int, reader: str, transpose: list[int]) -> dict[str, Any]:
    return {
        "dataset_name": "Dataset009_Tiny",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [2.0, 1.0, 1.0],
        "original_median_shape_after_transp": [12, 24, 24],
        "image_reader_writer": reader,
        "transpose_forward": transpose,
        "transpose_backward": np.argsort(transpose).tolist(),
        "configurations": configurations,
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(index): INTENSITIES for index in range(num_channels)},
    }


def dataset(num_channels: int, labels: dict[str, Any], ending: str, order: list[int] | None = None) -> dict[str, Any]:
    content = {
        "channel_names": {str(index): f"c{index}" for index in range(num_channels)},
        "labels": labels,
        "numTraining": 2,
        "file_ending": ending,
    }
    return {**content, "regions_class_order": order} if order else content


def nnunet(module: str, name: str) -> Any:
    """Something of nnU-Net's, which the environment of this package lacks."""
    return getattr(importlib.import_module(f"nnunetv2.{module}"), name)


def build(their_plans: Any, their_dataset: Any, name: str) -> torch.nn.Module:
    manager = nnunet("utilities.plans_handling.plans_handler", "PlansManager")(their_plans)
    num_inputs = nnunet("utilities.label_handling.label_handling", "determine_num_input_channels")
    entry = manager.get_configuration(name)
    network: torch.nn.Module = nnunet("utilities.get_network_from_plans", "get_network_from_plans")(
        entry.network_arch_class_name,
        entry.network_arch_init_kwargs,
        entry.network_arch_init_kwargs_req_import,
        num_inputs(manager, entry, their_dataset),
        manager.get_label_manager(their_dataset).num_segmentation_heads,
        deep_supervision=False,
    )
    with torch.no_grad():
        for parameter in network.parameters():  # norms and biases too, which begin as ones and zeros
            parameter.add_(0.3 * torch.randn(parameter.shape))
    network.eval()
    return network


def write_model(
    folder: Path,
    their_plans: Any,
    their_dataset: Any,
    name: str,
    *,
    mirrors: Any = (0, 1, 2),
    folds: tuple[Any, ...] = (0,),
) -> list[torch.nn.Module]:
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(their_plans, indent=1))
    (folder / "dataset.json").write_text(json.dumps(their_dataset, indent=1))
    networks = []
    for fold in folds:
        network = build(their_plans, their_dataset, name)
        (folder / f"fold_{fold}").mkdir()
        checkpoint = {
            "network_weights": dict(network.state_dict()),
            "optimizer_state": {"state": {}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
            "grad_scaler_state": None,
            "logging": {"mean_fg_dice": [np.float32(0.5)], "ema_fg_dice": [np.float64(0.5)], "lrs": [0.01]},
            "_best_ema": np.float32(0.5),
            "current_epoch": 3,
            "init_args": {
                "plans": their_plans,
                "configuration": name,
                "fold": fold,
                "dataset_json": their_dataset,
                "device": torch.device("cpu"),
            },
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": mirrors,
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
        networks.append(network)
    return networks


def wrap(model: Path, prefix: str) -> None:
    """Name the weights as `torch.compile` or `DistributedDataParallel` does."""
    for path in model.glob("fold_*/checkpoint_final.pth"):
        checkpoint = torch.load(path, weights_only=False)
        weights = checkpoint["network_weights"]
        checkpoint["network_weights"] = {prefix + key: value for key, value in weights.items()}
        torch.save(checkpoint, path)


def save_logits(folder: Path, network: torch.nn.Module, num_inputs: int, patch: list[int]) -> None:
    x = torch.randn(1, num_inputs, *patch)
    with torch.no_grad():
        np.savez_compressed(folder / "logits.npz", patch=x.numpy(), logits=network(x).numpy())


def body(shape: tuple[int, ...], generator: np.random.Generator, scale: float, shift: float) -> np.ndarray:
    """Blobs in a box with zeros around it and a hole of zeros inside."""
    coarse = generator.normal(size=[max(2, size // 4) for size in shape])
    smooth = torch.nn.functional.interpolate(torch.from_numpy(coarse)[None, None], size=shape, mode="trilinear")[0, 0]
    image = np.round(smooth.numpy() * scale + shift) + 1
    image[:, :2] = 0
    image[:, :, -3:] = 0
    image[shape[0] // 2, shape[1] // 2, shape[2] // 2] = 0
    return image.astype(np.int16)


def write_images(
    folder: Path, spacing_xyz: tuple[float, ...], shape: tuple[int, ...], num_channels: int, turned: bool = False
) -> None:
    (folder / "images").mkdir()
    generator = np.random.default_rng(5)
    affine = np.diag([*spacing_xyz, 1.0])
    if turned:  # x runs down, y to the left, z to the front
        x, y, z = spacing_xyz
        affine = np.array([[0, -y, 0, 9], [0, 0, z, 4], [-x, 0, 0, 7], [0, 0, 0, 1.0]])
    for channel in range(num_channels):
        voxels = body(shape, generator, 150.0, 60.0)
        nib.save(nib.Nifti1Image(voxels.T, affine), folder / "images" / f"case_{channel:04d}.nii.gz")


def predict(folder: Path, model: Path, ending: str, folds: tuple[Any, ...] = (0,)) -> None:
    predictor_class = nnunet("inference.predict_from_raw_data", "nnUNetPredictor")
    predictor = predictor_class(device=torch.device("cpu"), allow_tqdm=False, perform_everything_on_device=False)
    predictor.initialize_from_trained_model_folder(str(model), use_folds=folds)
    images = [[str(path) for path in sorted((folder / "images").iterdir())]]
    (folder / "masks").mkdir()
    predictor.predict_from_files_sequential(images, [str(folder / "masks" / "case")], save_probabilities=False)
    for path in (folder / "masks").iterdir():
        if not path.name.endswith(ending):
            path.unlink()


def start(name: str) -> Path:
    shutil.rmtree(HERE / name, ignore_errors=True)
    (HERE / name).mkdir()
    torch.manual_seed(len(name))
    return HERE / name


def anisotropic_ct() -> None:
    """Thick slices, axes turned, two channels, an ignore label, kernels and strides that differ by axis."""
    folder = start("anisotropic_ct")
    net = architecture("PlainConvUNet", 3, [[1, 3, 3], [3, 3, 3], [3, 3, 3]], [[1, 1, 1], [1, 2, 2], [2, 2, 2]])
    entry = configuration(
        [6, 16, 12], [4.0, 1.1, 1.2], ["CTNormalization", "ZScoreNormalization"], [True, True], architecture=net
    )
    theirs = plans({"3d_fullres": entry}, 2, "SimpleITKIO", [1, 2, 0])
    described = dataset(2, {**LABELS, "ignore": 3}, ".nii.gz")
    (network,) = write_model(folder / "model", theirs, described, "3d_fullres")
    save_logits(folder, network, 2, [6, 16, 12])
    write_images(folder, (1.4, 5.0, 1.0), (22, 14, 18), 2)
    predict(folder, folder / "model", ".nii.gz")


def residual_regions() -> None:
    """Residual encoder, regions, two folds, joint resampling by force, weights named by torch.compile."""
    folder = start("residual_regions")
    net = architecture("ResidualEncoderUNet", 3, [[3, 3, 3]] * 3, [[1, 1, 1], [2, 2, 2], [2, 2, 1]])
    entry = configuration([8, 12, 10], [1.3, 1.1, 1.0], ["ZScoreNormalization"], [True], architecture=net)
    for kwargs in ("resampling_fn_data_kwargs", "resampling_fn_probabilities_kwargs"):
        entry[kwargs]["force_separate_z"] = False
    theirs = plans({"3d_fullres": entry}, 1, "SimpleITKIO", [0, 1, 2])
    described = dataset(1, REGIONS, ".nii.gz", order=[1, 2, 3])
    networks = write_model(folder / "model", theirs, described, "3d_fullres", mirrors=(0, 2), folds=(0, 1))
    save_logits(folder, networks[0], 1, [8, 12, 10])
    write_images(folder, (1.0, 1.2, 4.5), (7, 17, 16), 1)
    predict(folder, folder / "model", ".nii.gz", folds=(0, 1))
    wrap(folder / "model", "_orig_mod.")


def old_plan_2d() -> None:
    """2D over a volume; a plan from before `architecture`, with the old name of the intensities."""
    folder = start("old_plan_2d")
    entry = configuration([16, 12], [1.1, 0.9], ["RescaleTo01Normalization"], [False])
    entry |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 6,
        "n_conv_per_stage_encoder": [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
        "num_pool_per_axis": [2, 2],
        "pool_op_kernel_sizes": [[1, 1], [2, 2], [2, 2]],
        "conv_kernel_sizes": [[3, 3], [3, 3], [3, 3]],
    }
    theirs = plans({"2d": entry}, 1, "NibabelIO", [0, 1, 2])
    described = dataset(1, LABELS, ".nii.gz")
    (network,) = write_model(folder / "model", json.loads(json.dumps(theirs)), described, "2d", mirrors=(0, 1))
    save_logits(folder, network, 1, [16, 12])
    write_images(folder, (1.0, 1.3, 5.0), (3, 23, 17), 1)
    predict(folder, folder / "model", ".nii.gz")


def colour_2d() -> None:
    """Colour PNG; residual 2D; no mirrors; numbers instead of lists in the architecture."""
    folder = start("colour_2d")
    net = architecture("ResidualEncoderUNet", 2, [[5, 3], [3, 3]], [[1, 1], [2, 4]], features_per_stage=4)
    entry = configuration([16, 16], [1.0, 1.0], ["RGBTo01Normalization"] * 3, [False] * 3, architecture=net)
    theirs = plans({"2d": entry}, 3, "NaturalImage2DIO", [0, 1, 2])
    described = dataset(3, LABELS, ".png")
    (network,) = write_model(folder / "model", theirs, described, "2d", mirrors=None)
    save_logits(folder, network, 3, [16, 16])
    (folder / "images").mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (27, 33, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "images" / "case_0000.png")
    predict(folder, folder / "model", ".png")


def reoriented() -> None:
    """An image that lies otherwise, turned to RAS; resampling by PyTorch; no bias, no affine norm; fold `all`."""
    folder = start("reoriented")
    torch.manual_seed(4)  # of those that give several classes
    net = architecture(
        "PlainConvUNet",
        3,
        [[3, 3, 3]] * 2,
        [[1, 1, 1], [2, 2, 2]],
        conv_bias=False,
        norm_op_kwargs={"eps": 1e-5},
    )
    entry = configuration([8, 8, 8], [1.5, 1.0, 1.2], ["NoNormalization"], [False], architecture=net)
    for what in ("data", "seg", "probabilities"):
        entry[f"resampling_fn_{what}"] = "resample_torch_fornnunet"
        entry[f"resampling_fn_{what}_kwargs"] = {"is_seg": what == "seg", "force_separate_z": None}
    theirs = plans({"3d_fullres": entry}, 1, "NibabelIOWithReorient", [0, 1, 2])
    described = dataset(1, LABELS, ".nii.gz")
    (network,) = write_model(folder / "model", theirs, described, "3d_fullres", folds=("all",))
    save_logits(folder, network, 1, [8, 8, 8])
    write_images(folder, (1.0, 1.5, 6.0), (5, 14, 17), 1, turned=True)
    predict(folder, folder / "model", ".nii.gz", folds=("all",))


def order_z() -> None:
    """Slices separated by force, linear between them, splines of order 2 within; a network compiled and distributed."""
    folder = start("order_z")
    net = architecture("PlainConvUNet", 3, [[3, 3, 3]] * 2, [[1, 1, 1], [2, 2, 2]])
    entry = configuration([8, 12, 12], [1.2, 1.0, 1.0], ["ZScoreNormalization"], [False], architecture=net)
    for what in ("data", "probabilities"):
        entry[f"resampling_fn_{what}_kwargs"] |= {"order_z": 1, "force_separate_z": True}
    entry["resampling_fn_data_kwargs"]["order"] = 2
    theirs = plans({"3d_fullres": entry}, 1, "SimpleITKIO", [0, 1, 2])
    described = dataset(1, LABELS, ".nii.gz")
    (network,) = write_model(folder / "model", theirs, described, "3d_fullres")
    save_logits(folder, network, 1, [8, 12, 12])
    write_images(folder, (1.1, 1.2, 2.0), (9, 17, 16), 1)
    predict(folder, folder / "model", ".nii.gz")
    wrap(folder / "model", "_orig_mod.module.")


def two_stages(name: str, described: dict[str, Any], num_inputs: int) -> None:
    """A cascade; the second stage has a channel more for each foreground label. Logits only."""
    folder = start(name)
    net = architecture("PlainConvUNet", 3, [[3, 3, 3]] * 2, [[1, 1, 1], [2, 2, 2]])
    low = configuration([8, 8, 8], [2.0, 2.0, 2.0], ["ZScoreNormalization"], [False], architecture=net)
    full = configuration([8, 12, 8], [1.0, 1.0, 1.0], ["ZScoreNormalization"], [False], architecture=net)
    entries = {
        "3d_lowres": {**low, "next_stage": "3d_cascade_fullres"},
        "3d_fullres": full,
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    theirs = plans(entries, 1, "SimpleITKIO", [0, 1, 2])
    write_model(folder / "nnUNetTrainer__nnUNetPlans__3d_lowres", theirs, described, "3d_lowres")
    second = folder / "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"
    (network,) = write_model(second, theirs, described, "3d_cascade_fullres")
    save_logits(folder, network, num_inputs, [8, 12, 8])


def cascade() -> None:
    """Two stages, two classes."""
    two_stages("cascade", dataset(1, LABELS, ".nii.gz"), 3)


def cascade_regions() -> None:
    """Two stages, three regions of three labels: a channel a label, not a region."""
    two_stages("cascade_regions", dataset(1, REGIONS, ".nii.gz", order=[1, 2, 3]), 4)


if __name__ == "__main__":
    for make in (
        anisotropic_ct,
        residual_regions,
        old_plan_2d,
        colour_2d,
        reoriented,
        order_z,
        cascade,
        cascade_regions,
    ):
        make()
