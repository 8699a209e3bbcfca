"""One training step of nnU-Net's plan for Hippocampus, augmentation included, beside nnU-Net's own.

    python tests/benchmarks/training_step.py WORKSPACE [--steps 6] [--nnunet-python PYTHON --nnunet-preprocessed DIR]

Run from the checkout. WORKSPACE holds `Dataset004_Hippocampus`, prepared by
`plan_and_preprocess -d 4 -c 3d_fullres --planner nnunet`. PYTHON is that of an environment with nnunetv2, DIR its
`nnUNet_preprocessed` with the dataset prepared. Rounds of both alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

OURS = """
import json, sys, time
from pathlib import Path
import torch
from autounet.allocator import keep_large_blocks
from autounet.augmentation.patches import Augmentation
from autounet.losses.deep_supervision import DeepSupervision
from autounet.losses.options import build_loss
from autounet.networks import NETWORKS
from autounet.networks.layout import set_fast_layout
from autounet.plans import Plan
from autounet.preprocessing.dataset import store_for
from autounet.training.config import TrainConfig
from autounet.training.objective import SegmentationObjective
from autounet.training.optimizers import make_optimizer
from autounet.training.precision import choose_precision
from autounet.training.replicas import alone
from autounet.training.sampling import BatchStream, CaseCache, PatchSampler

WARM_UP = 3  # until freed memory is used again
keep_large_blocks()
folder, steps = Path(sys.argv[1]), int(sys.argv[2])
config, device = TrainConfig(), torch.device("cpu")
plan = Plan.read(folder / "plan_nnunet.json")
chosen = plan.configuration("3d_fullres")
store = store_for(folder, plan, chosen)
names = json.loads((folder / "splits_final.json").read_text())[0]["train"]
precision = choose_precision("auto", device)
network = NETWORKS.find(chosen.network.name)(chosen.network, 1, plan.labels.num_outputs)
set_fast_layout(network, device, precision.dtype)
network.deep_supervision = True
loss = DeepSupervision(build_loss("dice_ce", plan.labels, batch_dice=chosen.batch_dice), network.output_strides)
objective = SegmentationObjective(loss, precision, alone(device))
optimizer = make_optimizer(network, config)
augmentation = Augmentation.for_plan(plan, chosen, "nnunet", "ignore")
cases = CaseCache(store, names, 2**31)
sampler = PatchSampler(cases, augmentation, chosen.batch_size, 0.33, 0, None, on_device=True)
stream, seconds, waited = BatchStream(sampler, 0, 0), [], 0.0
for _ in range(steps + WARM_UP):
    start = time.perf_counter()
    batch = next(stream)
    waited += time.perf_counter() - start
    optimizer.zero_grad(set_to_none=True)
    value = objective(network, batch)
    value.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
    optimizer.step()
    value.item()
    seconds.append(time.perf_counter() - start)
stream.close()
print(json.dumps({"seconds": seconds[WARM_UP:], "waited": waited / sum(seconds), "patch": list(chosen.patch_size),
                  "batch": chosen.batch_size, "features": list(chosen.network.features)}))
"""

NNUNET = """
import json, multiprocessing, os, sys, time
from pathlib import Path
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from batchgenerators.utilities.file_and_folder_operations import load_json

WARM_UP = 2

if __name__ == "__main__":
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    plans, dataset = load_json(str(folder / "nnUNetPlans.json")), load_json(str(folder / "dataset.json"))
    plans["continue_training"] = False
    trainer = nnUNetTrainer(plans, "3d_fullres", 0, dataset, device=torch.device("cpu"))
    trainer.initialize()
    trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    trainer.network.train()
    seconds = []
    for _ in range(steps + WARM_UP):
        start = time.perf_counter()
        trainer.train_step(next(trainer.dataloader_train))
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds[WARM_UP:], "patch": trainer.configuration_manager.patch_size,
                      "batch": trainer.configuration_manager.batch_size}), flush=True)
    for child in multiprocessing.active_children():
        child.kill()  # they would be waited for
    os._exit(0)
"""


def run(python: str, script: str, arguments: list[str], environment: dict[str, str]) -> dict[str, object]:
    """Run a script of one side and return the JSON of its last line."""
    file = Path(os.environ.get("TMPDIR", "/tmp")) / f"training_step_{os.getpid()}.py"
    file.write_text(script, encoding="utf-8")
    done = subprocess.run(
        [python, str(file), *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    file.unlink()
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    result: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> None:
    """Alternate rounds of both, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--nnunet-python")
    parser.add_argument("--nnunet-preprocessed", type=Path)
    options = parser.parse_args()
    name = "Dataset004_Hippocampus"
    sides: dict[str, tuple[str, str, Path, dict[str, str]]]
    sides = {"autounet": (sys.executable, OURS, options.workspace / "preprocessed" / name, {})}
    if options.nnunet_python:
        folder = options.nnunet_preprocessed
        variables = {"nnUNet_preprocessed": str(folder), "nnUNet_raw": str(folder), "nnUNet_results": str(folder)}
        variables |= {"nnUNet_compile": "f", "nnUNet_n_proc_DA": "1"}
        sides["nnU-Net"] = (options.nnunet_python, NNUNET, folder / name, variables)
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, (python, script, folder, variables) in sides.items():
            found = run(python, script, [str(folder), str(options.steps)], variables)
            seconds[side] += found.pop("seconds")  # type: ignore[arg-type]
            print(f"{side}: {found}", flush=True)
    print("| | steps | median s | least s |\n|---|---|---|---|")
    for side, taken in seconds.items():
        print(f"| {side} | {len(taken)} | {statistics.median(taken):.2f} | {min(taken):.2f} |")


if __name__ == "__main__":
    main()
