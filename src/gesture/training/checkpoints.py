"""best.ckpt and last.ckpt: when they are written, and what each of them holds."""

import math
import time
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from gesture.config.names import FALLING_MONITORS
from gesture.model import checkpoint as files
from gesture.runs.directory import RunDirectory

USED_BY_OTHERS = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", "gesture")
"""What the best checkpoint holds: all that is needed to predict. The optimizer's moments, twice the weights with Adam,
the loops and whatever callbacks keep are of use to a training that goes on, which starts from last.ckpt."""


PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
STEPS_BETWEEN_LOOKS = 50
"""Of an accelerator's loss or another process's clock; each time, somebody waits."""


class CheckpointFiles(CheckpointIO):
    """Writes beside the target, syncs and renames; the best checkpoint without what only training needs.

    The last checkpoint but one is kept too: whatever damages the last one, a training can go on.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        run = RunDirectory(path.parent.parent)
        if path.name == run.best_checkpoint.name:
            checkpoint = {name: checkpoint[name] for name in USED_BY_OTHERS}
        files.write(checkpoint, path, keep=run.previous_checkpoint if path.name == run.last_checkpoint.name else None)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """What was written; nothing in it is executed, whatever is asked for."""
        return files.read(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


class PortableState(ModelCheckpoint):
    """Remembers its files by their names, so that a run's directory may be moved before its training goes on."""

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict() | {"dirpath": None}
        state |= {name: _name(state[name]) for name in PATHS}
        return state | {"best_k_models": {_name(path): score for path, score in state["best_k_models"].items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = state_dict | {"dirpath": self.dirpath}
        state |= {name: self._path(state[name]) for name in PATHS}
        state["best_k_models"] = {self._path(name): score for name, score in state["best_k_models"].items()}
        super().load_state_dict(state)
        self.current_score = state["current_score"]

    def _path(self, name: str) -> str:
        return str(Path(str(self.dirpath)) / name) if name else name


class BestCheckpoint(PortableState):
    """Keeps best.ckpt, written after each validation that is better than all before it, of finite value."""

    def __init__(self, directory: RunDirectory, monitor: str) -> None:
        super().__init__(
            directory.checkpoints,
            filename=directory.best_checkpoint.stem,
            monitor=monitor,
            mode=direction(monitor),
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        return current is not None and math.isfinite(current) and super().check_monitor_top_k(trainer, current)

    def on_train_batch_end(self, *args: Any) -> None:
        """Nothing is saved between validations."""


class LastCheckpoint(PortableState):
    """Keeps last.ckpt, written at the end of each epoch and every few steps or minutes if asked, for going on.

    `save_last` of the other would leave it as it was whenever an epoch is not the best.
    """

    def __init__(self, directory: RunDirectory, every_n_steps: int | None, every_minutes: float | None) -> None:
        self.path = directory.last_checkpoint
        self.every_n_steps = every_n_steps
        self.every_s = math.inf if every_minutes is None else every_minutes * 60
        self._saved_s = time.monotonic()
        super().__init__(
            directory.checkpoints,
            filename=directory.last_checkpoint.stem,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if is_between_steps(trainer) and self._is_due(trainer):
            trainer.save_checkpoint(self.path)
            self._saved_s = time.monotonic()

    def _is_due(self, trainer: Trainer) -> bool:
        """All processes must think alike, so the first one's clock is asked, as often as they can wait for it."""
        step = trainer.global_step
        if self.every_n_steps is not None and step % self.every_n_steps == 0:
            return True
        if self.every_s == math.inf or (trainer.world_size > 1 and step % STEPS_BETWEEN_LOOKS):
            return False
        is_late = time.monotonic() - self._saved_s >= self.every_s
        return bool(trainer.strategy.broadcast(is_late))


def is_between_steps(trainer: Trainer) -> bool:
    """Whether a batch's end is a place to stop and go on from: nothing is accumulated, and the epoch has more batches.

    After the last batch come validation and the epoch's end, and what is saved there.
    """
    batches: int = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return not trainer.is_last_batch and batches % int(trainer.accumulate_grad_batches) == 0


def validates(trainer: Trainer) -> bool:
    """Whether the epoch has a validation at its end."""
    return (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0


def _name(path: str) -> str:
    return Path(path).name


def direction(monitor: str) -> str:
    """Which values of a monitor are better, as Lightning and PyTorch say it."""
    return "min" if monitor in FALLING_MONITORS else "max"
