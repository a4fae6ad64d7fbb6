"""CUDA graphs at batch 8 in the report's exact mathematics: how much faster than step by step, and the same learning?

python -m benchmarks.graphs data.frames=20
"""

import sys
from dataclasses import replace
from statistics import stdev

import torch

from benchmarks.arms import Epoch, configured, gesture
from benchmarks.measure import Measured, ratio, report, side_by_side
from benchmarks.training import later

DEFAULTS = ["data=synthetic", "experiment=report_resnet18", "trainer.max_epochs=3", "accelerator=cuda"]
REPETITIONS = 5


def main(words: list[str]) -> None:
    if not torch.cuda.is_available():
        sys.exit("CUDA graphs need a CUDA device, and this machine has none.")
    words = [*DEFAULTS, *words]
    config, seed = configured(words), 0

    def trained(graphs: bool) -> dict[str, float]:
        nonlocal seed
        seed += graphs  # the arms take turns: both have the same seed in a round
        accelerator = replace(config.accelerator, graphs=graphs)
        epochs: list[Epoch] = gesture(replace(config, accelerator=accelerator, seed=seed))
        return {"images/s": later(epochs), "loss of the last epoch": epochs[-1].loss}

    rows = side_by_side({"graphs": lambda: trained(True), "step by step": lambda: trained(False)}, REPETITIONS)
    losses = [rows[f"{arm}, loss of the last epoch"].values for arm in ("graphs", "step by step")]
    rows["graphs / step by step"] = ratio(rows["graphs, images/s"], rows["step by step, images/s"])
    rows["losses apart, same seed"] = Measured(tuple(abs(a - b) for a, b in zip(*losses, strict=True)))
    rows["standard deviation of the loss between seeds"] = Measured((stdev(losses[1]),))
    report("graphs", rows, {"overrides": words})


if __name__ == "__main__":
    main(sys.argv[1:])
