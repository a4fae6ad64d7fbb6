"""Test a run again, on the split it recorded.

python -m gesture.evaluate run=logs/resnet18/<run>
python -m gesture.evaluate run=logs/resnet18/<run>/checkpoints/last.ckpt output=last.json
"""

from gesture.cli.command import entry_point
from gesture.config.schema import EvaluateConfig
from gesture.training import again


@entry_point("evaluate")
def main(config: EvaluateConfig) -> float | None:
    return again.test(config)["test/accuracy"]


if __name__ == "__main__":
    main()
