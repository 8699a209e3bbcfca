"""What reaches the loss of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from autounet.labels import LabelClass, LabelSchema
from autounet.losses.boundary import Boundary
from autounet.losses.deep_supervision import DeepSupervision
from autounet.network_plan import NetworkPlan
from autounet.networks.plain import PlainUNet
from autounet.training.objective import SegmentationObjective
from autounet.training.precision import Precision
from autounet.training.replicas import alone
from autounet.training.sampling import PatchBatch

PRECISION = Precision(torch.float32, "")
LABELS = LabelSchema(classes=(LabelClass(name="a", values=(1,)), LabelClass(name="b", values=(2,))))
PLAN = NetworkPlan(
    name="plain",
    features=(4, 8),
    kernel_sizes=((3, 3), (3, 3)),
    strides=((1, 1), (2, 2)),
    num_convs_encoder=(1, 1),
    num_convs_decoder=(1,),
)


class Seen(Boundary):
    """Keeps what it is called with."""

    def forward(
        self, logits: Tensor, label: Tensor, annotated: Tensor | None = None, maps: Tensor | None = None
    ) -> Tensor:
        self.given = (label, annotated, maps)
        return super().forward(logits, label, annotated, maps)


@pytest.mark.parametrize("whole", [True, False])
def test_labels_annotation_and_maps_reach_the_loss(whole: bool) -> None:
    generator = np.random.default_rng(0)
    label = generator.integers(0, 3, (2, 8, 8)).astype(np.int16)
    loss = Seen(LABELS, batch_dice=True)
    maps = loss.label_maps((1.0, 1.0))(label)
    annotated = None if whole else np.array([[True, False], [True, True]])
    batch = PatchBatch(generator.normal(size=(2, 1, 8, 8)).astype(np.float32), label, annotated, maps)
    torch.manual_seed(0)
    network = PlainUNet(PLAN, 1, LABELS.num_outputs)
    network.deep_supervision = True
    criterion = DeepSupervision(loss, network.output_strides)
    value = SegmentationObjective(criterion, PRECISION, alone(torch.device("cpu")))(network, batch)
    value.backward()
    assert value.isfinite()
    seen_label, seen_annotated, seen_maps = loss.given
    assert np.array_equal(seen_label.numpy(), label)
    assert seen_maps is not None
    assert np.array_equal(seen_maps.numpy(), maps)
    assert (seen_annotated is None) == whole
    assert seen_annotated is None or np.array_equal(seen_annotated.numpy(), np.array([[True, False], [True, True]]))
