"""A disk that fills up while a training writes to it, for real: a sentence, nothing lost, and it goes on with room."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks.kills import differences
from benchmarks.words import last_wins

from conftest import call
from gesture import train
from gesture.model import checkpoint
from gesture.runs.directory import RunDirectory
from gesture.runs.result import status_of
from moments import train_until

RECIPE = (
    *("trainer.max_epochs=2", "data.batch_size=24", "augment=light", "scheduler=onecycle", "trainer.ema_decay=0.9"),
    *("checkpoint.every_n_steps=2", "trainer.log_every_n_steps=1"),
)
A_LITTLE = 1_000_000
"""Bytes: enough for a record, not for a checkpoint."""
WRITERS = {
    "last.ckpt": "gesture.training.checkpoints:CheckpointFiles.save_checkpoint 3",
    "metrics.csv": "gesture.training.callbacks:EpochRecord._write 2",
    "result.json": "gesture.training.experiment:_keep_epoch 2",
    "TensorBoard": "gesture.training.callbacks:Curves._draw 2",
    "the log": "gesture.training.callbacks:EpochRecord._line 1",
    "predictions.csv": "gesture.runs.predictions:write 1",
    "plots": "gesture.report.plots:Publisher.publish_all 1",
}


@pytest.fixture(scope="module")
def words(tiny: list[str]) -> list[str]:
    return last_wins([*tiny, *RECIPE])


@pytest.fixture(scope="module")
def unbroken(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("unbroken") / "run"
    assert call(train.main, *words, f"hydra.run.dir={run}") == 0
    return run


@pytest.mark.parametrize(("writer", "spare"), [("last.ckpt", A_LITTLE), *((writer, 0) for writer in WRITERS)])
def test_a_disk_that_fills_up_costs_nothing_but_the_time_until_there_is_room(
    writer: str, spare: int, words: list[str], unbroken: Path, disk_of: Callable[[str], Path], tmp_path: Path
) -> None:
    disk = disk_of("128m")
    directory, ballast = RunDirectory(disk / "run"), disk / "of others"
    ended = train_until(
        f"{WRITERS[writer]} fill", [*words, f"hydra.run.dir={directory.path}"], tmp_path, ballast, spare
    )
    assert ended.returncode == 1, ended.stderr
    assert "no room" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    status = status_of(json.loads(directory.result.read_text()))
    assert status == ("failed" if spare else "died")  # which readers find where it could not be written
    if writer != "TensorBoard":  # which is told before the first checkpoint is written
        checkpoint.read(directory.last_checkpoint)
    ballast.unlink()
    again = [sys.executable, "-m", "gesture.train", f"resume={directory.path}"]
    subprocess.run(again, cwd=tmp_path, check=True, timeout=120)
    assert sum(differences(unbroken, directory.path).values()) == 0


def test_a_limit_of_file_sizes_is_told_as_a_full_disk_is(words: list[str], tmp_path: Path) -> None:
    limit = 2_000_000  # bytes; the network alone has more
    ended = subprocess.run(
        [sys.executable, "-m", "gesture.train", *words, f"hydra.run.dir={tmp_path / 'run'}"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "(a quota, or a limit of file sizes): free some" in ended.stdout + ended.stderr
    assert json.loads((tmp_path / "run/result.json").read_text())["status"] == "failed"
    assert list((tmp_path / "run/checkpoints").iterdir()) == []
