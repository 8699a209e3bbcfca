"""Learning rates as functions of progress: 0 at the start of the run, 1 at its end, by steps or by the clock."""

from __future__ import annotations

import math

from autounet.training.config import TrainConfig

# nnU-Net's exponent (`polylr.py`).
_POLY_EXPONENT = 0.9


def learning_rate(config: TrainConfig, progress: float) -> float:
    """The learning rate at a point of the run; zero at its end.

    Args:
        config: Peak, warm-up and shape.
        progress: In [0, 1].
    """
    if progress < config.warmup:
        # Not from zero: the first step should already move the weights.
        return config.learning_rate * max(progress / config.warmup, 0.01)
    decay = min(1.0, (progress - config.warmup) / (1 - config.warmup))
    if config.schedule == "poly":
        return config.learning_rate * float((1 - decay) ** _POLY_EXPONENT)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * decay))
