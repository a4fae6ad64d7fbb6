"""What happens beside training: the record of epochs, curves, stopping in good order or because it diverges."""

import csv
import io
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from gesture.config.refusals import Diverged
from gesture.process import Interrupted, StopRequest
from gesture.runs.files import write_atomically
from gesture.training.checkpoints import STEPS_BETWEEN_LOOKS, direction, is_between_steps, validates
from gesture.training.datamodule import Batch
from gesture.training.metrics import TRAINING_METRICS, VALIDATION_METRICS

log = logging.getLogger(__name__)

SECONDS = "seconds"
"""Of an epoch record's state, what a clock says: the one part that differs from that of a training never stopped."""
LOOK_EVERY_S = 1.0
"""How long several processes may go on after one of them was told to stop."""
POINTS_AT_A_TIME = 20
"""Points of curves that wait on the device until they are read together."""


class EpochRecord(Callback):
    """A row of metrics.csv, a line of the log and a point of the curves for each epoch; remembers which was the best.

    Columns of an epoch without validation are empty.
    """

    COLUMNS = ("epoch", "step", *TRAINING_METRICS, *VALIDATION_METRICS, "lr", "images_per_second", "seconds")

    def __init__(self, path: Path, monitor: str, keep: Callable[["EpochRecord"], None]) -> None:
        self.path = path
        self.monitor = monitor
        self.keep = keep
        """Told of each epoch's end."""
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, float] | None = None
        """The epoch the best checkpoint is of: the first with the best monitored value."""
        self.images = 0
        self.training_s = 0.0
        self._epoch_started = self._last_step = 0.0
        self._spent = 0.0, 0.0

    @property
    def images_per_second(self) -> float:
        """Images a second of training steps, without validation."""
        return self.images / self.training_s if self.training_s else 0.0

    def state_dict(self) -> dict[str, Any]:
        now = time.monotonic()
        return {
            "rows": self.rows,
            "best": None if self.best is None else self.rows.index(self.best),
            "images": self.images,
            SECONDS: {
                "training": self.training_s,
                "epoch": now - self._epoch_started,
                "epoch_training": self._last_step - self._epoch_started,
            },
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after these rows; what metrics.csv has of later ones, from before the stop, will come again."""
        self.rows, self.images = state_dict["rows"], state_dict["images"]
        self.best = None if state_dict["best"] is None else self.rows[state_dict["best"]]
        self.training_s = state_dict[SECONDS]["training"]
        self._spent = state_dict[SECONDS]["epoch"], state_dict[SECONDS]["epoch_training"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        spent, training = self._spent
        self._epoch_started = time.monotonic() - spent
        self._last_step = self._epoch_started + training
        if trainer.is_global_zero and self.path.exists():
            self._write()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_started = self._last_step = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch and trainer.strategy.root_device.type != "cpu":
            torch.accelerator.synchronize()  # the host runs ahead; the epoch ends when the device has done its work
        self._last_step = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        training_s = self._last_step - self._epoch_started
        means = pl_module.means_of_all()
        self.images += means.images
        self.training_s += training_s
        row: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row |= dict(zip(TRAINING_METRICS, means.values().tolist(), strict=True))
        row |= {name: float(trainer.callback_metrics[name]) for name in VALIDATION_METRICS if validates(trainer)}
        row |= {"lr": trainer.optimizers[0].param_groups[0]["lr"]}
        row |= {"images_per_second": means.images / training_s, "seconds": time.monotonic() - self._epoch_started}
        self._keep(row, trainer)

    def _keep(self, row: dict[str, float], trainer: Any) -> None:
        self.rows.append(row)
        if self._is_best(row) and not trainer.fast_dev_run:  # one batch tells nothing, and no checkpoint is kept
            self.best = row
        self.keep(self)  # before anybody is told
        if trainer.is_global_zero:
            points = {name: value for name, value in row.items() if "/" in name or name == "epoch"}
            points["train/images_per_second"] = row["images_per_second"]
            for logger in trainer.loggers:
                logger.log_metrics(points, trainer.global_step)
            self._write()
            log.info(self._line(trainer, row))

    def _is_best(self, row: dict[str, float]) -> bool:
        value = row.get(self.monitor, math.nan)
        if not math.isfinite(value) or self.best is None:
            return math.isfinite(value)
        best = self.best[self.monitor]
        return value < best if direction(self.monitor) == "min" else value > best

    def _write(self) -> None:
        page = io.StringIO()
        writer = csv.DictWriter(page, self.COLUMNS)
        writer.writeheader()
        writer.writerows({name: f"{value:.7g}" for name, value in row.items()} for row in self.rows)
        write_atomically(self.path, page.getvalue())

    def _line(self, trainer: Trainer, row: dict[str, float]) -> str:
        words = [
            f"epoch {int(row['epoch']) + 1:>3}/{trainer.max_epochs}",
            f"loss {row['train/loss']:.4f}  accuracy {row['train/accuracy']:.4f}",
        ]
        if "val/loss" in row:
            words.append(f"val loss {row['val/loss']:.4f}  val accuracy {row['val/accuracy']:.4f}")
        words.append(f"{row['images_per_second']:.0f} images/s  {row['seconds']:.0f} s")
        if self.best is row:
            words.append("best so far")
        return "  ".join(words)


class Curves(Callback):
    """A point of loss, accuracy and learning rate at the first step and every few steps, however long an epoch is.

    Lightning's own logging of steps reads each value at once, for which the host waits for the device, and adds the
    epoch's number to each point.
    """

    def __init__(self, every_n_steps: int) -> None:
        self.every_n_steps = every_n_steps
        self.points: list[tuple[int, float, Tensor]] = []
        self.last = 0

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """What is drawn when a training goes on begins with the next step."""
        self._draw(trainer)
        for logger in trainer.loggers:
            logger.save()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.last = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
        step = trainer.global_step
        due = step == 1 or step % self.every_n_steps == 0
        if due and step != self.last and trainer.loggers:
            self.last = step  # which several batches may make
            self.points.append((step, trainer.optimizers[0].param_groups[0]["lr"], pl_module.last_step.clone()))
            if len(self.points) == POINTS_AT_A_TIME:
                self._draw(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        if self.points and trainer.is_global_zero:
            read = torch.stack([values for _, _, values in self.points]).tolist()
            for (step, lr, _), (loss, accuracy) in zip(self.points, read, strict=True):
                for logger in trainer.loggers:
                    logger.log_metrics({"train/loss_step": loss, "train/accuracy_step": accuracy, "lr": lr}, step)
        self.points.clear()


class StopWhenDiverged(Callback):
    """Ends a training whose loss is not finite before the optimizer takes that step.

    On a CPU each step is looked at. An accelerator works behind the host, which would wait for it each time, and
    several processes for each other: there a step now and then is looked at and the last of each epoch. The means of
    an epoch stay what one bad step made them, so none is missed, and nothing is saved in between.
    """

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Optimizer) -> None:
        waits = trainer.strategy.root_device.type != "cpu" or trainer.world_size > 1
        if waits and (trainer.global_step + 1) % STEPS_BETWEEN_LOOKS and not trainer.is_last_batch:
            return
        loss = pl_module.training_means.values()[0]
        if trainer.world_size > 1:  # all of them stop, or one would wait for ever
            loss = trainer.strategy.reduce(loss, reduce_op="sum")
        if not math.isfinite(loss):
            gradients = [each.grad for each in pl_module.parameters() if each.grad is not None]
            norm = float(torch.nn.utils.get_total_norm(gradients))
            raise Diverged(_explain("loss", float(loss), trainer.global_step + 1, trainer, f", gradient norm {norm:g}"))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = float(trainer.callback_metrics["val/loss"])
        if trainer.state.fn == "fit" and not math.isfinite(loss):
            raise Diverged(_explain("loss of the validation", loss, trainer.global_step, trainer))


def _explain(what: str, loss: float, step: int, trainer: Trainer, more: str = "") -> str:
    lr = trainer.optimizers[0].param_groups[0]["lr"]
    return (
        f"the {what} is {loss} at step {step}, in epoch {trainer.current_epoch + 1} (learning rate {lr:g}{more}): "
        "lower optimizer.lr, or limit gradients with trainer.gradient_clip_val=1."
    )


class FirstBatch(Callback):
    """Shows the first training batch as the network sees it."""

    def __init__(self, show: Callable[[Batch], None]) -> None:
        self.show = show

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if batch_idx == 0 and trainer.global_step == 0 and trainer.is_global_zero:
            self.show(batch)


class EndWhenBeaten(Callback):
    """Ends a training whose curve says that others of its search are better; it is tested and recorded as any other."""

    def __init__(self, monitor: str, judge: Callable[[int, float], bool]) -> None:
        self.monitor = monitor
        self.judge = judge

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        score = float(trainer.callback_metrics[self.monitor])
        if trainer.state.fn == "fit" and math.isfinite(score) and self.judge(trainer.current_epoch, score):
            trainer.should_stop = True
            log.info("ended after epoch %d: other trials were better by then", trainer.current_epoch + 1)


class StopInGoodOrder(Callback):
    """After Ctrl-C, SIGTERM or SIGHUP, ends between two steps, when weights and optimizer agree, and saves them.

    Several processes must stop at the same step: one that went on would wait for the others for ever. To ask whether
    any of them was told to stop, all wait for each other. They do so every few batches, and agree by the way after how
    many the next time, so that about LOOK_EVERY_S passes: what one's clock says, all count alike.
    """

    def __init__(self, request: StopRequest, checkpoint_path: Path) -> None:
        self.request = request
        self.checkpoint_path = checkpoint_path
        self._looked_s = time.monotonic()
        self._since, self._wait = 0, 1
        """Batches since the last look, and how many come between two."""

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if is_between_steps(trainer):
            self._stop_now_and_then(trainer)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any, **kwargs: Any) -> None:
        if pl_module.config.trainer.ema_decay is None:  # averaged weights are in the place of those to be saved
            self._stop_now_and_then(trainer)

    def on_test_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        self._stop_now_and_then(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_if_asked(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_if_asked(trainer)

    def _stop_now_and_then(self, trainer: Trainer) -> None:
        self._since += 1
        if trainer.world_size == 1 or self._since >= self._wait:
            self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: Trainer) -> None:
        signum = self.request.signum or 0
        if trainer.world_size > 1:
            signum, self._wait = self._agreed(trainer, signum)
            self._looked_s, self._since = time.monotonic(), 0
        if signum:
            raise Interrupted(signum)

    def _agreed(self, trainer: Trainer, signum: int) -> tuple[int, int]:
        """The signal that any process got, and after how many batches the slowest wants to look again."""
        batch_s = (time.monotonic() - self._looked_s) / max(self._since, 1)
        wait = min(int(LOOK_EVERY_S / batch_s), STEPS_BETWEEN_LOOKS)
        told = torch.tensor([signum, -wait], device=trainer.strategy.root_device)
        signum, wait = trainer.strategy.reduce(told, reduce_op="max").tolist()
        return signum, -wait

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, Interrupted) and trainer.state.fn == "fit":
            trainer.save_checkpoint(self.checkpoint_path)
            log.info("stopped in epoch %d, saved %s", trainer.current_epoch + 1, self.checkpoint_path)
