"""Train a network, test its best checkpoint, record the run.

python -m gesture.train backbone=resnet50
python -m gesture.train data=synthetic experiment=fast
python -m gesture.train -m backbone=resnet18,resnet50 optimizer.lr=1e-3,1e-4
torchrun --nproc-per-node 4 -m gesture.train trainer.strategy=ddp
"""

from gesture import experiment
from gesture.command import entry_point
from gesture.config import TrainConfig
from gesture.run import RunDirectory, job_overrides


@entry_point("train")
def main(config: TrainConfig) -> float | None:
    return experiment.run(config, RunDirectory.of_hydra(), job_overrides()).score


if __name__ == "__main__":
    main()
