"""Trainings killed at random moments and gone on with, beside one that was never stopped, compared whole.

    python -m benchmarks.kills [N]    # 20 unless told

Each is killed once with SIGKILL and gone on with to its end: every second one at a random moment once its data are
there, the others in the middle of a random save, the first save among them. Every second pair has its run directory
on a file system in memory, apart from the temporary folder and the sources. Everything that has a state takes part:
order, random changes, dropout, AdamW, one cycle, averages.
"""

import contextlib
import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gesture.runs.directory import RunDirectory
from gesture.writing import UNFINISHED

WORDS = (
    *("data=synthetic", "data.subjects=4", "data.frames=10", "data.image_size=[32,64]", "data.batch_size=16"),
    *("backbone.name=mobilenet_v3_small", "augment=light", "optimizer=adamw", "scheduler=onecycle"),
    *("trainer.ema_decay=0.9", "trainer.max_epochs=4", "checkpoint.every_n_steps=2", "accelerator=cpu"),
)
SAVES = 30
"""From which the save to be killed is drawn; a training makes more."""
LEFT = ("last.ckpt", "metrics.csv", "TensorBoard", "predictions.csv")
"""What two runs leave that is compared."""
ON_A_CLOCK = ("seconds", "images_per_second")
WIDTH = 150
"""Columns of the table."""
IN_MEMORY = Path("/dev/shm")  # another file system is the purpose


@dataclass
class Kill:
    """One training that was killed."""

    moment: str
    """Of the newest whole checkpoint."""
    unfinished: str
    """What was being written in checkpoints/; empty: nothing."""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "gesture.train", *words]


def start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL)


def run(words: list[str], folder: Path) -> None:
    with start(words, folder) as process:
        if process.wait():
            raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")


def seconds_of_training(process: subprocess.Popen[bytes], directory: RunDirectory) -> float:
    """How long a training takes once its data are there, the test and the plots included."""
    wait_for_data(process, directory)
    started = time.monotonic()
    process.wait()
    return time.monotonic() - started


def wait_for_data(process: subprocess.Popen[bytes], directory: RunDirectory) -> None:
    while not directory.split.exists() and process.poll() is None:
        time.sleep(0.01)


@dataclass(frozen=True)
class Save:
    """The moment when so many bytes are written of a checkpoint."""

    number: int
    written: float


def wait_for_save(process: subprocess.Popen[bytes], directory: RunDirectory, save: Save) -> None:
    """Return in the middle of a save, without a pause between two looks."""
    seen, was_there = 0, False
    while process.poll() is None:
        is_there = any(size >= save.written for size in unfinished(directory).values())
        seen += is_there and not was_there
        if seen == save.number:
            return
        was_there = is_there


def unfinished(directory: RunDirectory) -> dict[str, int]:
    """The checkpoints that are being written, or that a killed training left so, and how many bytes they have."""
    try:
        return {
            each.name: each.stat().st_size
            for each in os.scandir(directory.checkpoints)
            if each.name.endswith(UNFINISHED)
        }
    except FileNotFoundError:
        return {}


def random_save(unbroken: RunDirectory, moments: random.Random, is_first: bool) -> Save:
    size = unbroken.last_checkpoint.stat().st_size
    return Save(1 if is_first else moments.randint(1, SAVES), moments.uniform(0, size))


def killed(folder: Path, directory: RunDirectory, at: float | Save) -> Kill | None:
    """Kill a training in a save, or so many seconds after its data are there; None: it had ended before."""
    with start(command(*WORDS, f"hydra.run.dir={directory.path}"), folder) as process:
        wait_for_data(process, directory)
        if isinstance(at, Save):
            wait_for_save(process, directory, at)
        else:
            time.sleep(at)
        process.kill()
    if directory.read_result()["status"] == "done":
        return None
    left = [f"{name}, {size / 1e6:.1f} MB" for name, size in unfinished(directory).items()]
    return Kill(moment_of(directory), ", ".join(left))


