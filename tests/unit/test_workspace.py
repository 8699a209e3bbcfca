"""Datasets are found by number or by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from autounet.errors import RequestError
from autounet.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    result = Workspace.at(tmp_path)
    (result.raw / "Dataset004_Hippocampus").mkdir(parents=True)
    (result.raw / "Dataset012_Heart").mkdir()
    (result.raw / "notes").mkdir()
    (result.raw / "Dataset013_File").touch()
    (result.preprocessed / "Dataset004_Hippocampus").mkdir(parents=True)
    (result.results / "Dataset050_Trained").mkdir(parents=True)
    return result


def test_a_workspace_is_three_folders_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workspace = Workspace.at(Path("here"))
    assert workspace.raw == tmp_path / "here" / "raw"
    assert workspace.preprocessed == tmp_path / "here" / "preprocessed"
    assert workspace.results == tmp_path / "here" / "results"
    assert workspace.dataset_names() == []


def test_datasets_of_all_three_folders_are_listed_once(workspace: Workspace) -> None:
    assert workspace.dataset_names() == ["Dataset004_Hippocampus", "Dataset012_Heart", "Dataset050_Trained"]


@pytest.mark.parametrize("request_", ["4", "004", "Dataset004_Hippocampus"])
def test_a_dataset_answers_to_its_number_and_to_its_name(request_: str, workspace: Workspace) -> None:
    assert workspace.find_dataset(request_) == "Dataset004_Hippocampus"


def test_two_datasets_of_one_number_must_be_told_apart(workspace: Workspace) -> None:
    (workspace.raw / "Dataset004_Other").mkdir()
    with pytest.raises(RequestError, match="4 is ambiguous: Dataset004_Hippocampus, Dataset004_Other"):
        workspace.find_dataset("4")
    assert workspace.find_dataset("Dataset004_Other") == "Dataset004_Other"


@pytest.mark.parametrize("request_", ["5", "40", "1004", "Hippocampus", "", "²"])
def test_an_unknown_dataset_is_refused_with_those_that_are_there(request_: str, workspace: Workspace) -> None:
    with pytest.raises(RequestError, match="there: Dataset004_Hippocampus, Dataset012_Heart, Dataset050_Trained"):
        workspace.find_dataset(request_)


def test_a_misspelt_name_is_put_right(workspace: Workspace) -> None:
    with pytest.raises(RequestError, match="Did you mean 'Dataset004_Hippocampus'"):
        workspace.find_dataset("Dataset004_Hipocampus")


def test_an_empty_workspace_says_so(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Datasets there: none"):
        Workspace.at(tmp_path).find_dataset("4")
