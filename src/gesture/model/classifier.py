"""The LightningModule: one step for training, validation and test."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional as F

from gesture.config import TrainConfig
from gesture.data.datamodule import Batch
from gesture.model.metrics import RunningMeans, gesture_metrics
from gesture.model.network import GestureNetwork
from gesture.model.optimizers import build_optimizer, build_scheduler

CHECKPOINT_FORMAT = 1
"""Raised when the `gesture` entry of checkpoints changes."""

TRAINING_FIGURES = ("train/loss", "train/accuracy")


@dataclass(frozen=True)
class Predictions:
    """What the network said of N samples, on the CPU."""

    rows: Tensor
    """[N] rows of the table of samples."""
    targets: Tensor
    """[N]"""
    probabilities: Tensor
    """[N, C]"""


class GestureClassifier(LightningModule):
    """Trains and measures a `GestureNetwork`.

    Args:
        network: what to train.
        config: the whole configuration; it travels in every checkpoint.
        class_names: the C gestures in the order of the logits.
        steps_per_epoch: optimizer steps as a function of the number of processes, which schedulers need to know.
    """

    def __init__(
        self,
        network: GestureNetwork,
        config: TrainConfig,
        class_names: tuple[str, ...],
        steps_per_epoch: Callable[[int], int],
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.class_names = class_names
        self.steps_per_epoch = steps_per_epoch
        self.val_metrics = gesture_metrics(len(class_names), "val/")
        self.test_metrics = gesture_metrics(len(class_names), "test/")
        self.training_means = RunningMeans()
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self.predictions: Predictions | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of images [B, 1, H, W]."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, accuracy = self.loss_and_accuracy(batch.images, batch.targets)
        self.note_training(torch.stack((loss.detach(), accuracy)), len(batch.targets))
        return loss

    def loss_and_accuracy(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The two figures of one training batch, each a scalar on the device."""
        logits, loss = self._step(images, targets)
        return loss, (logits.argmax(dim=1) == targets).float().mean()

    def note_training(self, figures: Tensor, images: int) -> None:
        """Take in the figures [2] of a batch of so many images.

        Lightning hears of few: handing it every step's takes longer than all else it does in a step.
        """
        self.training_means.add(figures, images)
        if (self.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log_dict({f"{name}_step": value for name, value in zip(TRAINING_FIGURES, figures, strict=True)})
        if self.trainer.is_last_batch:
            means = dict(zip(TRAINING_FIGURES, self.training_means.values(), strict=True))
            self.log_dict(means, on_step=False, on_epoch=True, sync_dist=self.trainer.world_size > 1, batch_size=1)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluation_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluation_step(batch, "test")

    def on_validation_epoch_start(self) -> None:
        self.seen.clear()

    def on_validation_epoch_end(self) -> None:
        self._measure(self.val_metrics)

    def on_test_epoch_end(self) -> None:
        self._measure(self.test_metrics)

    def on_train_epoch_start(self) -> None:
        """Begin new means; freeze the backbone for the first epochs, its batch statistics included."""
        self.training_means = RunningMeans()
        trains = self.current_epoch >= self.config.backbone.freeze_epochs
        self.network.backbone.requires_grad_(trains).train(trains)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.network, self.config.optimizer, self.config.backbone.lr_factor)
        total_steps = self.steps_per_epoch(self.trainer.world_size) * self.config.trainer.max_epochs
        scheduler = build_scheduler(optimizer, self.config.scheduler, total_steps)
        return {"optimizer": optimizer, "lr_scheduler": scheduler} if scheduler else optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """All that is needed to predict, as plain data."""
        checkpoint["gesture"] = {
            "format": CHECKPOINT_FORMAT,
            "class_names": list(self.class_names),
            "image_size": list(self.config.data.image_size),
            "preprocessing": "8-bit gray, Pillow bilinear resize, divided by 255 inside the network",
            "config": asdict(self.config),
        }

    def _step(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, C] and the mean loss."""
        logits = self(images)
        outputs = logits.softmax(dim=1) if self.config.loss.on_probabilities else logits
        return logits, F.cross_entropy(outputs, targets, label_smoothing=self.config.loss.label_smoothing)

    def _evaluation_step(self, batch: Batch, part: str) -> None:
        logits, loss = self._step(batch.images, batch.targets)
        self.seen.append((batch.rows, batch.targets, logits.float().softmax(dim=1)))
        self.log(f"{part}/loss", loss, batch_size=len(batch.targets), sync_dist=True)

    def _measure(self, metrics: Any) -> None:
        """All figures of an epoch at once, so that no step waits for the device."""
        rows, targets, probabilities = (torch.cat(parts) for parts in zip(*self.seen, strict=True))
        self.seen.clear()
        metrics.update(probabilities, targets)
        self.log_dict(metrics)
        self.predictions = Predictions(rows.cpu(), targets.cpu(), probabilities.cpu())
