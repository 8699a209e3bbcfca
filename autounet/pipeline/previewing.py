"""Show what augmentation makes of patches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autounet.augmentation import POLICIES
from autounet.data.dataset import RawDataset
from autounet.errors import RequestError
from autounet.launch.network_plans import PlanPlace, ensure_plan
from autounet.pipeline.folders import raw_folder
from autounet.pipeline.planning import planned_seconds
from autounet.pipeline.training import network_recipe
from autounet.planners import DEFAULT_PLANNER
from autounet.planners.reasons import by_axis
from autounet.plans import file_label
from autounet.preprocessing.dataset import store_for
from autounet.progress import SILENT, Reporter
from autounet.workspace import Workspace

if TYPE_CHECKING:
    from autounet.plans import Configuration, Plan
    from autounet.training.config import TrainConfig
    from autounet.training.preview import PreviewedPatch

_FIRST_CHOICE = "3d_fullres"


@dataclass(frozen=True)
class Previewed:
    """What `preview` made.

    Attributes:
        path: The picture.
        configuration: Whose patches.
        augmentation: The policy.
        patches: What is shown, from top to bottom.
        shown: A sentence on what of each patch is seen.
    """

    path: Path
    configuration: str
    augmentation: str
    patches: tuple[PreviewedPatch, ...]
    shown: str


def preview(
    workspace: Workspace,
    dataset: str,
    *,
    configuration: str | None = None,
    augmentation: str | None = None,
    num_patches: int = 6,
    seed: int = 0,
    output: Path | None = None,
    planner: str = DEFAULT_PLANNER,
    network: str | None = None,
    reporter: Reporter = SILENT,
) -> Previewed:
    """Draw patches of prepared cases as training would see them, before and after augmentation.

    Args:
        workspace: Where things are.
        dataset: `4`, `004` or `Dataset004_Hippocampus`.
        configuration: Whose patches; `3d_fullres` if there is one by default.
        augmentation: Name in `autounet.augmentation.POLICIES`; what `train` would use by default.
        num_patches: How many.
        seed: Another one shows other patches and changes.
        output: PNG file; `preview_CONFIGURATION_AUGMENTATION.png` among the prepared data by default, with the network
            behind it where one is asked for.
        planner: Whose plan.
        network: As for `train`: its plan is made if there is none, and the policy is its paper's if that says one.
        reporter: Told where a plan was made.

    Raises:
        RequestError: There is no such plan, configuration or policy, the cases are not prepared, or `output` is no PNG.
    """
    from autounet.launch.held_out import stored_previous_stage
    from autounet.launch.requirements import all_splits, require_prepared
    from autounet.report.preview import write_preview
    from autounet.training.preview import preview_patches

    if output is not None and output.suffix.lower() != ".png":
        raise RequestError(f"-o {output} does not end in .png; the picture is written as PNG")
    if augmentation is not None:
        POLICIES.find(augmentation)
    folder = workspace.preprocessed / workspace.find_dataset(dataset)
    raw = RawDataset.load(raw_folder(workspace, dataset))
    plan = ensure_plan(raw, PlanPlace(folder, planner, dataset), network, device="auto", reporter=reporter)
    chosen = plan.configuration(configuration or _default_configuration(plan))
    config = _default_config(network, planned_seconds(workspace, dataset, chosen.name, planner, network))
    policy = augmentation or config.augmentation
    require_prepared(raw, plan, chosen, folder)
    store, found, remark = store_for(folder, plan, chosen), None, ""
    if chosen.previous_stage is not None:
        splits = all_splits(folder, raw)
        try:
            found = stored_previous_stage(workspace, plan, chosen, store, splits, 3 * num_patches, seed)
            remark = f", the fill is what {chosen.previous_stage} found"
        except RequestError as error:
            remark = f"; what {chosen.previous_stage} finds is not shown: {error}"
    patches = preview_patches(
        plan,
        chosen,
        store,
        sorted(case.name for case in raw.cases) if found is None else sorted(found.masks),
        policy=policy,
        laterality=config.laterality,
        num_patches=num_patches,
        seed=seed,
        found=found,
    )
    own = f"__{file_label(plan.network)}" if plan.network else ""
    path = output or folder / f"preview_{chosen.name}_{policy.replace(':', '_')}{own}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    is_rgb = [channel.normalization for channel in plan.channels[:3]] == ["rgb_to_0_1"] * 3
    title = f"{plan.dataset_name}  {chosen.name}  {f'{plan.network}  ' if plan.network else ''}augmentation {policy}"
    first_stage = chosen.previous_stage if found is not None else None
    write_preview(path, patches, plan.labels, chosen.spacing_mm, title, is_rgb=is_rgb, first_stage=first_stage)
    return Previewed(path, chosen.name, policy, patches, _shown(plan, chosen, is_rgb) + remark)


def _default_config(network: str | None, planned_seconds: float | None) -> TrainConfig:
    """How `train` trains where it is told nothing else: as the network's paper, for the time planned, or as nnU-Net."""
    from autounet.training.config import TrainConfig

    hints = network_recipe(network).hints.choices
    if hints:
        return TrainConfig.recipe("paper").model_copy(update=hints)
    return TrainConfig() if planned_seconds is None else TrainConfig.for_clock(planned_seconds)


def _default_configuration(plan: Plan) -> str:
    names = tuple(plan.configurations)
    return _FIRST_CHOICE if _FIRST_CHOICE in names else names[0]


def _shown(plan: Plan, configuration: Configuration, is_rgb: bool) -> str:
    size = by_axis(configuration.patch_size)
    if any(configuration.network.halo):
        size += (
            f" (the network tells of the inner {by_axis(configuration.network.output_size(configuration.patch_size))})"
        )
    part = "the middle slice of " if len(configuration.patch_size) == 3 else ""
    channels = "in colour" if is_rgb else f"channel '{plan.channels[0].name}'"
    return f"{part}patches of {size}, {channels}, on the left before, on the right after; lines are the labels"