def moment_of(directory: RunDirectory) -> str:
    """How far the newest whole checkpoint is."""
    there = [path for path in (directory.last_checkpoint, directory.previous_checkpoint) if path.exists()]
    if not there:
        return "before the first checkpoint"
    content = torch.load(there[0], weights_only=True)
    return f"epoch {content['epoch'] + 1}, step {content['global_step']}"


def file_system(path: Path) -> str:
    """What kind of file system a path is on, as Linux names it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    return max((len(at), kind) for at, kind in mounts if path.resolve().is_relative_to(at))[1]


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a checkpoint by its place, but what a clock says."""
    if name.rpartition("/")[2] in ON_A_CLOCK:
        return
    if isinstance(value, dict | list | tuple):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flat(inner, f"{name}/{key}")
    else:
        yield name, value


def differing(one: Path, other: Path) -> list[str]:
    """Where two checkpoints differ in anything."""
    return unequal(*(dict(flat(torch.load(path, weights_only=True))) for path in (one, other)))


def rows(run: Path) -> list[dict[str, str]]:
    """metrics.csv but for what a clock says."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{name: row[name] for name in row if name not in ON_A_CLOCK} for row in csv.DictReader(file)]


def points(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve but for what a clock says, as TensorBoard shows it."""
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.endswith(ON_A_CLOCK)]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def rise(curves: dict[str, list[tuple[int, float]]]) -> bool:
    """Whether no step comes twice or goes back."""
    steps = [[step for step, _ in curve] for curve in curves.values()]
    return all(each == sorted(set(each)) for each in steps)


def differences(one: Path, other: Path) -> dict[str, int]:
    """How much of what two runs leave is not the same."""
    curves = [points(run) for run in (one, other)]
    tables = [(run / "predictions.csv").read_bytes().splitlines() for run in (one, other)]
    counts = (
        len(differing(*(RunDirectory(run).last_checkpoint for run in (one, other)))),
        len(unequal(*(dict(flat(rows(run))) for run in (one, other)))),
        len(unequal(*(dict(flat(each)) for each in curves))) + (not rise(curves[1])),
        len(unequal(*(dict(flat(table)) for table in tables))),
    )
    return dict(zip(LEFT, counts, strict=True))


def unequal(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """The names whose values differ, or that one of the two lacks."""
    unequal = [name for name in first.keys() & second.keys() if not _equal(first[name], second[name])]
    return sorted([*unequal, *(first.keys() ^ second.keys())])


def _equal(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


def main(kills: int) -> int:
    """How many values differ in all."""
    table = Table("kill", "goes on from", "unfinished", "file system", *LEFT, title="differing values of each file")
    moments, total, in_a_save = random.Random(0), 0, 0
    with contextlib.ExitStack() as folders:
        here = Path(folders.enter_context(tempfile.TemporaryDirectory()))
        memory = Path(folders.enter_context(tempfile.TemporaryDirectory(dir=IN_MEMORY)))
        run(command(*WORDS, "trainer.fast_dev_run=true", "hydra.run.dir=first"), here)  # renders and decodes
        unbroken = RunDirectory(here / "unbroken")
        with start(command(*WORDS, f"hydra.run.dir={unbroken.path}"), here) as process:
            seconds = seconds_of_training(process, unbroken)
        for number in range(kills):
            directory = RunDirectory((here, memory)[number // 2 % 2] / f"killed{number}")
            kill = None
            while kill is None:  # the last one was faster than the one that was never stopped
                shutil.rmtree(directory.path, ignore_errors=True)
                at = moments.uniform(0, seconds) if number % 2 else random_save(unbroken, moments, is_first=number == 0)
                kill = killed(here, directory, at)
            run(command(f"resume={directory.path}"), here)
            differ = differences(unbroken.path, directory.path)
            total, in_a_save = total + sum(differ.values()), in_a_save + bool(kill.unfinished)
            counts = [str(differ[name]) for name in LEFT]
            row = str(number + 1), kill.moment, kill.unfinished, file_system(directory.path), *counts
            table.add_row(*row)
            print(*row, sep="  ", flush=True)
    Console(width=WIDTH).print(table)
    print(f"{kills} kills, {in_a_save} of them in a save; {total} differing values")
    return total


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]) if len(sys.argv) > 1 else 20) else 0)
