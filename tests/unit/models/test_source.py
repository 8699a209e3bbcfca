"""What `--from` may name, and what is found there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from autounet.errors import RequestError
from autounet.models.folder import FoldName, ModelRecord, build_network, save_weights, seal_fold
from autounet.models.source import read_starting_point
from autounet.network_plan import NetworkPlan
from autounet.plans import Plan
from autounet.training.checkpoint import prefixed, save_tensors
from autounet.training.config import TrainConfig

MakePlan = Callable[..., Plan]


def record_of(plan: Plan, fold: FoldName = 0) -> ModelRecord:
    return ModelRecord(
        plan=plan,
        configuration=plan.configuration("3d_fullres"),
        fold=fold,
        mirror_axes=(),
        config=TrainConfig(),
        finished=True,
    )


def save_fold(model: Path, record: ModelRecord) -> Path:
    folder = model / f"fold_{record.fold}"
    torch.manual_seed(0)
    save_weights(folder, dict(build_network(record).state_dict()))
    seal_fold(folder, record)
    return folder


def test_every_form_of_a_path_finds_the_weights_and_their_names(tmp_path: Path, make_plan: MakePlan) -> None:
    model = tmp_path / "nnunet__plain__3d_fullres"
    fold = save_fold(model, record_of(make_plan(normalizations=("zscore", "ct"))))
    for path in (model, fold, fold / "weights.safetensors"):
        start = read_starting_point(path, 0)
        assert start.source.path == str(fold / "weights.safetensors")
        assert start.source.ports is not None
        assert [port.name for port in start.source.ports.inputs] == ["c0", "c1"]
        assert [port.name for port in start.source.ports.outputs] == ["background", "organ", "tumour"]
        assert "heads.0.weight" in start.source.weights


def test_weights_alone_have_no_names(tmp_path: Path) -> None:
    save_weights(tmp_path, {"a": torch.ones(1)})
    start = read_starting_point(tmp_path / "weights.safetensors", 0)
    assert start.source.ports is None
    assert start.record is None


def test_of_a_checkpoint_the_averaged_weights_count(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    tensors = {
        **prefixed("network", {"a": torch.zeros(1), "running": torch.full((1,), 3.0)}),
        **prefixed("average", {"a": torch.ones(1)}),
        **prefixed("optimizer", {"0.step": torch.ones(1)}),
    }
    save_tensors(path, tensors, {"state": "{}"})
    for source in (path, tmp_path):  # a fold that was stopped has nothing else
        assert read_starting_point(source, 0).source.weights == {"a": torch.ones(1), "running": torch.full((1,), 3.0)}
    save_tensors(path, prefixed("network", {"a": torch.zeros(1)}), {})
    assert read_starting_point(path, 0).source.weights == {"a": torch.zeros(1)}


def test_of_several_folds_the_runs_own_is_taken_then_all_then_the_only_one(tmp_path: Path, make_plan: MakePlan) -> None:
    plan = make_plan()
    save_fold(tmp_path, record_of(plan, 1))
    assert Path(read_starting_point(tmp_path, 4).source.path).parent.name == "fold_1"
    save_fold(tmp_path, record_of(plan, 2))
    with pytest.raises(RequestError, match=r"has no fold 4, but 2 others; choose one:\n  --from .*fold_1\n"):
        read_starting_point(tmp_path, 4)
    assert Path(read_starting_point(tmp_path, 2).source.path).parent.name == "fold_2"
    save_fold(tmp_path, record_of(plan, "all"))
    assert Path(read_starting_point(tmp_path, 4).source.path).parent.name == "fold_all"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "nowhere", "does not exist. --from takes a model folder"),
        (lambda folder: folder, "holds no trained fold"),
        (lambda folder: _write(folder / "model.pth"), "pickled weights are not loaded"),
        (lambda folder: _write(folder / "weights.safetensors"), "is damaged"),
    ],
)
def test_what_is_no_source_is_told_with_what_would_be(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        read_starting_point(make(tmp_path), 0)


def _write(path: Path) -> Path:
    path.write_bytes(b"\x80\x04no weights")
    return path


def test_a_configuration_takes_the_sources_network_where_it_can(tmp_path: Path, make_plan: MakePlan) -> None:
    plan = make_plan()
    record = record_of(plan)
    start = read_starting_point(save_fold(tmp_path, record), 0)
    own = record.configuration
    wide = own.model_copy(update={"network": own.network.model_copy(update={"features": (6, 12)})})
    shaped = start.shape(wide)
    assert shaped.network == own.network
    assert shaped.patch_size == wide.patch_size
    assert start.shape(plan.configuration("2d")) == plan.configuration("2d")
    deep = NetworkPlan(
        name="plain",
        features=(4, 8, 8, 8, 8),
        kernel_sizes=((3, 3, 3),) * 5,
        strides=((1, 1, 1), *((2, 2, 2),) * 4),
        num_convs_encoder=(1,) * 5,
        num_convs_decoder=(1,) * 4,
    )
    deeper = record.model_copy(
        update={"configuration": own.model_copy(update={"network": deep, "patch_size": (16, 16, 16)})}
    )
    start = read_starting_point(save_fold(tmp_path / "deep", deeper), 0)
    # Halved four times, 42 becomes 48 voxels, and 8 the two that the coarsest stage needs.
    shaped = start.shape(own.model_copy(update={"patch_size": (8, 42, 64)}))
    assert shaped.network == deep
    assert shaped.patch_size == (32, 48, 64)
