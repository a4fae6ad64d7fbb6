"""Train a network, test its best checkpoint, record the run.

python -m gesture.train backbone=resnet50
python -m gesture.train data=synthetic experiment=fast
python -m gesture.train resume=logs/resnet18/<run>
python -m gesture.train -m backbone=resnet18,resnet50 optimizer.lr=1e-3,1e-4
torchrun --nproc-per-node 4 -m gesture.train trainer.strategy=ddp
"""

from pathlib import Path

from gesture.cli.command import entry_point
from gesture.cli.going_on import AUTO
from gesture.config.schema import TrainConfig
from gesture.runs.directory import RunDirectory, job_overrides
from gesture.runs.result import Result
from gesture.training import experiment
from gesture.training.experiment import Judge


def train(config: TrainConfig, judge: Judge | None = None) -> Result:
    """Run the experiment that a configuration describes, in the directory that Hydra made for it, or go on with one.

    A search gives its judge, which may end it early.
    """
    if config.resume not in (None, AUTO):
        return experiment.resume(RunDirectory(Path(str(config.resume))))
    directory = RunDirectory.of_hydra()
    if directory.is_trial and directory.was_asked_for(config):  # its sweep is issued again, or its job was requeued
        return experiment.resume(directory, judge)
    return experiment.run(config, directory, job_overrides(), judge)


@entry_point("train")
def main(config: TrainConfig, judge: Judge | None = None) -> float | None:
    return train(config, judge).score


if __name__ == "__main__":
    main()
