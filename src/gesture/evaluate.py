"""Test a run again, on the split it recorded.

python -m gesture.evaluate run=logs/resnet18/<run>
python -m gesture.evaluate run=logs/resnet18/<run>/checkpoints/last.ckpt output=last.json
"""

import dataclasses
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gesture.command import entry_point
from gesture.config import ConfigError, EvaluateConfig, TrainConfig
from gesture.data.files import make_writable
from gesture.run import RunDirectory, write_atomically

if TYPE_CHECKING:
    from gesture.data.prepare import Data

log = logging.getLogger(__name__)


@entry_point("evaluate")
def main(config: EvaluateConfig) -> float:
    run, checkpoint = RunDirectory.find(Path(config.run).expanduser())
    if config.output:
        make_writable(Path(config.output).expanduser().absolute().parent, "output")
    result = run.read_result()
    recorded = _as_recorded(run.read_config(), result, config)
    data = _find_data(recorded, run)
    metrics = evaluate(recorded, data, checkpoint)
    log.info("\n".join(f"{name:<16}{value:.6f}" for name, value in metrics.items()))
    if data.fingerprint != result["dataset"]["fingerprint"]:
        log.warning(
            "The images are not the run's: files below %s were changed, added or removed.", data.samples.files.root
        )
    if run.best_checkpoint.is_file() and checkpoint.samefile(run.best_checkpoint):
        log.info(compare(metrics, result["metrics"]))
    if config.output:
        content = {"checkpoint": str(checkpoint), "metrics": metrics}
        write_atomically(Path(config.output).expanduser(), json.dumps(content, indent=1))
    return metrics["test/accuracy"]


def evaluate(config: TrainConfig, data: "Data", checkpoint: Path) -> dict[str, float]:
    """The test figures of a checkpoint on the test images of prepared data."""
    from gesture.training import fit  # imports torch, which missing data need not wait for

    return fit.test(fit.build(config, data), checkpoint)


def compare(metrics: dict[str, float], recorded: dict[str, Any]) -> str:
    """One sentence on whether the figures are those of result.json."""
    recorded_here = {name: recorded[name] for name in metrics if name in recorded}
    if not recorded_here:
        return "The run recorded no test figures: it did not end by itself."
    if recorded_here == metrics:
        return "The same figures as the run recorded."
    return f"The run recorded other figures: {recorded_here}. Other images, hardware or versions give others."


def _find_data(config: TrainConfig, run: RunDirectory) -> "Data":
    from gesture.data.prepare import prepare_recorded  # a run that is not there need not wait for it

    root = Path(config.data.root)
    if config.data.name != "synthetic" and not root.exists():
        raise ConfigError(f"the run's images are not at '{root}' any more: give root=<where they are now>.")
    return prepare_recorded(config.data, run.read_split())


def _as_recorded(config: TrainConfig, result: dict[str, Any], wish: EvaluateConfig) -> TrainConfig:
    """The run's configuration for testing: the same numbers where the hardware is the same."""
    used = result["device"]
    precision = used["precision"] if wish.accelerator in ("auto", used["accelerator"]) else config.trainer.precision
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, root=wish.root or config.data.root, download=None),
        backbone=dataclasses.replace(config.backbone, weights="none"),  # the checkpoint's weights replace them
        accelerator=dataclasses.replace(config.accelerator, name=wish.accelerator),
        trainer=dataclasses.replace(config.trainer, precision=precision, devices="1", strategy="auto"),
    )


if __name__ == "__main__":
    main()
