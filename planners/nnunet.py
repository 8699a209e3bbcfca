"""The planners of nnU-Net v2: the plain one, and the residual presets M, L and XL.

Source: Isensee et al., Nature Methods 2021; nnU-Net v2.8.1, `default_experiment_planner.py` and
`residual_encoder_unet_planners.py`. Deviations: images with one slice are planned in 2D whatever their spacing across
(nnU-Net calls it 999 times the pixel size, and where that differs between cases it resamples one slice to several and
plans in 3D); the number of cases is counted, not read from `numTraining`.
"""

from __future__ import annotations

from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.fingerprint import Fingerprint
from autounet.planners.budget import FeatureMapBudget
from autounet.planners.constants import NNUNET, RESENC, RESENC_L, RESENC_M, RESENC_XL, PlannerConstants
from autounet.planners.experiment import num_label_entries, plan_experiment
from autounet.planners.request import PlanRequest
from autounet.plans import Plan


class NnUNetPlanner:
    """Plans a dataset as nnU-Net does.

    Args:
        name: In `autounet.planners.PLANNERS`.
        constants: The numbers of the rules.
    """

    asks_device = False

    def __init__(self, name: str, constants: PlannerConstants) -> None:
        self.name = name
        self.constants = constants
        self.network = constants.network

    def __call__(
        self, fingerprint: Fingerprint, description: DatasetDescription, request: PlanRequest | None = None
    ) -> Plan:
        """Plan a dataset; see `autounet.planners.Planner`. The default memory is the preset's own."""
        request = request or PlanRequest()
        if request.network not in (None, self.constants.network):
            raise RequestError(
                f"planner '{self.name}' knows the memory of network '{self.constants.network}' only, by constants "
                f"fitted by hand. Plan for '{request.network}' with --planner default, which measures it."
            )
        memory_gib = request.memory_gib or self.constants.reference_memory_gib
        budget = FeatureMapBudget(num_label_entries(description), memory_gib, self.constants)
        return plan_experiment(
            self.name, fingerprint, description, request, self.constants, budget, memory_gib, counts_inputs=False
        )


planner = NnUNetPlanner("nnunet", NNUNET)
planner_resenc = NnUNetPlanner("nnunet_resenc", RESENC)
planner_resenc_m = NnUNetPlanner("nnunet_resenc_m", RESENC_M)
planner_resenc_l = NnUNetPlanner("nnunet_resenc_l", RESENC_L)
planner_resenc_xl = NnUNetPlanner("nnunet_resenc_xl", RESENC_XL)
