"""What it costs a training that nobody stops that it could go on after a stop, in CPU seconds of the whole command.

    python -m benchmarks.going_on [PAIRS]    # 15 unless told; they are added to those measured before

Each pair is the same training on one core with all of it, and without: no last.ckpt and previous.ckpt (every 100 steps
and at the epoch's end), no random states in checkpoints, no look after each step for a request to stop. best.ckpt is
written by both, but without by torch.save alone: not beside its target, not synced, not renamed.

A pair's two runs differ by a few hundredths for reasons of the machine. So the seconds that the process spends in these
parts are counted too, as a share of all of its seconds.
"""

import atexit
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from benchmarks.first_try import cpu_seconds
from benchmarks.measure import OUTPUT, Measured, mean_and_interval, ratio, report
from gesture import train
from gesture.config.schema import TrainConfig
from gesture.runs.directory import RunDirectory
from gesture.training import trainer
from gesture.training.callbacks import StopInGoodOrder
from gesture.training.checkpoints import USED_BY_OTHERS, CheckpointFiles, LastCheckpoint
from gesture.training.resume import GoOnExactly

PAIRS = 15
WORDS = (
    *("data=synthetic", "data.subjects=8", "data.frames=50", "data.image_size=[96,96]", "data.batch_size=32"),
    *("trainer.max_epochs=1", "trainer.limit_train_batches=100", "trainer.limit_val_batches=4", "accelerator=cpu"),
    "checkpoint.every_n_steps=100",
)
PARTS = (GoOnExactly, StopInGoodOrder, LastCheckpoint)
MEASURED = OUTPUT / "going_on_pairs.json"
WAYS = ("with", "without")


class PlainFiles(CheckpointFiles):
    """Writes the best checkpoint as torch does."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        torch.save({name: checkpoint[name] for name in USED_BY_OTHERS}, path)


def leave_out() -> None:
    """Let trainings of this process have nothing that only going on needs."""
    everything = trainer._callbacks

    def some(config: TrainConfig, directory: RunDirectory, stop: Callback) -> Iterator[Callback]:
        return (each for each in everything(config, directory, stop) if not isinstance(each, PARTS))

    trainer._callbacks = some
    vars(trainer)["CheckpointFiles"] = PlainFiles


class Clock:
    """CPU seconds of this process within some functions, told when it ends."""

    def __init__(self) -> None:
        self.seconds, self.depth = 0.0, 0
        atexit.register(lambda: print(json.dumps({"share": self.seconds / time.process_time()})))

    def over(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            before = time.process_time()
            self.depth += 1
            try:
                return function(*args, **kwargs)
            finally:
                self.depth -= 1
                self.seconds += 0 if self.depth else time.process_time() - before

        return timed


def count() -> None:
    """Let trainings of this process count what they spend in the parts."""
    clock = Clock()
    for part in PARTS:
        for name in dir(part):
            if name.startswith("on_"):
                setattr(part, name, clock.over(getattr(part, name)))


def training(way: str, words: tuple[str, ...], folder: Path) -> dict[str, float]:
    """CPU seconds of a training, as its processes count them, and the share that was counted."""
    place = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "benchmarks.going_on", way, *words, f"hydra.run.dir={place}/run"]
    seconds = cpu_seconds(command, place / "output")
    told = json.loads((place / "output").read_text().splitlines()[-1]) if way == "with" else {}
    return {way: seconds, **told}


def main(pairs: int) -> None:
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[-1:])
    os.environ["OMP_NUM_THREADS"] = "1"
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else []
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        words = (*WORDS, f"data.root={place}/data", f"data.cache_dir={place}/cache")
        training("with", (*words, "trainer.fast_dev_run=true"), Path(place))  # renders and decodes
        for number in range(pairs):
            first, second = (training(way, words, Path(place)) for way in WAYS[:: 1 if number % 2 else -1])
            measured.append(first | second)
            MEASURED.write_text(json.dumps(measured, indent=1))
            print(measured[-1], flush=True)
    rows = {name: Measured(tuple(pair[name] for pair in measured)) for name in (*WAYS, "share")}
    cost = ratio(rows["with"], rows["without"])
    labelled = {
        **{f"{way}, CPU s": rows[way] for way in WAYS},
        "with / without": cost,
        "their mean and its 95 % interval": mean_and_interval(cost),
        "share of the CPU seconds spent in the parts": rows["share"],
        "its mean and 95 % interval": mean_and_interval(rows["share"]),
    }
    report("going_on", labelled, {"overrides": WORDS})


if __name__ == "__main__":
    asked, *others = sys.argv[1:] or [str(PAIRS)]
    if asked in WAYS:
        (count if asked == "with" else leave_out)()
        sys.argv[1:] = others
        train.main()
    else:
        main(int(asked))
