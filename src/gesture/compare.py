"""Make one answer of many runs: a sorted table, each setting's mean over people, and whether settings differ.

python -m gesture.compare logs/resnet18/<sweep>
python -m gesture.compare logs/resnet18/<sweep> logs/resnet18/<run with split=random>
python -m gesture.compare 'logs/*'
"""

from gesture.cli.command import entry_point
from gesture.config.schema import CompareConfig
from gesture.runs.collection import runs_of
from gesture.runs.directory import RunDirectory


@entry_point("compare")
def main(config: CompareConfig) -> None:
    runs = runs_of(config.runs)

    from gesture.evaluation.comparison import compare  # imports numpy and Matplotlib, which a refusal need not wait for
    from gesture.report import comparison

    comparison.publish(compare(runs, config.level), RunDirectory.of_hydra().path)


if __name__ == "__main__":
    main()
