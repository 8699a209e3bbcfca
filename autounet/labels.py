"""What the numbers in a label file mean, and how a network's outputs answer to them.

Labels, regions, the ignore label, the number of outputs and the non-linearity are decided here and nowhere else.
Rules: nnU-Net v2's dataset format (`documentation/dataset_format.md`, `region_based_training.md`, `ignore_label.md`).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from autounet.errors import RequestError
from autounet.geometry import Array
from autounet.records import Record

BACKGROUND = 0
BACKGROUND_NAME = "background"
# Label maps are held in 16 bits with a sign.
MAX_VALUE = 32_767
# Prepared label maps mark the voxels outside the body (all channels zero) with this value; they are background
# to the loss, but some normalisations and augmentations leave them untouched.
OUTSIDE = -1


class LabelClass(Record):
    """One foreground class: a single label value, or a region that unites several."""

    name: str
    values: tuple[int, ...]


class LabelSchema(Record):
    """The classes of a dataset, in the order in which `dataset.json` names them.

    Label maps hold the dataset's own values throughout; they need not be consecutive. What stands between them and a
    network's outputs is `output_values`.

    Attributes:
        classes: Foreground classes; background is implied.
        ignore_value: Voxels of this value are left out of losses and scores.
        region_order: For regions, the label value that each region writes, in order; later ones overwrite earlier ones.
    """

    classes: tuple[LabelClass, ...]
    ignore_value: int | None = None
    region_order: tuple[int, ...] | None = None

    @classmethod
    def from_dataset_json(
        cls, labels: dict[str, int | list[int]], region_order: list[int] | None, source: str
    ) -> LabelSchema:
        """Build the schema from the `labels` and `regions_class_order` of a `dataset.json`.

        Raises:
            RequestError: Background is not 0, values are not distinct or too large, or the order does not fit.
        """
        if labels.get(BACKGROUND_NAME) != BACKGROUND:
            raise RequestError(f"{source}: 'labels' must hold \"background\": 0, got {labels.get('background')!r}")
        ignore = labels.get("ignore")
        if ignore is not None and not isinstance(ignore, int):
            raise RequestError(f"{source}: the label 'ignore' must be one integer, got {ignore!r}")
        classes = tuple(
            LabelClass(name=name, values=(value,) if isinstance(value, int) else tuple(value))
            for name, value in labels.items()
            if name not in (BACKGROUND_NAME, "ignore")
        )
        order = tuple(region_order) if region_order is not None else None
        schema = cls(
            classes=classes,
            ignore_value=ignore,
            region_order=order if any(len(entry.values) > 1 for entry in classes) else None,
        )
        schema._require_sound(source, has_order=order is not None)
        return schema

    @model_validator(mode="after")
    def _not_empty(self) -> LabelSchema:
        if not self.classes:
            raise ValueError("there is no foreground class")
        return self

    def _require_sound(self, source: str, has_order: bool) -> None:
        self._require_sound_values(source)
        regions = [entry.name for entry in self.classes if len(entry.values) > 1]
        if regions and not has_order:
            raise RequestError(f"{source}: {regions[0]} is a region, so 'regions_class_order' is required")
        if self.region_order is None:
            return
        if len(self.region_order) != len(self.classes):
            raise RequestError(
                f"{source}: 'regions_class_order' has {len(self.region_order)} entries for {len(self.classes)} regions"
            )
        undeclared = sorted(set(self.region_order) - set(self.declared_values))
        if undeclared:
            raise RequestError(f"{source}: 'regions_class_order' holds {undeclared}, which no region names")

    def _require_sound_values(self, source: str) -> None:
        values = [value for entry in self.classes for value in entry.values]
        way_out = "Renumber the labels in the files and in dataset.json."
        if self.declared_values[0] < BACKGROUND or self.declared_values[-1] > MAX_VALUE:
            raise RequestError(
                f"{source}: label values must lie between 0 and {MAX_VALUE}, got {list(self.declared_values)}. "
                f"{way_out}"
            )
        if BACKGROUND in values or not all(entry.values for entry in self.classes):
            raise RequestError(f"{source}: every label but background needs a value above 0. {way_out}")
        if self.ignore_value is not None and self.ignore_value in (BACKGROUND, *values):
            raise RequestError(
                f"{source}: the label 'ignore' has the value {self.ignore_value}, which another label has too. "
                f"{way_out}"
            )
        repeated = sorted({value for value in values if values.count(value) > 1})
        if repeated and not any(len(entry.values) > 1 for entry in self.classes):
            raise RequestError(f"{source}: two labels have the value {repeated[0]}. Remove one, or declare regions.")

    @property
    def has_regions(self) -> bool:
        """Whether classes overlap, so that each has a sigmoid output of its own."""
        return self.region_order is not None

    @property
    def num_classes(self) -> int:
        """Foreground classes."""
        return len(self.classes)

    @property
    def num_outputs(self) -> int:
        """Output channels of a network: one a region, or one a class and one for background."""
        return self.num_classes if self.has_regions else self.num_classes + 1

    @property
    def output_values(self) -> tuple[int, ...]:
        """The label value of each output channel, ascending as in nnU-Net; regions are written by `region_order`."""
        assert not self.has_regions
        return (BACKGROUND, *sorted(entry.values[0] for entry in self.classes))

    @property
    def class_of_output(self) -> tuple[int, ...]:
        """For each output but background, the class in the order of the schema."""
        if self.has_regions:
            return tuple(range(self.num_classes))
        values = [entry.values[0] for entry in self.classes]
        return tuple(values.index(value) for value in self.output_values[1:])

    @property
    def output_names(self) -> tuple[str, ...]:
        """What each output channel of a network stands for: a region, or background and the classes by value."""
        if self.has_regions:
            return self.class_names
        return (BACKGROUND_NAME, *(entry.name for entry in sorted(self.classes, key=lambda entry: entry.values)))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the foreground classes."""
        return tuple(entry.name for entry in self.classes)

    def class_indices(self, names: Collection[str]) -> tuple[int, ...]:
        """Places of the named classes, ascending."""
        return tuple(index for index, name in enumerate(self.class_names) if name in names)

    def classes_but(self, names: Collection[str] | None) -> tuple[str, ...]:
        """The classes that are not named; none where `names` is `None`, which stands for all."""
        return () if names is None else tuple(name for name in self.class_names if name not in names)

    def values_not_of(self, names: Collection[str]) -> tuple[int, ...]:
        """Foreground values that say nothing of the named classes, ascending: of no region among them, say."""
        told = {value for entry in self.classes if entry.name in names for value in entry.values}
        others = {value for entry in self.classes for value in entry.values}
        return tuple(sorted(others - told))

    @property
    def declared_values(self) -> tuple[int, ...]:
        """Every value that a label file may hold, ascending."""
        values = {BACKGROUND} | {value for entry in self.classes for value in entry.values}
        if self.ignore_value is not None:
            values.add(self.ignore_value)
        return tuple(sorted(values))

    @property
    def foreground_values(self) -> tuple[int, ...]:
        """Every value of a class or a region, ascending: what a second stage is told of, one input channel each."""
        return tuple(sorted({value for entry in self.classes for value in entry.values}))

    @property
    def foreground_names(self) -> tuple[str, ...]:
        """What each of `foreground_values` stands for: its class, or itself where regions share values."""
        if self.has_regions:
            return tuple(f"label {value}" for value in self.foreground_values)
        return self.output_names[1:]

    def value_masks(self, label: Array) -> npt.NDArray[np.bool_]:
        """`(num_foreground_values, Z, Y, X)`: where a label map `(Z, Y, X)` has each of `foreground_values`."""
        return np.stack([label == value for value in self.foreground_values])

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """What predicted label maps are held in."""
        return np.uint8 if max(self.declared_values) < 255 else np.uint16

    def class_mask(self, label: Array, index: int) -> npt.NDArray[np.bool_]:
        """Where a label map `(Z, Y, X)` shows foreground class `index`."""
        values = self.classes[index].values
        if len(values) == 1:
            return np.asarray(label == values[0])
        return np.isin(label, values)

    def annotated_mask(self, label: Array) -> npt.NDArray[np.bool_] | None:
        """Where the label map counts; `None` where the dataset has no ignore label."""
        return None if self.ignore_value is None else np.asarray(label != self.ignore_value)

    def segmentation(self, logits: Array) -> Array:
        """Label map `(Z, Y, X)` of logits `(num_outputs, Z, Y, X)`: arg-max, or the regions' rule.

        A region is present where its probability exceeds one half, that is where its logit is positive.
        """
        if self.region_order is None:
            return np.asarray(np.array(self.output_values, dtype=self.dtype)[logits.argmax(axis=0)])
        result = np.zeros(logits.shape[1:], dtype=self.dtype)
        for value, region in zip(self.region_order, logits, strict=True):
            result[region > 0] = value
        return result
