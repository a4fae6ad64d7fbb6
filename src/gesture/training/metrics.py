"""What watches training while it runs; the numbers of a finished run are those of `gesture.evaluation.metrics`."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
    MulticlassStatScores,
)

TRAINING_METRICS = ("train/loss", "train/accuracy")
STAYS_NAN = math.nan
"""What a loss that is no number counts as in a mean; "disable" would do, but it forgets the weights."""
SUPPORT = 4
"""Column of `MulticlassStatScores` that counts the images showing each gesture."""
VALIDATION_METRICS = ("val/loss", "val/nll", "val/accuracy", "val/precision", "val/recall", "val/f1")


class RunningMeans:
    """Means over images of values that come batch by batch, on the device, where nobody waits for them."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self.images = 0

    def add(self, values: Tensor, images: int) -> None:
        """Take in one batch: its own means [V] and how many images it had."""
        self._add(values * images, images)

    def _add(self, sums: Tensor, images: int) -> None:
        self._sums = sums if self._sums is None else self._sums + sums
        self.images += images

    @classmethod
    def of(cls, states: Iterable[dict[str, Any]], device: torch.device) -> "RunningMeans":
        """The means over what `state` gave in one process or several."""
        means = cls()
        for state in states:
            if state["sums"] is not None:
                means._add(state["sums"].to(device), state["images"])
        return means

    def state(self) -> dict[str, Any]:
        """All of it, as plain data."""
        return {"sums": self._sums, "images": self.images}

    def values(self) -> Tensor:
        """The means [V]; reading the numbers waits for the device."""
        assert self._sums is not None, "no batch was added"
        return self._sums / self.images


class EvaluationMetrics(nn.Module):
    """Loss as trained, nll and accuracy over the images of a part; precision, recall and F1 over the gestures shown.

    They are not added up over processes, each of which is given the whole part.
    """

    def __init__(self, classes: int, part: str) -> None:
        super().__init__()
        # validate_args would wait for the device at every update.
        alone: dict[str, Any] = {"sync_on_compute": False}
        options: dict[str, Any] = {"num_classes": classes, "validate_args": False, **alone}
        self.part = part
        self.loss = MeanMetric(nan_strategy=STAYS_NAN, **alone)
        self.nll = MeanMetric(nan_strategy=STAYS_NAN, **alone)
        self.scores = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(average="micro", **options),
                "precision": MulticlassPrecision(average="none", **options),
                "recall": MulticlassRecall(average="none", **options),
                "f1": MulticlassF1Score(average="none", **options),
                "counts": MulticlassStatScores(average="none", **options),
            }
        )

    def update(self, logits: Tensor, targets: Tensor, loss: Tensor, weight: Tensor | int) -> None:
        """Take in logits [N, C] of targets [N], and their mean loss with the weight it has among others."""
        self.loss.update(loss, weight)
        self.nll.update(F.cross_entropy(logits, targets), len(targets))
        self.scores.update(logits.softmax(dim=1), targets)

    def compute(self) -> dict[str, Tensor]:
        """All metrics of the part by name; what comes after begins anew."""
        scores = self.scores.compute()
        is_shown = scores.pop("counts")[:, SUPPORT] > 0
        means = {name: value[is_shown].mean() if value.ndim else value for name, value in scores.items()}
        values = {"loss": self.loss.compute(), "nll": self.nll.compute(), **means}
        for metric in (self.loss, self.nll, self.scores):
            metric.reset()
        return {f"{self.part}/{name}": value for name, value in values.items()}
