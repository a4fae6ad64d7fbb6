"""The LightningModule: one step for training, validation and test."""

from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningModule
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gesture.config.schema import Plateau, TrainConfig
from gesture.model import checkpoint as checkpoints
from gesture.model.hardware import Hardware
from gesture.model.network import GestureNetwork
from gesture.model.normalisation import AveragesWarmUp, batch_norms
from gesture.training.checkpoints import validates
from gesture.training.datamodule import Batch
from gesture.training.metrics import EvaluationMetrics, RunningMeans
from gesture.training.optimizers import build_optimizer, build_scheduler
from gesture.training.processes import of_all_processes

MEANS = "training_means"
"""Where a checkpoint has the means of an epoch that has not ended, those of each process."""


class Answers(NamedTuple):
    """What the network said of N samples, all of a part's."""

    rows: NDArray[np.int64]
    """[N] rows of the table of samples, in their order."""
    probabilities: NDArray[np.float32]
    """[N, C]"""


class GestureClassifier(LightningModule):
    """Trains and measures a `GestureNetwork` on the batches of a `GestureData`.

    Args:
        network: what to train.
        config: the whole configuration; it travels in every checkpoint.
        class_names: the C gestures in the order of the logits.
        hardware: what computes; it travels in every checkpoint too.
        class_weights: what each gesture weighs in the loss, [C]; None: all the same.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        network: GestureNetwork,
        config: TrainConfig,
        class_names: tuple[str, ...],
        hardware: Hardware,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.class_names = class_names
        self.hardware = hardware
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.val_metrics = EvaluationMetrics(len(class_names), "val")
        self.test_metrics = EvaluationMetrics(len(class_names), "test")
        self.training_means = RunningMeans()
        self.last_step = torch.empty(0)
        """Loss and accuracy [2] of the last training batch, on the device."""
        self.warm_up = AveragesWarmUp(batch_norms(network) if config.network.normalisation == "data" else [])
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self.answers: Answers | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of images [B, 1, H, W]."""
        # Compiled code holds momenta as constants and would be made anew for each one of the warm-up.
        network = self.network.forward if self.warm_up.is_running else self.network
        logits: Tensor = network(images)
        return logits

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self.warm_up.prepare_batch()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, accuracy = self.loss_and_accuracy(batch.images, batch.targets)
        self.note_training(torch.stack((loss.detach(), accuracy)), len(batch.targets))
        return self._by_share(loss, batch.targets)

    def _by_share(self, loss: Tensor, targets: Tensor) -> Tensor:
        """This process's mean loss times its share, so that the mean over processes is that of the whole batch.

        Gradients are averaged as if every process had the same part in a batch. It has not where gestures weigh
        differently, and may not in an epoch's last batch.
        """
        trainer: Any = self.trainer
        if trainer.world_size == 1 or (self.class_weights is None and not trainer.is_last_batch):
            return loss
        ones = torch.ones(len(targets), device=targets.device)
        weight = (ones if self.class_weights is None else self.class_weights[targets]).sum()
        mean: Tensor = trainer.strategy.reduce(weight.clone(), reduce_op="mean")
        return loss * weight / mean

    def loss_and_accuracy(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The two values of one training batch, each a scalar on the device."""
        logits = self(images)
        return self.loss(logits, targets), (logits.argmax(dim=1) == targets).float().mean()

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of logits [B, C], as trained."""
        outputs = logits.softmax(dim=1) if self.config.loss.on_probabilities else logits
        smoothing = self.config.loss.label_smoothing
        return F.cross_entropy(outputs, targets, weight=self.class_weights, label_smoothing=smoothing)

    def note_training(self, values: Tensor, images: int) -> None:
        """Take in loss and accuracy [2] of a batch of so many images.

        Lightning does not hear of them: handing it every step's takes longer than all else it does in a step.
        """
        self.last_step = values
        self.training_means.add(values, images)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluation_step(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluation_step(batch)

    def on_validation_epoch_start(self) -> None:
        self.seen.clear()

    def on_test_epoch_start(self) -> None:
        self.seen.clear()

    def on_validation_epoch_end(self) -> None:
        self._measure(self.val_metrics)

    def on_test_epoch_end(self) -> None:
        self._measure(self.test_metrics)

    def on_train_start(self) -> None:
        """A training that goes on in the middle of an epoch does not start it."""
        self._freeze()

    def on_train_epoch_start(self) -> None:
        self.training_means = RunningMeans()
        self._freeze()

    def _freeze(self) -> None:
        """Freeze the backbone for the first epochs, its batch statistics included."""
        trains = self.current_epoch >= self.config.backbone.freeze_epochs
        self.network.backbone.requires_grad_(trains).train(trains)

    def configure_optimizers(self) -> Any:
        trainer: Any = self.trainer
        clips = self.config.trainer.gradient_clip_val is not None
        optimizer = build_optimizer(self.network, self.config.optimizer, self.config.backbone.lr_factor, clips)
        scheduler = build_scheduler(optimizer, self.config.scheduler, trainer.datamodule.total_steps())
        return {"optimizer": optimizer, "lr_scheduler": scheduler} if scheduler else optimizer

    def on_train_epoch_end(self) -> None:
        """Tell a plateau's scheduler of the epoch's validation, if it had one."""
        if isinstance(self.config.scheduler, Plateau) and validates(self.trainer):
            scheduler: Any = self.lr_schedulers()
            scheduler.step(self.trainer.callback_metrics[self.config.scheduler.monitor])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """All that is needed to predict, as plain data."""
        checkpoint["gesture"] = checkpoints.describe(self.config, self.class_names, self.hardware)
        checkpoint[MEANS] = of_all_processes(self.training_means.state())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        states = checkpoint.get(MEANS, ())
        self.training_means = RunningMeans.of(states[self.global_rank : self.global_rank + 1], self.device)

    def means_of_all(self) -> RunningMeans:
        """The means of the epoch so far, over all processes."""
        return RunningMeans.of(of_all_processes(self.training_means.state()), self.device)

    def _evaluation_step(self, batch: Batch) -> None:
        self.seen.append((batch.rows, batch.targets, self(batch.images).float()))

    def _measure(self, metrics: EvaluationMetrics) -> None:
        """All metrics of an epoch at once, so that no step waits for the device.

        Every process measures the answers of all of them in the order of the table, as one alone would.
        """
        rows, targets, logits = self._seen_by_all()
        self.seen.clear()
        weight = len(targets) if self.class_weights is None else self.class_weights[targets].sum()
        metrics.update(logits, targets, self.loss(logits, targets), weight)
        self.log_dict(metrics.compute(), logger=False)
        self.answers = Answers(rows.numpy(), logits.softmax(dim=1).cpu().numpy())

    def _seen_by_all(self) -> list[Tensor]:
        """Rows, targets and logits of a part's images, once each."""
        own = [torch.cat(parts) for parts in zip(*self.seen, strict=True)]
        if self.trainer.world_size == 1:
            return own
        shares = of_all_processes([tensor.cpu() for tensor in own])
        rows, targets, logits = (torch.cat(parts) for parts in zip(*shares, strict=True))
        order = torch.from_numpy(np.unique(rows.numpy(), return_index=True)[1])
        return [rows[order], targets[order].to(self.device), logits[order].to(self.device)]
