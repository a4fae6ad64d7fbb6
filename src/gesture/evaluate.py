"""Test a run again, on the split it recorded.

python -m gesture.evaluate run=logs/resnet18/<run>
python -m gesture.evaluate run=logs/resnet18/<run>/checkpoints/last.ckpt output=last.json
"""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

from gesture.command import entry_point
from gesture.config import EvaluateConfig, TrainConfig
from gesture.data.prepare import prepare_recorded
from gesture.run import RunDirectory, write_atomically

log = logging.getLogger(__name__)


@entry_point("evaluate")
def main(config: EvaluateConfig) -> float:
    run, checkpoint = RunDirectory.find(Path(config.run).expanduser())
    metrics = evaluate(run, checkpoint, config)
    log.info("\n".join(f"{name:<16}{value:.6f}" for name, value in metrics.items()))
    if checkpoint.samefile(run.best_checkpoint):
        log.info(compare(metrics, run.read_result()["metrics"]))
    if config.output:
        write_atomically(Path(config.output), json.dumps({"checkpoint": str(checkpoint), "metrics": metrics}, indent=1))
    return metrics["test/accuracy"]


def evaluate(run: RunDirectory, checkpoint: Path, config: EvaluateConfig) -> dict[str, float]:
    """The test figures of a checkpoint on its run's recorded test images."""
    recorded = _as_recorded(run.read_config(), run.read_result(), config)
    data = prepare_recorded(recorded.data, run.read_split())

    from gesture.training import fit  # imports torch, which missing data need not wait for

    return fit.test(fit.build(recorded, data), checkpoint)


def compare(metrics: dict[str, float], recorded: dict[str, Any]) -> str:
    """One sentence on whether the figures are those of result.json."""
    recorded_here = {name: recorded.get(name) for name in metrics}
    if recorded_here == metrics:
        return "The same figures as the run recorded."
    return f"The run recorded other figures: {recorded_here}. Other hardware, precision or versions round differently."


def _as_recorded(config: TrainConfig, result: dict[str, Any], wish: EvaluateConfig) -> TrainConfig:
    """The run's configuration for testing: the same numbers where the hardware is the same."""
    used = result["device"] or {"accelerator": None}
    precision = used["precision"] if wish.accelerator in ("auto", used["accelerator"]) else config.trainer.precision
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, root=wish.root or config.data.root),
        backbone=dataclasses.replace(config.backbone, weights="none"),  # the checkpoint's weights replace them
        accelerator=dataclasses.replace(config.accelerator, name=wish.accelerator),
        trainer=dataclasses.replace(config.trainer, precision=precision, devices="1", strategy="auto"),
    )


if __name__ == "__main__":
    main()
