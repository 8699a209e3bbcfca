"""How each input channel is normalised, told from its name.

Rules: nnU-Net v2, `preprocessing/normalization/map_channel_name_to_normalization.py` and
`default_experiment_planner.py` (`determine_normalization_scheme_and_whether_mask_is_used_for_norm`).
"""

from __future__ import annotations

from autounet.planners.constants import NNUNET, PlannerConstants
from autounet.planners.reasons import Reasoned, number
from autounet.plans import IntensityStatistics, NormalizationName

_SCHEMES: dict[str, NormalizationName] = {
    "ct": "ct",
    "nonorm": "nonorm",
    "zscore": "zscore",
    "rescale_to_0_1": "rescale_to_0_1",
    "rgb_to_0_1": "rgb_to_0_1",
}


def normalization(channel_name: str, statistics: IntensityStatistics) -> Reasoned[NormalizationName]:
    """The scheme that a channel's name asks for, whatever its case; z-scores for all other names."""
    scheme = _SCHEMES.get(channel_name.casefold(), "zscore")
    reasons: dict[NormalizationName, str] = {
        "ct": (
            f"intensities of CT mean the same in every image, so they are clipped to the dataset's 0.5 and 99.5 "
            f"percentiles ({number(statistics.percentile_00_5)} to {number(statistics.percentile_99_5)}), less its "
            f"mean {number(statistics.mean)}, over its standard deviation {number(statistics.std)}"
        ),
        "zscore": (
            f"the name '{channel_name}' implies no unit that all images share, so each image takes its own mean and "
            f"standard deviation"
        ),
        "nonorm": "the channel's name asks for intensities as they are",
        "rescale_to_0_1": "the channel's name asks for each image's own minimum and maximum to become 0 and 1",
        "rgb_to_0_1": "the channel's name says colours from 0 to 255, which are divided by 255",
    }
    return Reasoned(scheme, scheme, reasons[scheme])


def use_mask(
    scheme: NormalizationName, median_relative_size_after_crop: float, constants: PlannerConstants = NNUNET
) -> Reasoned[bool]:
    """Whether statistics and change are restricted to the body.

    Args:
        scheme: The channel's normalisation; only z-scores take statistics of the image at hand and have zero as their
            natural outside.
        median_relative_size_after_crop: Share of the voxels that the crop to the body keeps, median over the cases.
        constants: The numbers of the rule.
    """
    kept = f"the crop to the body keeps {number(100 * median_relative_size_after_crop)} % of the voxels (median)"
    limit = f"{number(100 * constants.masked_norm_threshold)} %"
    if median_relative_size_after_crop >= constants.masked_norm_threshold:
        return Reasoned(False, "no", f"{kept}, not less than {limit}, so little is outside")
    if scheme != "zscore":
        return Reasoned(False, "no", f"{kept}, less than {limit}, but {scheme} takes no statistics of the single image")
    return Reasoned(True, "yes", f"{kept}, less than {limit}, so the zeros outside would distort mean and deviation")
