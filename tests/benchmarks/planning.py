"""Seconds that planning takes, for datasets of all kinds; run from the checkout.

    python tests/benchmarks/planning.py

Plans the datasets that the oracle test describes (tests/golden/nnunet_oracle/plans.json) with the planner `default`,
each with nothing remembered of the ones before, in float32 for 8 GiB, and prints a table in Markdown. The time for
measuring networks on the meta device is told apart.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from autounet.data.description import DatasetDescription
from autounet.fingerprint import Fingerprint
from autounet.labels import LabelSchema
from autounet.planners import PLANNERS
from autounet.planners.memory import _measured, training_cost
from autounet.planners.request import PlanRequest
from autounet.plans import IntensityStatistics

ORACLE = Path(__file__).parents[1] / "golden" / "nnunet_oracle" / "plans.json"
STATISTICS = IntensityStatistics(mean=0, std=1, minimum=-3, maximum=3, percentile_00_5=-2, median=0, percentile_99_5=2)


def main() -> None:
    """Plan every dataset once, and print the slowest first."""
    spent = [0.0]

    def timed(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return training_cost(*arguments, **options)
        finally:
            spent[0] += time.perf_counter() - started

    plan = PLANNERS.find("default")
    datasets = json.loads(ORACLE.read_text(encoding="utf-8"))["datasets"]
    rows = []
    for name, answers in datasets.items():
        fingerprint, description = _evidence(answers["asked"])
        _measured.cache_clear()
        spent[0], started = 0.0, time.perf_counter()
        with patch("autounet.planners.measured.training_cost", timed):
            made = plan(fingerprint, description, PlanRequest(memory_gib=8))
        rows.append((time.perf_counter() - started, spent[0], _measured.cache_info().misses, name, made))
    print(
        "| dataset | planning (s) | of which memory (s) | networks measured | configurations |\n|---|---|---|---|---|"
    )
    for seconds, memory, count, name, made in sorted(rows, key=lambda row: -row[0]):
        print(f"| {name} | {seconds:.2f} | {memory:.2f} | {count} | {', '.join(made.configurations)} |")


def _evidence(asked: dict[str, Any]) -> tuple[Fingerprint, DatasetDescription]:
    cases = [(spacing, shape) for count, spacing, shape in asked["cases"] for _ in range(count)]
    shapes = [tuple(shape) for _, shape in cases]
    spacings_mm = [(1.0 if shape[0] == 1 else spacing[0], *spacing[1:]) for spacing, shape in cases]
    intensities = (STATISTICS,) * len(asked["channels"])
    share = asked["relative_size_after_crop"]
    fingerprint = Fingerprint.of_sizes("Dataset001_Oracle", spacings_mm, shapes, intensities, share)
    labels = LabelSchema.from_dataset_json(asked["labels"], asked["regions_class_order"], "plans.json")
    description = DatasetDescription(
        name="Dataset001_Oracle",
        channel_names=tuple(asked["channels"]),
        labels=labels,
        file_ending=asked["file_ending"],
    )
    return fingerprint, description


if __name__ == "__main__":
    main()
