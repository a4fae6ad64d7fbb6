"""What happens beside training: the record of epochs, the live bar, stopping in good order."""

import csv
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.progress import Progress, TaskID

from gesture.data.datamodule import Batch
from gesture.process import Interrupted, StopRequest
from gesture.progress import progress_bar, shows_bars

log = logging.getLogger(__name__)

REFRESH_S = 0.5


class EpochRecord(Callback):
    """A row of metrics.csv and a line of the log for each epoch; remembers which was the best."""

    def __init__(self, path: Path, monitor: str) -> None:
        self.path = path
        self.monitor = monitor
        self.rows: list[dict[str, float]] = []
        self.images = 0
        self.training_s = 0.0
        self._epoch_started = 0.0

    @property
    def images_per_second(self) -> float:
        """Of training steps, without validation."""
        return self.images / self.training_s if self.training_s else 0.0

    @property
    def best(self) -> dict[str, float] | None:
        """The epoch the best checkpoint is of: the first with the best monitored value."""
        rows = [row for row in self.rows if not math.isnan(row[self.monitor])]
        return (min if self.monitor.endswith("loss") else max)(rows, key=lambda row: row[self.monitor], default=None)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_started = self._last_step = time.monotonic()
        self._epoch_images = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch and trainer.strategy.root_device.type != "cpu":
            torch.accelerator.synchronize()  # the host runs ahead; the epoch ends when the device has done its work
        self._last_step = time.monotonic()
        self._epoch_images += len(batch.targets) * trainer.world_size

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        training_s = self._last_step - self._epoch_started
        self.images += self._epoch_images
        self.training_s += training_s
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if not name.endswith("_step")}
        row: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row |= {name: value for name, value in sorted(values.items()) if "/" in name}
        row |= {"lr": trainer.optimizers[0].param_groups[0]["lr"]}
        row |= {"images_per_second": self._epoch_images / training_s, "seconds": time.monotonic() - self._epoch_started}
        self.rows.append(row)
        if trainer.is_global_zero:
            if trainer.logger:
                trainer.logger.log_metrics({"train/images_per_second": row["images_per_second"]}, trainer.global_step)
            if math.isnan(row["train/loss"]):
                log.warning("the loss is not a number any more: lower optimizer.lr")
            self._write(row)
            log.info(self._line(trainer, row))

    def _write(self, row: dict[str, float]) -> None:
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.rows[0])
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)

    def _line(self, trainer: Trainer, row: dict[str, float]) -> str:
        best = "  best so far" if self.best is row else ""
        return (
            f"epoch {int(row['epoch']) + 1:>3}/{trainer.max_epochs}  "
            f"loss {row['train/loss']:.4f}  accuracy {row['train/accuracy']:.4f}  "
            f"val loss {row['val/loss']:.4f}  val accuracy {row['val/accuracy']:.4f}  "
            f"{row['images_per_second']:.0f} images/s  {row['seconds']:.0f} s{best}"
        )


class LiveBar(Callback):
    """A bar for each epoch in a terminal; in a log file the epochs' lines say enough."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.task = TaskID(0)
        self.refreshed = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(
            trainer, f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", int(trainer.num_training_batches)
        )

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._is_due():  # reading the values waits for the device, so not at every step
            loss, accuracy = pl_module.training_means.values().tolist()
            epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self._advance(batch_idx + 1, f"{epoch}  loss {loss:.3f}  accuracy {accuracy:.2f}")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(trainer, "validating", int(sum(trainer.num_val_batches)))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(trainer, "testing", int(sum(trainer.num_test_batches)))

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._on_evaluated(*args)

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._on_evaluated(*args)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def _on_evaluated(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if self._is_due():
            self._advance(batch_idx + 1)

    def _start(self, trainer: Trainer, description: str, total: int) -> None:
        self._stop()
        if shows_bars() and trainer.is_global_zero:
            self.bar = progress_bar()
            self.task = self.bar.add_task(description, total=total)
            self.bar.start()

    def _is_due(self) -> bool:
        return self.bar is not None and time.monotonic() - self.refreshed > REFRESH_S

    def _advance(self, completed: int, description: str | None = None) -> None:
        assert self.bar is not None
        self.bar.update(self.task, completed=completed, description=description)
        self.refreshed = time.monotonic()

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


class FirstBatch(Callback):
    """Shows the first training batch as the network sees it."""

    def __init__(self, show: Callable[[Batch], None]) -> None:
        self.show = show

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if trainer.global_step == 0 and trainer.is_global_zero:
            self.show(batch)


class StopInGoodOrder(Callback):
    """After Ctrl-C or SIGTERM, ends between two steps, when weights and optimizer agree, and saves them."""

    def __init__(self, request: StopRequest, checkpoint_path: Path) -> None:
        self.request = request
        self.checkpoint_path = checkpoint_path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning has put its own SIGTERM handler first, which in a distributed run waits for the other processes.
        self.request.listen()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.request.listen()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.request.listen()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        self._stop_if_asked(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.world_size == 1:  # processes have different numbers of these batches
            self._stop_if_asked(trainer)

    def on_test_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.world_size == 1:
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_if_asked(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: Trainer) -> None:
        """All processes stop at the same step: one that went on would wait for the others for ever."""
        signum = self.request.signum or 0
        if trainer.world_size > 1:
            told = torch.tensor(signum, device=trainer.strategy.root_device)
            signum = int(trainer.strategy.reduce(told, reduce_op="max"))
        if signum:
            raise Interrupted(signum)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, Interrupted | SIGTERMException) and trainer.state.fn == "fit":
            trainer.save_checkpoint(self.checkpoint_path)
            log.info("stopped in epoch %d, saved %s", trainer.current_epoch + 1, self.checkpoint_path)
