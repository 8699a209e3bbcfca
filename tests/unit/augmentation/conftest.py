"""Both backends as functions of NumPy arrays, so that one test holds for both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from autounet.augmentation import device, workers
from autounet.augmentation.parameters import ChannelParameters
from autounet.augmentation.patches import BatchParameters

Apply = Callable[[BatchParameters, Any, Any], tuple[Any, Any]]
Change = Callable[[ChannelParameters, Any], Any]


def apply_on_device(parameters: BatchParameters, image: Any, label: Any) -> tuple[Any, Any]:
    new_image, new_label = device.apply(parameters, torch.tensor(image), torch.tensor(label))
    return new_image.numpy(), new_label.numpy()


def change_on_device(parameters: ChannelParameters, values: Any) -> Any:
    return device.change(parameters, torch.tensor(values)).numpy()


@pytest.fixture(scope="session", params=["workers", "device"])
def apply(request: pytest.FixtureRequest) -> Apply:
    """Changes a batch with one of the backends."""
    return workers.apply if request.param == "workers" else apply_on_device


@pytest.fixture(scope="session", params=["workers", "device"])
def change(request: pytest.FixtureRequest) -> Change:
    """Changes the values of channels `(N, *patch_size)`, or of one line of voxels, with one of the backends."""
    function = workers.change if request.param == "workers" else change_on_device

    def changed(parameters: ChannelParameters, values: Any) -> Any:
        values = np.asarray(values, dtype=np.float32)
        return function(parameters, values[None])[0] if values.ndim == 1 else function(parameters, values)

    return changed


@pytest.fixture(scope="session")
def both_applied() -> Callable[[BatchParameters, Any, Any], tuple[tuple[Any, Any], tuple[Any, Any]]]:
    """Changes a batch with each backend."""

    def applied(parameters: BatchParameters, image: Any, label: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        return workers.apply(parameters, image.copy(), label.copy()), apply_on_device(parameters, image, label)

    return applied
