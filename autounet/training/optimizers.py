"""The optimiser of a run, from its configuration."""

from __future__ import annotations

import torch
from torch import nn

from autounet.training.config import TrainConfig
from autounet.training.muon import Muon


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser over all parameters; its learning rate is set at every step."""
    parameters = list(network.parameters())
    if config.optimizer == "muon":
        return Muon(parameters, config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay)
    # The fused kernels update all parameters in one pass over memory: 3 to 13 times faster on a CPU.
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            config.learning_rate,
            momentum=config.momentum,
            nesterov=config.momentum > 0,
            weight_decay=config.weight_decay,
            fused=True,
        )
    return torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay, fused=True)
