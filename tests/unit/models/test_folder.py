"""The model folder: what is found in it, and what is said where nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from autounet.errors import RequestError
from autounet.labels import LabelClass, LabelSchema
from autounet.models.folder import (
    FoldName,
    ModelRecord,
    build_network,
    find_model,
    finished_folds,
    fold_folder,
    load_network,
    model_folder,
    save_weights,
    seal_fold,
    trained_models,
)
from autounet.network_plan import NetworkPlan
from autounet.plans import ChannelPlan, Configuration, IntensityStatistics, Plan
from autounet.training.config import TrainConfig
from autounet.workspace import Workspace

CPU = torch.device("cpu")


def record_of(dataset: str = "Dataset001_A", configuration: str = "2d", fold: FoldName = 0) -> ModelRecord:
    statistics = IntensityStatistics(
        mean=0, std=1, minimum=0, maximum=1, percentile_00_5=0, median=0, percentile_99_5=1
    )
    planned = Configuration(
        name=configuration,
        spacing_mm=(1, 1),
        median_shape=(8, 8),
        patch_size=(8, 8),
        batch_size=2,
        batch_dice=False,
        network=NetworkPlan(
            name="plain",
            features=(2, 4),
            kernel_sizes=((3, 3),) * 2,
            strides=((1, 1), (2, 2)),
            num_convs_encoder=(1, 1),
            num_convs_decoder=(1,),
        ),
    )
    plan = Plan(
        dataset_name=dataset,
        planner="nnunet",
        memory_gib=8.0,
        file_ending=".png",
        labels=LabelSchema(classes=(LabelClass(name="a", values=(1,)),)),
        channels=(ChannelPlan(name="x", normalization="zscore", use_mask=False, statistics=statistics),) * 3,
        transpose_forward=(0, 1, 2),
        median_spacing_mm=(1, 1, 1),
        median_shape=(1, 8, 8),
        configurations={configuration: planned},
        decisions=(),
    )
    return ModelRecord(plan=plan, configuration=planned, fold=fold, mirror_axes=(0, 1), config=TrainConfig())


def workspace_in(folder: Path) -> Workspace:
    return Workspace(raw=folder / "raw", preprocessed=folder / "preprocessed", results=folder / "results")


def save(workspace: Workspace, record: ModelRecord, finished: bool = True) -> Path:
    model = model_folder(workspace, record.plan, record.configuration)
    folder = fold_folder(model, record.fold)
    save_weights(folder, dict(build_network(record).state_dict()))
    seal_fold(folder, record.model_copy(update={"finished": finished}))
    return model


def test_a_folder_is_named_after_dataset_planner_network_and_configuration(tmp_path: Path) -> None:
    workspace, record = workspace_in(tmp_path), record_of()
    assert save(workspace, record) == tmp_path / "results" / "Dataset001_A" / "nnunet__plain__2d"
    assert fold_folder(Path("m"), "all") == Path("m/fold_all")


def test_a_network_comes_back_ready_to_predict(tmp_path: Path) -> None:
    record = record_of()
    torch.manual_seed(0)
    network = build_network(record)
    save_weights(tmp_path, dict(network.state_dict()))
    seal_fold(tmp_path, record)
    found = load_network(tmp_path, record, CPU)
    assert not found.training
    assert not found.deep_supervision
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(found(x)[0], network(x)[0])
    assert found(x)[0].shape == (1, 2, 8, 8)


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    for fold in (3, "all"):
        record = record_of(fold=fold)
        record.write(tmp_path / "model.json")
        assert ModelRecord.read(tmp_path / "model.json") == record


def test_folds_count_once_they_are_finished(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    for fold in (0, 2, "all"):
        model = save(workspace, record_of(fold=fold))
    save(workspace, record_of(fold=1), finished=False)
    (model / "fold_3").mkdir()
    assert sorted(finished_folds(model)) == ["0", "2", "all"]
    assert finished_folds(tmp_path / "nowhere") == {}


def test_the_one_model_is_found_without_a_name(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    model = save(workspace, record_of())
    save(workspace, record_of("Dataset002_B"), finished=False)
    assert find_model(workspace) == model
    assert find_model(workspace, "Dataset001_A", "2d") == model


def test_no_model_is_an_error_that_says_how_to_get_one(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    with pytest.raises(RequestError, match=r"no trained model in .*results.*autounet train"):
        find_model(workspace)
    save(workspace, record_of())
    with pytest.raises(RequestError, match="no trained model of Dataset002_B"):
        find_model(workspace, "Dataset002_B")


def test_several_models_are_listed(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    models = [
        save(workspace, record)
        for record in (record_of(), record_of(configuration="3d_fullres"), record_of("Dataset002_B"))
    ]
    assert trained_models(workspace) == sorted(models)
    with pytest.raises(RequestError, match="3 trained models") as error:
        find_model(workspace)
    assert all(f"--model {model}" in str(error.value) for model in models)
    assert find_model(workspace, configuration="3d_fullres") == models[1]
    assert find_model(workspace, "Dataset002_B") == models[2]
    with pytest.raises(RequestError, match="2 trained models"):
        find_model(workspace, "Dataset001_A")


@pytest.mark.parametrize("damage", ["truncated", "emptied", "removed"])
def test_damaged_weights_are_named(tmp_path: Path, damage: str) -> None:
    record = record_of()
    save_weights(tmp_path, dict(build_network(record).state_dict()))
    seal_fold(tmp_path, record)
    path = tmp_path / "weights.safetensors"
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "emptied" else -10])
    with pytest.raises(RequestError, match=r"weights\.safetensors"):
        load_network(tmp_path, record, CPU)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    record = record_of()
    save_weights(tmp_path, dict(build_network(record).state_dict()))
    seal_fold(tmp_path, record)
    network = record.configuration.network.model_copy(update={"features": (3, 4)})
    other = record.model_copy(update={"configuration": record.configuration.model_copy(update={"network": network})})
    with pytest.raises(RequestError, match="does not belong to the network"):
        load_network(tmp_path, other, CPU)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    model = save(workspace_in(tmp_path), record_of())
    path = model / "fold_0" / "model.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(RequestError, match=r"model\.json is not valid JSON"):
        finished_folds(model)
