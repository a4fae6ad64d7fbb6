"""Test finished runs: on the split that they recorded, or on other images; one, or the average of several.

python -m gesture.evaluate run=logs/resnet18/<run>
python -m gesture.evaluate run=logs/resnet18/<run>/checkpoints/last.ckpt output=last.json
python -m gesture.evaluate run=logs/resnet18/<run> data=folder data.root=photos unknown=[rooms] explain=true
python -m gesture.evaluate runs=[logs/resnet18/<run>,logs/resnet18/<another>] groups=gloves.csv
"""

from gesture.cli.command import entry_point
from gesture.config.schema import EvaluateConfig
from gesture.runs.directory import RunDirectory
from gesture.training import evaluation


@entry_point("evaluate")
def main(config: EvaluateConfig) -> float | None:
    explain = None
    if config.explain:
        from gesture.inference import explain as explaining  # imports torch and captum

        explain = explaining.explainer()
    accuracy: float | None = evaluation.run(config, RunDirectory.of_hydra().path, explain)["metrics"]["test/accuracy"]
    return accuracy


if __name__ == "__main__":
    main()
