"""Learning rates as functions of progress: 0 at the start of the run, 1 at its end, by steps or by the clock."""

from __future__ import annotations

import math

from autounet.training.config import TrainConfig

# nnU-Net's exponent (`polylr.py`).
_POLY_EXPONENT = 0.9
# Not from zero: the first step should already move the weights.
_FIRST_SHARE = 0.01
# A run that was made longer starts over this share of what is left.
_REENTRY = 0.05


def learning_rate(config: TrainConfig, progress: float, entered: float = 0.0) -> float:
    """The learning rate at a point of the run; zero at its end.

    Args:
        config: Peak, warm-up and shape.
        progress: In [0, 1].
        entered: Where a run that had ended was taken up again to be longer. Its learning rate was zero by then; it
            rises to what the longer run would have had there, and follows that.
    """
    rate = config.learning_rate * _share(config, progress)
    if entered == 0:
        return rate
    return rate * min(1.0, max((progress - entered) / (_REENTRY * (1 - entered)), _FIRST_SHARE))


def _share(config: TrainConfig, progress: float) -> float:
    """Of the peak."""
    if progress < config.warmup:
        return max(progress / config.warmup, _FIRST_SHARE)
    if config.schedule == "constant":
        return min(1.0, (1 - progress) / config.cooldown)
    decay = min(1.0, (progress - config.warmup) / (1 - config.warmup))
    if config.schedule == "poly":
        return float((1 - decay) ** _POLY_EXPONENT)
    return 0.5 * (1 + math.cos(math.pi * decay))
