"""Name the gesture in each image of a file or folder.

python -m gesture.predict run=logs/resnet18/<run> input=hand.png
python -m gesture.predict run=logs/resnet18/<run>/checkpoints/last.ckpt input=images/ output=predictions.jsonl
"""

from pathlib import Path

from gesture.cli.command import entry_point
from gesture.config.refusals import RunFailed
from gesture.config.schema import PredictConfig
from gesture.data.files import find_images
from gesture.process import held_back
from gesture.runs.directory import RunDirectory
from gesture.runs.output import judged


@entry_point("predict")
def main(config: PredictConfig) -> None:
    with judged(config.output) as output:
        paths = find_images(Path(config.input).expanduser())
        run, checkpoint = RunDirectory.find(Path(config.run).expanduser())
        if output:
            output.check([*paths, checkpoint, *run.files])

        with held_back():
            from gesture.inference.files import predict_files  # imports torch, which a mistyped path need not wait for
            from gesture.inference.recogniser import Recogniser

        use = config.accelerator
        recogniser = Recogniser.load(checkpoint, use.name, use.precision, use.channels_last)
        if predict_files(recogniser, paths, config.batch_size, output):
            raise RunFailed


if __name__ == "__main__":
    main()
