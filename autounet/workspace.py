"""Where things are: raw/, preprocessed/ and results/ as one object, without globals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from autounet.errors import RequestError
from autounet.records import nearest

_DATASET_NAME = re.compile(r"Dataset(\d{3})_.+")


def dataset_number(name: str) -> int:
    """The number in a full name: 4 of `Dataset004_Hippocampus`."""
    return int(name[7:10])


@dataclass(frozen=True)
class Workspace:
    """The three storage folders of a user.

    Attributes:
        raw: Datasets as they came, `DatasetXXX_Name/`, never written to.
        preprocessed: What planning and preprocessing made of them.
        results: Trained models and their scores.
    """

    raw: Path
    preprocessed: Path
    results: Path

    @classmethod
    def at(cls, root: Path) -> Workspace:
        """The workspace in one folder."""
        root = root.absolute()
        return cls(raw=root / "raw", preprocessed=root / "preprocessed", results=root / "results")

    def find_dataset(self, request: str) -> str:
        """The full name of the dataset meant by `4`, `004` or `Dataset004_Hippocampus`.

        Raises:
            RequestError: No dataset, or more than one, answers to it.
        """
        names = self.dataset_names()
        if request.isdecimal():
            matches = [name for name in names if dataset_number(name) == int(request)]
        else:
            matches = [name for name in names if name == request]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise RequestError(
                f"dataset {request} is ambiguous: {', '.join(matches)}. Give the full name, or rename one."
            )
        known = ", ".join(names) if names else "none"
        raise RequestError(
            f"no dataset '{request}' in {self.raw}.{nearest(request, names)} Datasets there: {known}. "
            "Choose another place with --workspace or the variable AUTOUNET_WORKSPACE."
        )

    def dataset_names(self) -> list[str]:
        """All datasets of the workspace, raw or processed, sorted by name."""
        folders = (self.raw, self.preprocessed, self.results)
        return sorted(
            {
                path.name
                for folder in folders
                if folder.is_dir()
                for path in folder.iterdir()
                if path.is_dir() and _DATASET_NAME.fullmatch(path.name)
            }
        )
