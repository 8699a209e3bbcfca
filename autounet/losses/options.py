"""A loss as it is written on the command line and in a configuration: its name, and what differs from its defaults."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.losses import LOSSES
from autounet.losses.segmentation import SegmentationLoss
from autounet.records import nearest
from autounet.registry import split_choice


def build_loss(text: str, labels: LabelSchema, *, batch_dice: bool) -> SegmentationLoss:
    """The loss that is meant by `NAME` or `NAME,key=value,...`; several numbers are written `1/2/1`.

    Args:
        text: Name in `LOSSES` and hyperparameters, for example `tversky,alpha=0.2,beta=0.8`.
        labels: What the values mean.
        batch_dice: Whether to pool over the batch, unless the text says so.

    Raises:
        RequestError: There is no such loss or hyperparameter, or the value does not fit it.
    """
    name, written = split_choice(text, "loss")
    build = LOSSES.find(name)
    options = {"batch_dice": batch_dice, **_options(name, build, written)}
    return build(labels, **options)


def _options(name: str, build: Any, written: Mapping[str, str]) -> dict[str, Any]:
    constructor = build.__init__ if inspect.isclass(build) else build
    kinds = get_type_hints(constructor)
    known = [key for key, entry in inspect.signature(build).parameters.items() if entry.kind == entry.KEYWORD_ONLY]
    options = {}
    for key, value in written.items():
        if key not in known:
            raise RequestError(f"the loss '{name}' has no '{key}'.{nearest(key, known)} It has {', '.join(known)}.")
        options[key] = _value(name, key, value, kinds.get(key, str))
    return options


def _value(name: str, key: str, text: str, kind: Any) -> Any:
    """The text as that type."""
    takes_none = type(None) in get_args(kind)
    content: Any = None if takes_none and text.lower() == "none" else text
    if content is not None and any(str(part).startswith("tuple") for part in (kind, *get_args(kind))):
        content = text.split("/")
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        raise RequestError(f"the loss '{name}': {key}={text}: {error.errors()[0]['msg']}") from None
