"""Objectives as they are written."""

from __future__ import annotations

import pytest

from autounet.diffusion.options import DiffusionOptions, diffusion_options, resolved_objective
from autounet.errors import RequestError


def test_a_network_has_an_objective_of_its_own() -> None:
    assert resolved_objective("auto", "diffusion_unet") == "diffusion"
    assert resolved_objective("auto", "plain") == "segmentation"
    assert resolved_objective("segmentation", "diffusion_unet") == "segmentation"


def test_options_are_read_and_typed() -> None:
    options = diffusion_options("diffusion,prediction=noise,schedule=scaled_linear,times=500,drop=0.2")
    assert options == DiffusionOptions(prediction="noise", schedule="scaled_linear", times=500, drop=0.2)
    assert options.noise_schedule.num_times == 500
    assert diffusion_options("segmentation") is None


@pytest.mark.parametrize(
    ("text", "network", "told"),
    [
        ("diffusion", "plain", "'plain' cannot be trained for diffusion, only for segmentation"),
        ("difusion", "diffusion_unet", "Did you mean|diffusion"),
        ("diffusion,predict=v", "diffusion_unet", "no option 'predict'.*prediction, schedule, times, drop"),
        ("diffusion,prediction=score", "diffusion_unet", "prediction"),
        ("diffusion,drop=2", "diffusion_unet", "drop"),
        ("segmentation,drop=0.1", "diffusion_unet", "It has none"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(text: str, network: str, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        resolved_objective(text, network)
