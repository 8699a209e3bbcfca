"""What a network is trained for, as it is written: `segmentation`, or `diffusion,prediction=v,schedule=cosine`."""

from __future__ import annotations

from pydantic import Field

from autounet.diffusion.process import Prediction
from autounet.diffusion.schedule import NoiseSchedule, ScheduleName
from autounet.errors import RequestError
from autounet.networks import NETWORKS
from autounet.records import Record, nearest
from autounet.registry import split_choice

SEGMENTATION, DIFFUSION, AUTO = "segmentation", "diffusion", "auto"
_OBJECTIVES = [SEGMENTATION, DIFFUSION]


class DiffusionOptions(Record):
    """How noise is laid on and predicted.

    Attributes:
        prediction: Of the noise, or of `v`, which mixes noise and image.
        schedule: How the image gives way to noise; `scaled_linear` is Stable Diffusion's, made for latent images.
        times: In so many steps.
        drop: Share of the training samples whose condition is hidden, so that guidance can tell what it changes.
    """

    prediction: Prediction = "v"
    schedule: ScheduleName = "cosine"
    times: int = Field(1000, ge=10)
    drop: float = Field(0.1, ge=0, le=1)

    @property
    def noise_schedule(self) -> NoiseSchedule:
        """The schedule meant."""
        return NoiseSchedule.of(self.schedule, self.times)


def resolved_objective(text: str, network: str) -> str:
    """The objective as written, or the network's own where that is `auto`.

    Args:
        text: As typed.
        network: Its name in `NETWORKS`.

    Raises:
        RequestError: There is no such objective or option, or the network cannot be trained for it.
    """
    can = NETWORKS.find(network).objectives
    if text == AUTO:
        return can[0]
    name = _name_of(text)
    diffusion_options(text)
    if name not in can:
        raise RequestError(
            f"the network '{network}' cannot be trained for {name}, only for {', '.join(can)}. "
            f"For diffusion give --network diffusion_unet"
        )
    return text


def diffusion_options(text: str) -> DiffusionOptions | None:
    """The options of a diffusion objective; `None` for segmentation.

    Raises:
        RequestError: There is no such objective or option, or the value does not fit it.
    """
    name, written = _name_of(text), split_choice(text, "objective")[1]
    known = list(DiffusionOptions.model_fields) if name == DIFFUSION else []
    for key in written:
        if key not in known:
            has = f"It has {', '.join(known)}." if known else "It has none."
            raise RequestError(f"the objective '{name}' has no option '{key}'.{nearest(key, known)} {has}")
    return DiffusionOptions.parse(dict(written), f"the objective {text}") if name == DIFFUSION else None


def _name_of(text: str) -> str:
    name, _ = split_choice(text, "objective")
    if name not in _OBJECTIVES:
        raise RequestError(f"unknown objective '{name}'.{nearest(name, _OBJECTIVES)} Known: {', '.join(_OBJECTIVES)}.")
    return name
