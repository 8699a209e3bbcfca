"""One case from raw to prepared: transpose, crop, normalise, resample. And the way back for its label map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autounet.data.io import Image
from autounet.errors import RequestError
from autounet.geometry import Array, Box, Shape3, Triple, nonzero_box, permuted, resampled_shape
from autounet.labels import OUTSIDE
from autounet.plans import Configuration, Plan
from autounet.preprocessing.crop import mark_outside
from autounet.preprocessing.normalize import normalize
from autounet.preprocessing.orient import Turn, turn_to_ras
from autounet.records import Record
from autounet.resample import (
    IMAGE_INTERPOLATION,
    LOGITS_INTERPOLATION,
    Interpolation,
    resample_image,
    resample_label,
)


class CaseProperties(Record):
    """What was done to a case, so that it can be undone. Axes are in the plan's order.

    Attributes:
        spacing_mm: Spacing as it came.
        target_spacing_mm: Spacing after resampling.
        shape_before_crop: Shape as it came.
        crop: The box kept.
        shape: Shape after resampling.
        way_back: How logits are interpolated to the shape before resampling.
        turn: What brought the raw axes into a known order; `None` where they were left as stored.
    """

    spacing_mm: Triple
    target_spacing_mm: Triple
    shape_before_crop: Shape3
    crop: Box
    shape: Shape3
    way_back: Interpolation = LOGITS_INTERPOLATION
    turn: Turn | None = None

    def way_to_raw(self, plan: Plan) -> tuple[Shape3, tuple[int, ...]]:
        """How to come from the plan's axes to the raw image's: the order, and the plan's axes to mirror before."""
        back = plan.transpose_backward
        if self.turn is None:
            return back, ()
        order = tuple(back[axis] for axis in np.argsort(self.turn.order))
        return (order[0], order[1], order[2]), tuple(back[axis] for axis in self.turn.mirrored)

    def raw_shape(self, plan: Plan) -> Shape3:
        """Shape of the raw image `(z, y, x)`."""
        shape: Shape3 = permuted(self.shape_before_crop, self.way_to_raw(plan)[0])
        return shape


@dataclass(frozen=True)
class PreparedCase:
    """A case as the network sees it.

    Attributes:
        image: `(C, Z, Y, X)` float32, normalised.
        label: `(Z, Y, X)` int16, -1 outside the body; `None` at prediction.
        properties: How to go back.
    """

    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.int16] | None
    properties: CaseProperties


def prepare_case(image: Image, label: Array | None, plan: Plan, configuration: Configuration) -> PreparedCase:
    """Prepare a case as its configuration asks.

    Normalisation comes before resampling, as in nnU-Net.

    Args:
        image: Raw image `(C, Z, Y, X)` with its geometry.
        label: Raw label map `(Z, Y, X)`, or `None`.
        plan: The dataset's plan.
        configuration: One of its configurations.

    Raises:
        RequestError: The image has another number of channels than the plan, or does not fit a normalisation.
    """
    _require_channels(image, plan)
    turn = turn_to_ras(image.geometry) if plan.grid == "ras" else None
    array, spacing = _on_planned_grid(image.array, image.geometry.spacing_mm, turn, plan)
    box = nonzero_box(array)
    cropped = array[(slice(None), *box.slices)]
    if label is not None:
        label = _on_planned_grid(label[None], spacing, turn, plan)[0][0][box.slices].astype(np.int16)
    body = None
    if any(channel.use_mask for channel in plan.channels):
        label_or_zero = np.zeros(cropped.shape[1:], dtype=np.int16) if label is None else label
        marked = mark_outside(cropped, label_or_zero)
        body, label = marked != OUTSIDE, None if label is None else marked
    normalized = np.stack(
        [normalize(channel, entry, body) for channel, entry in zip(cropped, plan.channels, strict=True)]
    )
    target = configuration.target_spacing_mm(spacing)
    shape = prepared_shape(box, spacing, configuration)
    properties = CaseProperties(
        spacing_mm=spacing,
        target_spacing_mm=target,
        shape_before_crop=array.shape[1:],
        crop=box,
        shape=shape,
        way_back=configuration.resampling.logits,
        turn=turn,
    )
    return PreparedCase(
        image=resample_image(normalized, shape, spacing, target, configuration.resampling.image or IMAGE_INTERPOLATION),
        label=None if label is None else resample_label(label, shape, spacing, target),
        properties=properties,
    )


def prepared_shape(crop: Box, spacing_mm: Triple, configuration: Configuration) -> Shape3:
    """Shape of a case after resampling.

    Args:
        crop: The box kept, in the plan's axis order.
        spacing_mm: As it came, in the same order.
        configuration: What it is prepared for.
    """
    if configuration.resampling.image is None:
        z, y, x = crop.shape
    else:
        z, y, x = resampled_shape(crop.shape, spacing_mm, configuration.target_spacing_mm(spacing_mm))
    return z, y, x


def prepare_mask(mask: Array, properties: CaseProperties, plan: Plan) -> npt.NDArray[np.int16]:
    """A mask of a raw image on the grid of the prepared case, as `prepare_case` puts the label there.

    Args:
        mask: `(Z, Y, X)` as the raw image lies.
        properties: How the case was prepared.
        plan: The axis order.

    Raises:
        RequestError: The mask has another size than the image.
    """
    expected = properties.raw_shape(plan)
    if mask.shape != expected:
        raise RequestError(f"the mask has {mask.shape} voxels (z, y, x), but the image has {expected}")
    ((planned,), _) = _on_planned_grid(mask[None], properties.spacing_mm, properties.turn, plan)
    cropped = planned[properties.crop.slices].astype(np.int16)
    prepared: npt.NDArray[np.int16] = resample_label(
        cropped, properties.shape, properties.spacing_mm, properties.target_spacing_mm
    )
    return prepared


def restore_label(label: Array, properties: CaseProperties, plan: Plan) -> Array:
    """Put a label map of the cropped, unresampled case back into the raw array's frame `(Z, Y, X)`."""
    whole = np.zeros(properties.shape_before_crop, dtype=label.dtype)
    whole[properties.crop.slices] = label
    raw = whole.transpose(plan.transpose_backward)
    return np.ascontiguousarray(raw if properties.turn is None else properties.turn.undo(raw))


def _on_planned_grid(array: Array, spacing_mm: Triple, turn: Turn | None, plan: Plan) -> tuple[Array, Triple]:
    """An array `(C, Z, Y, X)` and its spacing in the plan's axis order."""
    if turn is not None:
        array, spacing_mm = turn.apply(array), permuted(spacing_mm, turn.order)
    order = plan.transpose_forward
    spacing: Triple = (1.0, 1.0, 1.0) if plan.grid == "unit_spacing" else permuted(spacing_mm, order)
    return array.transpose(0, *(axis + 1 for axis in order)), spacing


def _require_channels(image: Image, plan: Plan) -> None:
    found, expected = image.array.shape[0], len(plan.channels)
    if found != expected:
        names = ", ".join(channel.name for channel in plan.channels)
        raise RequestError(f"the image has {found} channels, but the model was planned for {expected}: {names}")
