"""nnU-Net's plans as ours: labels, channels, axis order, resampling and networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autounet.data.description import DatasetDescription
from autounet.errors import RequestError
from autounet.labels import LabelSchema
from autounet.models.nnunet.architecture import network_plan
from autounet.models.nnunet.schema import Intensities, NnUNetConfiguration, NnUNetPlans, ResamplingArguments
from autounet.plans import (
    ChannelPlan,
    Configuration,
    Decision,
    GridRule,
    IntensityStatistics,
    NormalizationName,
    Plan,
    ResamplingPlan,
)
from autounet.resample import LABEL_INTERPOLATION, LINEAR, Interpolation

_NORMALIZATIONS: dict[str, NormalizationName] = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "nonorm",
    "RescaleTo01Normalization": "rescale_to_0_1",
    "RGBTo01Normalization": "rgb_to_0_1",
}
_RESAMPLING, _TORCH_RESAMPLING, _NO_RESAMPLING = (
    "resample_data_or_seg_to_shape",
    "resample_torch_fornnunet",
    "no_resampling_hack",
)
# What nnU-Net's readers do to a grid. All give arrays as (z, y, x), as ours do.
_READERS: dict[str, GridRule] = {
    "SimpleITKIO": "as_stored",
    "NibabelIO": "as_stored",
    "Tiff3DIO": "as_stored",
    "NaturalImage2DIO": "unit_spacing",
    "NibabelIOWithReorient": "ras",
    "SimpleITKIOWithReorient": "ras",
}
# Of a plan that tells none: what nnU-Net plans for by default. Nothing that is imported depends on it.
_MEMORY_GIB = 8.0


def imported_plan(
    theirs: NnUNetPlans, description: DatasetDescription, names: Sequence[str], planner: str, source: Path
) -> Plan:
    """Our plan of nnU-Net's configurations.

    Args:
        theirs: The file `plans.json`.
        description: Of the dataset: `dataset.json`.
        names: The configurations to take over; those that they follow in a cascade are added.
        planner: What the plan is to be called.
        source: The file, for error messages.

    Raises:
        RequestError: Something of it cannot be mapped exactly.
    """
    wanted = _with_earlier_stages(theirs, names, source)
    entries = {name: theirs.configuration(name, str(source)) for name in wanted}
    labels = _labels(description.labels, source)
    if theirs.label_manager != "LabelManager":
        raise RequestError(f"{source}: label_manager is {theirs.label_manager}; only LabelManager can be imported")
    spacing, shape = _medians(theirs, next(iter(entries.values())))
    return Plan.parse(
        {
            "dataset_name": theirs.dataset_name,
            "planner": planner,
            "memory_gib": _MEMORY_GIB,
            "file_ending": description.file_ending,
            "labels": labels,
            "channels": _channels(theirs, description, entries, source),
            "transpose_forward": theirs.transpose_forward,
            "median_spacing_mm": spacing,
            "median_shape": shape,
            "configurations": {name: _configuration(name, entry, source) for name, entry in entries.items()},
            "decisions": [
                Decision(
                    name="source",
                    value=f"nnU-Net's {theirs.plans_name}",
                    reason="Taken over from nnU-Net as it is, so that its networks see what they were trained on.",
                )
            ],
            "grid": _grid(theirs, source),
        },
        str(source),
    )


def training_plan(source: Path, description: DatasetDescription, planner: str) -> Plan:
    """All configurations of nnU-Net's plan, to train by on a dataset.

    Args:
        source: The file `plans.json`.
        description: Of the raw dataset, which need not be the one that was planned for.
        planner: What the plan is to be called.

    Raises:
        RequestError: Something of it cannot be mapped exactly.
    """
    theirs = NnUNetPlans.load(source)
    plan = imported_plan(theirs, description, list(theirs.configurations), planner, source)
    for name in plan.configurations:
        require_usual_labels(theirs.configuration(name, str(source)), f"{source}: configuration '{name}'")
    updates = {"dataset_name": description.name, "partially_annotated": description.is_partially_annotated}
    return plan.model_copy(update=updates)


def _with_earlier_stages(theirs: NnUNetPlans, names: Sequence[str], source: Path) -> list[str]:
    wanted: list[str] = []
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name not in wanted:
            wanted.append(name)
            earlier = theirs.configuration(name, str(source)).previous_stage
            waiting += [] if earlier is None else [earlier]
    return wanted


def _labels(labels: LabelSchema, source: Path) -> LabelSchema:
    """The labels, by value where they are no regions: the order in which nnU-Net feeds them to a second stage."""
    beside = source.with_name("dataset.json")
    if labels.has_regions:
        return labels  # a second stage is fed label values, ascending, and not regions, here as there
    if labels.output_values != tuple(range(labels.num_classes + 1)):
        raise RequestError(
            f"{beside}: the label values {list(labels.output_values)} are not consecutive, but nnU-Net writes the "
            "numbers of its outputs. Renumber them in dataset.json as they were in training."
        )
    return labels.model_copy(update={"classes": tuple(sorted(labels.classes, key=lambda entry: entry.values))})


def _channels(
    theirs: NnUNetPlans, description: DatasetDescription, entries: dict[str, NnUNetConfiguration], source: Path
) -> tuple[ChannelPlan, ...]:
    """How each channel is normalised, which must be the same in all configurations."""
    chosen = {(tuple(entry.normalization_schemes), tuple(entry.use_mask_for_norm)) for entry in entries.values()}
    if len(chosen) > 1:
        raise RequestError(f"{source}: configurations {', '.join(entries)} normalise differently; import one at a time")
    ((schemes, masks),) = chosen
    if not len(schemes) == len(masks) == description.num_channels:
        raise RequestError(
            f"{source}: {len(schemes)} normalization_schemes and {len(masks)} use_mask_for_norm, but dataset.json has "
            f"{description.num_channels} channels"
        )
    channels = []
    for index, (name, scheme, mask) in enumerate(zip(description.channel_names, schemes, masks, strict=True)):
        if scheme not in _NORMALIZATIONS:
            raise RequestError(
                f"{source}: channel {index} is normalised by {scheme}, which is not nnU-Net's own; known: "
                f"{', '.join(_NORMALIZATIONS)}"
            )
        known = theirs.foreground_intensity_properties_per_channel.get(str(index))
        if known is None and scheme == "CTNormalization":
            raise RequestError(f"{source}: channel {index} is normalised as CT, but its intensities are missing")
        # nnU-Net's other schemes know of no mask.
        use_mask = mask and scheme == "ZScoreNormalization"
        statistics = statistics_of(known or Intensities(mean=0, std=1, percentile_00_5=0, percentile_99_5=0))
        normalization = _NORMALIZATIONS[scheme]
        channels.append(ChannelPlan(name=name, normalization=normalization, use_mask=use_mask, statistics=statistics))
    return tuple(channels)


def statistics_of(known: Intensities) -> IntensityStatistics:
    """Intensities under our names."""
    return IntensityStatistics(
        mean=known.mean,
        std=known.std,
        minimum=known.min,
        maximum=known.max,
        percentile_00_5=known.percentile_00_5,
        median=known.median,
        percentile_99_5=known.percentile_99_5,
    )


def _configuration(name: str, entry: NnUNetConfiguration, source: Path) -> Configuration:
    where = f"{source}: configuration '{name}'"
    if entry.preprocessor_name != "DefaultPreprocessor":
        raise RequestError(f"{where}: preprocessor {entry.preprocessor_name} is not nnU-Net's own DefaultPreprocessor")
    return Configuration.parse(
        {
            "name": name,
            "previous_stage": entry.previous_stage,
            "spacing_mm": entry.spacing,
            "median_shape": entry.median_image_size_in_voxels or entry.patch_size,
            "patch_size": entry.patch_size,
            "batch_size": entry.batch_size,
            "batch_dice": entry.batch_dice,
            "network": network_plan(entry.architecture, where),
            "resampling": _resampling(entry, where),
        },
        where,
    )


def _resampling(entry: NnUNetConfiguration, where: str) -> ResamplingPlan:
    image = _interpolation(entry.resampling_fn_data, entry.resampling_fn_data_kwargs, f"{where}: resampling_fn_data")
    place = f"{where}: resampling_fn_probabilities"
    logits = _interpolation(entry.resampling_fn_probabilities, entry.resampling_fn_probabilities_kwargs, place)
    if image is None:
        return ResamplingPlan(image=None)
    if logits is None:
        raise RequestError(f"{place}: images are resampled, but probabilities are not")
    if max(logits.order, logits.order_across) > LINEAR:
        raise RequestError(f"{place}: order {logits.order} (order_z {logits.order_across}); 0 and 1 can be imported")
    return ResamplingPlan(image=image, logits=logits)


def require_usual_labels(entry: NnUNetConfiguration, where: str) -> None:
    """Refuse a way to resample label maps that is not ours: training, and a cascade's second stage, need it.

    Raises:
        RequestError: It is another.
    """
    place = f"{where}: resampling_fn_seg"
    found = _interpolation(entry.resampling_fn_seg, entry.resampling_fn_seg_kwargs, place)
    if found not in (LABEL_INTERPOLATION, None) or entry.resampling_fn_seg == _TORCH_RESAMPLING:
        raise RequestError(
            f"{place}: label maps are resampled linearly (order 1, order_z 0) here, not as this plan has it"
        )


def _interpolation(function: str, arguments: ResamplingArguments, place: str) -> Interpolation | None:
    """How a function of nnU-Net's interpolates; `None` where it leaves the grid as it is."""
    if function == _NO_RESAMPLING:
        return None
    if function == _RESAMPLING:
        order, across = arguments.order, arguments.order_z
    elif function == _TORCH_RESAMPLING and arguments.aniso_axis_mode == "nearest-exact" and arguments.mode == "linear":
        order, across = LINEAR, 0
    else:
        raise RequestError(f"{place} is {function} ({arguments.mode}), which is not one of nnU-Net's own")
    return Interpolation(
        order=order,
        order_across=across,
        separate=arguments.force_separate_z,
        anisotropy=arguments.separate_z_anisotropy_threshold,
    )


def _medians(theirs: NnUNetPlans, entry: NnUNetConfiguration) -> tuple[list[float], list[float]]:
    """Median spacing and shape of the dataset; where old plans leave them out, those of a configuration."""
    shape = entry.median_image_size_in_voxels or [float(size) for size in entry.patch_size]
    spacing, sizes = ([1.0, *entry.spacing][-3:], [1.0, *shape][-3:])
    return theirs.original_median_spacing_after_transp or spacing, theirs.original_median_shape_after_transp or sizes


def _grid(theirs: NnUNetPlans, source: Path) -> GridRule:
    reader = theirs.image_reader_writer
    if reader not in _READERS:
        raise RequestError(
            f"{source}: images were read by {reader}, which is not nnU-Net's own; known: {', '.join(_READERS)}"
        )
    # Its TIFF reader knows a JSON file beside the image, but not the file's own tags: without one, voxels measure 1 mm.
    spacing = theirs.original_median_spacing_after_transp
    if reader == "Tiff3DIO" and spacing is not None and all(size == 1 for size in spacing):
        return "unit_spacing"
    return _READERS[reader]
