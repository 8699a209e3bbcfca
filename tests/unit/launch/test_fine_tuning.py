"""A new run starts from a trained model: reading, matching and telling together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.launch.fine_tuning import report_path, start_from
from autounet.models.folder import FoldName, ModelRecord, build_network, record_path, save_weights
from autounet.models.source import read_starting_point
from autounet.plans import Plan
from autounet.training.config import TrainConfig
from autounet.training.transfer_report import TransferReport

MakePlan = Callable[..., Plan]


class Notes:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def track(self, items: object, description: str, total: int) -> object:
        return items

    def say(self, message: str) -> None:
        self.lines.append(message)

    def status(self, message: str) -> None:
        pass


def record_of(plan: Plan, name: str = "3d_fullres", fold: FoldName = 0) -> ModelRecord:
    configuration = plan.configuration(name)
    return ModelRecord(plan=plan, configuration=configuration, fold=fold, mirror_axes=(), config=TrainConfig())


def save_fold(folder: Path, record: ModelRecord) -> Path:
    torch.manual_seed(0)
    save_weights(folder, dict(build_network(record).state_dict()))
    record.write(record_path(folder))
    return folder


def test_a_model_of_other_channels_and_classes_is_taken_over_and_told(tmp_path: Path, make_plan: MakePlan) -> None:
    source = save_fold(tmp_path / "fold_0", record_of(make_plan()))
    labels = LabelSchema.from_dataset_json({"background": 0, "tumour": 1, "vessel": 2, "organ": 3}, None, "test")
    record = record_of(make_plan(normalizations=("zscore", "ct"), labels=labels))
    record = record.model_copy(update={"plan": record.plan.model_copy(update={"dataset_name": "Dataset002_Other"})})
    network = build_network(record)
    notes = Notes()
    report = start_from(read_starting_point(source, 0), network, record, notes)  # type: ignore[arg-type]
    given, found = read_starting_point(source, 0).source.weights, network.state_dict()
    assert torch.equal(found["encoder.1.0.conv.weight"], given["encoder.1.0.conv.weight"])
    # background, tumour, vessel, organ out of background, organ, tumour
    assert torch.equal(found["heads.0.weight"][[0, 1, 3]], given["heads.0.weight"][[0, 2, 1]])
    assert report.share_taken_over == 1
    assert notes.lines == list(report.lines())
    assert notes.lines[1:] == [
        "adapted: encoder.0.0.conv.weight: channels kept: c0; new, of the mean kernel: c1",
        "adapted: heads.0.weight, heads.0.bias: classes kept: background, tumour, organ; new: vessel",
    ]
    report.write(report_path(tmp_path))
    assert TransferReport.read(tmp_path / "transfer.json") == report
    assert network(torch.zeros(1, 2, 8, 8, 8))[0].shape == (1, 4, 8, 8, 8)
    trained, usual = ([p.requires_grad for p in each.parameters()] for each in (network, build_network(record)))
    assert trained == usual


def test_classes_are_matched_by_name_where_values_are_not_in_the_order_of_names(
    tmp_path: Path, make_plan: MakePlan
) -> None:
    turned = LabelSchema.from_dataset_json({"background": 0, "organ": 2, "tumour": 1}, None, "test")
    source = save_fold(tmp_path, record_of(make_plan()))
    record = record_of(make_plan(labels=turned))
    network = build_network(record)
    start_from(read_starting_point(source, 0), network, record)
    given = read_starting_point(source, 0).source.weights["heads.0.weight"]
    assert torch.equal(network.state_dict()["heads.0.weight"], given[[0, 2, 1]])


def test_another_fold_of_the_same_dataset_is_remarked_on(tmp_path: Path, make_plan: MakePlan) -> None:
    plan = make_plan()
    source = save_fold(tmp_path, record_of(plan, fold=1))
    expected: dict[FoldName, bool] = {0: True, 1: False, "all": True}
    for fold, is_told in expected.items():
        record = record_of(plan, fold=fold)
        report = start_from(read_starting_point(source, 1), build_network(record), record)
        assert any("may have been trained on validation cases" in line for line in report.lines()) == is_told


def test_weights_without_a_record_are_remarked_on(tmp_path: Path, make_plan: MakePlan) -> None:
    record = record_of(make_plan())
    source = save_fold(tmp_path, record)
    record_path(source).unlink()
    report = start_from(read_starting_point(source, 0), build_network(record), record)
    assert report.remarks == (
        "no model.json lies beside the source, so its channels and classes were not matched by name",
    )


def test_a_2d_model_is_no_start_for_a_3d_one(tmp_path: Path, make_plan: MakePlan) -> None:
    source = save_fold(tmp_path, record_of(make_plan(), "2d"))
    record = record_of(make_plan())
    with pytest.raises(RequestError, match="is of a 2D network, and this one is 3D"):
        start_from(read_starting_point(source, 0), build_network(record), record)


def test_a_new_class_is_no_twin_of_one_that_the_source_began_with(tmp_path: Path, make_plan: MakePlan) -> None:
    source = save_fold(tmp_path, record_of(make_plan()))  # with seed 0 and hardly trained
    labels = LabelSchema.from_dataset_json({"background": 0, "vessel": 1, "tumour": 2}, None, "test")
    record = record_of(make_plan(labels=labels))
    torch.manual_seed(0)
    network = build_network(record)
    start_from(read_starting_point(source, 0), network, record)
    given = read_starting_point(source, 0).source.weights["heads.0.weight"]
    new = network.state_dict()["heads.0.weight"][1]
    assert 0 < new.std() < 2
    assert all((new - row).abs().max() > 0.1 for row in given)


def test_what_is_new_depends_on_the_seed_alone(tmp_path: Path, make_plan: MakePlan) -> None:
    source = save_fold(tmp_path, record_of(make_plan()))
    labels = LabelSchema.from_dataset_json({"background": 0, "organ": 1, "new": 2}, None, "test")
    record = record_of(make_plan(labels=labels))
    found: list[Tensor] = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(found))  # what else was drawn does not count, and is not disturbed
        expected = torch.rand(1)
        torch.manual_seed(len(found))
        its = record.model_copy(update={"config": TrainConfig(seed=seed)})
        network = build_network(its)
        torch.manual_seed(len(found))
        start_from(read_starting_point(source, 0), network, its)
        assert torch.equal(torch.rand(1), expected)
        found.append(network.state_dict()["heads.0.weight"])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0][:2], found[2][:2])
    assert not torch.equal(found[0][2], found[2][2])
