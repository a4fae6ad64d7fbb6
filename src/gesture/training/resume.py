"""What a training needs, beside what Lightning keeps, to go on as if it had never stopped."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from gesture.training.processes import of_all_processes

RANDOM = "random"
PROGRESS = "epoch_progress"
VALIDATION = "epoch_loop.val_loop.batch_progress"
FIRST_BATCH = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
"""Progress in which Lightning runs a validation from its beginning."""


class GoOnExactly(Callback):
    """Keeps random states, and has checkpoints say where a training stands so that Lightning goes on from there.

    A checkpoint is of one of three moments (`checkpoints.is_between_steps` says why of no other):

    - between two steps of an epoch, which Lightning restores by itself;
    - during a validation, which is then done again from its beginning;
    - at the end of an epoch, which counts as completed, so that the next one begins as it would have.
    """

    def __init__(self) -> None:
        self._random: list[dict[str, Any]] | None = None
        """Of each process."""

    def state_dict(self) -> dict[str, Any]:
        own = {name: device.get_rng_state() for name, device in _random_devices().items()}
        return {RANDOM: of_all_processes(own)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._random = state_dict[RANDOM]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if "loops" not in checkpoint:
            return
        loops = checkpoint["loops"]["fit_loop"]
        epochs, fit_loop = loops[PROGRESS], trainer.fit_loop
        if epochs["current"]["processed"] == epochs["current"]["ready"]:
            for counts in epochs.values():
                counts["completed"] = counts["processed"]
        elif fit_loop.epoch_loop.batch_progress.is_last_batch:
            loops[VALIDATION] |= {"total": dict(FIRST_BATCH), "current": dict(FIRST_BATCH), "is_last_batch": False}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._random is None:
            if trainer.global_rank:  # or all processes would drop out the same of each batch
                torch.manual_seed(torch.initial_seed() + trainer.global_rank)
            return
        fit_loop = trainer.fit_loop
        fit_loop._restarting = False  # or a plateau's scheduler, for one, would not be told of this epoch
        if not fit_loop.restarted_mid_epoch:
            fit_loop.epoch_loop.restarting = False  # the next epoch begins as any other
        stopping = trainer.early_stopping_callback
        if stopping is not None and stopping.wait_count >= stopping.patience:
            trainer.should_stop = True
        own = self._random[trainer.global_rank]
        for name, device in _random_devices().items():
            if name in own:
                device.set_rng_state(own[name])


def _random_devices() -> dict[str, Any]:
    """What has a random state here, by name."""
    devices: dict[str, Any] = {"cpu": torch}
    if torch.cuda.is_available():
        devices["cuda"] = torch.cuda
    if torch.backends.mps.is_available():
        devices["mps"] = torch.mps
    return devices
