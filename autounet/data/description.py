"""What `dataset.json` tells: channels, labels, file ending (nnU-Net's `documentation/dataset_format.md`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from autounet.data.annotation import read_annotated
from autounet.data.io import READERS, reader_for
from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.records import Record, read_json, write_text_atomically


class DatasetDescription(Record):
    """What `dataset.json` tells.

    Attributes:
        name: Name of the dataset's folder.
        channel_names: Of each input channel, in order.
        labels: What label values mean.
        file_ending: Of images, labels and predictions, for example `.nii.gz`.
        num_training: Cases as declared; `None` where the file does not tell.
        annotated: Classes that were annotated in a case, in the order of `labels`; cases not listed have all.
    """

    name: str
    channel_names: tuple[str, ...]
    labels: LabelSchema
    file_ending: str
    num_training: int | None = None
    annotated: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @property
    def num_channels(self) -> int:
        """Input channels."""
        return len(self.channel_names)

    def annotated_in(self, case: str) -> tuple[str, ...] | None:
        """The classes that were annotated in a case; `None` for all of them."""
        names = self.annotated.get(case)
        return None if names == self.labels.class_names else names

    def is_annotated(self, case: str, class_name: str) -> bool:
        """Whether a class was annotated in a case."""
        return class_name in self.annotated.get(case, self.labels.class_names)

    @property
    def is_partially_annotated(self) -> bool:
        """Whether some case lacks the annotation of some class."""
        return any(self.annotated_in(case) is not None for case in self.annotated)

    @classmethod
    def load(cls, folder: Path) -> DatasetDescription:
        """Read the `dataset.json` of a dataset folder; keys of metadata are ignored.

        Raises:
            RequestError: It is missing or does not describe a dataset.
        """
        source = folder / "dataset.json"
        content = read_dataset_json(source)
        order = content.get("regions_class_order")
        ending = content.get("file_ending")
        if not isinstance(ending, str):
            raise RequestError(
                f"{source}: 'file_ending' is missing. Add the images' ending, one of {', '.join(sorted(READERS))}."
            )
        reader_for(ending)
        if order is not None and not (isinstance(order, list) and all(isinstance(value, int) for value in order)):
            raise RequestError(f"{source}: 'regions_class_order' must be a list of integers, got {order!r}")
        try:
            labels = LabelSchema.from_dataset_json(_label_values(content, source), order, str(source))
        except ValidationError as error:
            raise RequestError(f"{source}: 'labels': {error.errors()[0]['msg']}") from None
        return cls(
            name=folder.absolute().name,
            channel_names=_channel_names(content, source),
            labels=labels,
            file_ending=ending,
            num_training=_num_training(content, source),
            annotated=read_annotated(content.get("annotated"), labels, source),
        )


def write_dataset_json(
    folder: Path,
    *,
    labels: LabelSchema,
    channel_names: Sequence[str],
    file_ending: str,
    num_training: int = 0,
    annotated: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write a `dataset.json` beside label files, so that whoever reads them knows what the values mean."""
    values: dict[str, int | list[int]] = {"background": 0}
    values |= {
        entry.name: entry.values[0] if len(entry.values) == 1 else list(entry.values) for entry in labels.classes
    }
    if labels.ignore_value is not None:
        values["ignore"] = labels.ignore_value
    content: dict[str, Any] = {
        "channel_names": {str(index): name for index, name in enumerate(channel_names)},
        "labels": values,
        "numTraining": num_training,
        "file_ending": file_ending,
    }
    if labels.region_order is not None:
        content["regions_class_order"] = list(labels.region_order)
    if annotated:
        content["annotated"] = {case: list(names) for case, names in annotated.items()}
    write_text_atomically(folder / "dataset.json", json.dumps(content, indent=2) + "\n")


def read_dataset_json(source: Path) -> dict[str, Any]:
    """The content of a `dataset.json`, which must be an object.

    Raises:
        RequestError: It is missing, unreadable, or something else.
    """
    content = read_json(source)
    if not isinstance(content, dict):
        raise RequestError(f"{source} must hold a JSON object, got {type(content).__name__}")
    return content


def _channel_names(content: dict[str, Any], source: Path) -> tuple[str, ...]:
    names = content.get("channel_names", content.get("modality"))  # nnU-Net v1 said 'modality'
    if not isinstance(names, dict) or not names:
        raise RequestError(f'{source}: \'channel_names\' must look like {{"0": "CT"}}, got {names!r}')
    expected = [str(index) for index in range(len(names))]
    if sorted(names, key=lambda key: (len(key), key)) != expected:
        raise RequestError(f"{source}: the keys of 'channel_names' must be {', '.join(expected)}, got {list(names)}")
    return tuple(str(names[key]) for key in expected)


def _label_values(content: dict[str, Any], source: Path) -> dict[str, int | list[int]]:
    labels = content.get("labels")
    if not isinstance(labels, dict):
        raise RequestError(f'{source}: \'labels\' must look like {{"background": 0, "tumour": 1}}, got {labels!r}')
    for name, value in labels.items():
        values = value if isinstance(value, list) and value else [value]
        if not all(isinstance(entry, int) and not isinstance(entry, bool) for entry in values):
            hint = " The format of nnU-Net v1 has them the other way round." if name.isdigit() else ""
            raise RequestError(f"{source}: label '{name}' must be an integer or a list of them, got {value!r}.{hint}")
    return labels


def _num_training(content: dict[str, Any], source: Path) -> int | None:
    number = content.get("numTraining")
    if number is not None and not isinstance(number, int):
        raise RequestError(f"{source}: 'numTraining' must be an integer, got {number!r}")
    return number
