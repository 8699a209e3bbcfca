"""Starting a network from trained weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from autounet.models.folder import ModelRecord, build_network
from autounet.models.source import StartingPoint
from autounet.networks import NETWORKS
from autounet.networks.base import SegmentationNetwork
from autounet.progress import SILENT, Reporter
from autounet.training.ports import Ports, roles
from autounet.training.transfer import transfer
from autounet.training.transfer_report import TransferReport

# Not a power of two: PyTorch seeds its generator with 32 bits of the number only.
_OWN_SEEDS = 1_000_003


def report_path(fold: Path) -> Path:
    """Where the report lies, beside the model."""
    return fold / "transfer.json"


@torch.no_grad()
def start_from(
    start: StartingPoint, network: SegmentationNetwork, record: ModelRecord, reporter: Reporter = SILENT
) -> TransferReport:
    """Put the weights of a trained network into a new one, as far as they fit, and tell what became of each.

    Args:
        start: Where the weights come from.
        network: Built from `record`; all its weights are set, on whatever device it is.
        record: Of the run to come.
        reporter: Is told the report, a few lines.

    Raises:
        RequestError: Nothing fits, the weights are damaged, or of a network with other axes.
    """
    plan = record.configuration.network
    ports = Ports.of(record.plan, record.configuration)
    role_of = roles(lambda inputs, outputs: NETWORKS.find(plan.name)(plan, inputs, outputs), ports)
    weights, report = transfer(_fresh_weights(record), role_of, ports, start.source)
    network.load_state_dict(weights)
    report = report.model_copy(update={"remarks": _remarks(start.record, record)})
    for line in report.lines():
        reporter.say(line)
    return report


def _fresh_weights(record: ModelRecord) -> dict[str, Tensor]:
    """Weights to begin with where the source has none, drawn from a seed of their own.

    From the run's seed, which mostly is the source's too, they would be what the source began with, and a new class
    might begin as the twin of a known one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(record.config.seed + _OWN_SEEDS)
        return build_network(record).state_dict()


def _remarks(source: ModelRecord | None, record: ModelRecord) -> tuple[str, ...]:
    """What to know before the scores are believed."""
    if source is None:
        return ("no model.json lies beside the source, so its channels and classes were not matched by name",)
    if source.plan.dataset_name == record.plan.dataset_name and source.fold != record.fold:
        return (
            f"the source is fold {source.fold} of the same dataset: it may have been trained on validation cases of "
            f"fold {record.fold}, whose scores would then be too good",
        )
    return ()
