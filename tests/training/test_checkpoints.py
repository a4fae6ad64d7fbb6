"""best.ckpt and last.ckpt: what each holds, and when it is written."""

import os
from pathlib import Path

import pytest
import torch

from conftest import call
from gesture import train
from gesture.config.refusals import ConfigError
from gesture.model import checkpoint as files
from gesture.runs.directory import RunDirectory
from gesture.training.checkpoints import CheckpointFiles


def test_the_best_checkpoint_holds_what_predicting_needs_and_the_last_what_training_needs(run_dir: Path) -> None:
    run = RunDirectory(run_dir)
    best = torch.load(run.best_checkpoint, weights_only=True)
    assert set(best) == {"epoch", "global_step", "pytorch-lightning_version", "state_dict", "gesture"}
    last = torch.load(run.last_checkpoint, weights_only=True)
    assert last["optimizer_states"][0]["state"]
    assert {"loops", "lr_schedulers", "callbacks"} <= set(last)
    assert set(best["state_dict"]) == set(last["state_dict"])
    assert run.best_checkpoint.stat().st_size < 0.4 * run.last_checkpoint.stat().st_size  # two moments a weight


def test_each_is_written_once_an_epoch_at_most(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = files.write

    def note(content: files.Content, path: Path, keep: Path | None = None) -> None:
        written.append(path.name)
        write(content, path, keep)

    monkeypatch.setattr(files, "write", note)
    words = ["trainer.max_epochs=3", "optimizer.lr=1e-30", f"hydra.run.dir={tmp_path}"]
    assert call(train.main, *tiny, *words) == 0
    assert written == ["best.ckpt", "last.ckpt", "last.ckpt", "last.ckpt"]  # the first epoch stays the best
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("*.ckpt"))
    assert kept == ["best.ckpt", "last.ckpt", "previous.ckpt"]


def test_a_checkpoint_is_read_without_executing_anything(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"state_dict": {}, "gesture": Trap()}, tmp_path / "best.ckpt")
    with pytest.raises(ConfigError):
        CheckpointFiles().load_checkpoint(tmp_path / "best.ckpt", weights_only=False)
    assert not (tmp_path / "sprung").exists()
