"""The figures of a classifier: overall, per class and per subject."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from gesture.data.samples import Samples


class RunningMeans:
    """Means over images of figures that come batch by batch, on the device, where nobody waits for them."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self._images = 0

    def add(self, figures: Tensor, images: int) -> None:
        """One batch: its own means [F] and how many images it had."""
        weighted = figures * images
        self._sums = weighted if self._sums is None else self._sums + weighted
        self._images += images

    def values(self) -> Tensor:
        """[F]; reading the numbers waits for the device."""
        assert self._sums is not None, "no batch was added"
        return self._sums / self._images


def gesture_metrics(classes: int, prefix: str) -> MetricCollection:
    """Accuracy over images; precision, recall and F1 averaged over the classes that occur."""
    # validate_args would wait for the device at every update.
    options: dict[str, Any] = {"num_classes": classes, "validate_args": False}
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(average="micro", **options),
            "precision": MulticlassPrecision(average="macro", **options),
            "recall": MulticlassRecall(average="macro", **options),
            "f1": MulticlassF1Score(average="macro", **options),
        },
        prefix=prefix,
    )


def confusion_matrix(probabilities: Tensor, targets: Tensor) -> list[list[int]]:
    """Counts [C, C]; rows are the true gestures, columns the predicted ones."""
    metric = MulticlassConfusionMatrix(probabilities.shape[1])
    counts: list[list[int]] = metric(probabilities, targets).tolist()
    return counts


def per_class(probabilities: Tensor, targets: Tensor, class_names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and number of images of each gesture."""
    classes = len(class_names)
    metrics = {
        "precision": MulticlassPrecision(classes, average="none"),
        "recall": MulticlassRecall(classes, average="none"),
        "f1": MulticlassF1Score(classes, average="none"),
    }
    values = {name: metric(probabilities, targets).tolist() for name, metric in metrics.items()}
    images = torch.bincount(targets, minlength=classes).tolist()
    return {
        name: {"images": images[i], **{key: column[i] for key, column in values.items()}}
        for i, name in enumerate(class_names)
    }


def per_subject(probabilities: Tensor, samples: Samples, rows: NDArray[np.int64]) -> dict[str, dict[str, float]]:
    """Accuracy and number of images of each person among these rows of the table."""
    if not samples.knows_subjects:
        return {}
    right = probabilities.argmax(dim=1).numpy() == samples.gestures[rows]
    people = samples.subjects[rows]
    return {
        samples.subject_names[person]: {
            "images": int((people == person).sum()),
            "accuracy": float(right[people == person].mean()),
        }
        for person in np.unique(people)
    }
