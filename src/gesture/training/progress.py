"""A live bar in a terminal; in a log file the epochs' lines say enough."""

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import BatchesProcessedColumn
from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn

REFRESH_S = 0.5
"""Lightning would redraw and read the metrics at every step, which waits for the device."""


class ProgressBar(RichProgressBar):
    """Lightning's bar with the epoch's loss, accuracy and images a second so far."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=round(1 / REFRESH_S))
        self._next_s = 0.0
        self._started_s = 0.0
        self._batches = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started_s, self._batches = time.monotonic(), 0
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._batches = batch_idx + 1
        if self._is_due() or trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        if self._is_due():
            super().on_validation_batch_end(trainer, *args, **kwargs)

    def on_test_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        if self._is_due():
            super().on_test_batch_end(trainer, *args, **kwargs)

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, int | str | float | dict[str, float]]:
        if trainer.state.fn != "fit" or not self._batches:
            return {}
        loss, accuracy = pl_module.training_means.values().tolist()
        images = self._batches * pl_module.config.data.batch_size * trainer.world_size
        speed = images / (time.monotonic() - self._started_s)
        return {"loss": loss, "accuracy": accuracy, "images/s": f"{speed:.0f}"}

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """Lightning's columns without its speed, which counts steps, and narrow enough for 80 characters."""
        return [
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            BatchesProcessedColumn(style=""),
            TimeRemainingColumn(compact=True),
        ]

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"

    def _is_due(self) -> bool:
        due = time.monotonic() >= self._next_s
        if due:
            self._next_s = time.monotonic() + REFRESH_S
        return due
