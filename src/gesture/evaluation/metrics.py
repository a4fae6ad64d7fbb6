"""Every number of result.json, from the table of predictions alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gesture.config.schema import LossConfig
from gesture.runs.predictions import Predictions
from gesture.runs.result import Number

Floats = NDArray[np.float64]

SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
"""What a probability of 0 counts as, since its logarithm would be infinite."""


@dataclass(frozen=True)
class Metrics:
    """What predictions say of a network; a gesture that nobody shows is not measured."""

    overall: dict[str, Number]
    """<split>/loss (as trained), nll, accuracy over images; precision, recall, f1 averaged over the gestures shown."""
    per_class: dict[str, dict[str, Number]]
    """Of the test: images, precision, recall and f1 of each gesture."""
    per_subject: dict[str, dict[str, Number]]
    """Of the test: images and accuracy of each person."""
    confusion_matrix: list[list[int]]
    """Of the test, [C, C]: rows are the true gestures, columns the predicted ones."""


def measure(predictions: Predictions, loss: LossConfig, class_weights: Sequence[float] | None = None) -> Metrics:
    """All metrics of a table of predictions.

    Args:
        predictions: of val, test or both.
        loss: how the network was trained, which `loss` is a value of.
        class_weights: what each gesture weighed in it, [C].
    """
    overall: dict[str, Number] = {}
    for split in dict.fromkeys(predictions.splits):
        part = predictions.of(split)
        values = {"loss": loss_as_trained(part, loss, class_weights), **_scores(part)}
        overall |= {f"{split}/{name}": value for name, value in values.items()}
    test = predictions.of("test")
    counts = confusion_matrix(test)
    return Metrics(overall, _per_class(counts, test.class_names), _per_subject(test), counts.tolist())


def confusion_matrix(predictions: Predictions) -> NDArray[np.int64]:
    """Counts [C, C]; rows are the true gestures, columns the predicted ones."""
    classes = len(predictions.class_names)
    pairs = predictions.targets * classes + _named(predictions)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def nll(predictions: Predictions) -> Number:
    """The mean negative logarithm of the true gesture's probability; comparable whatever the training's loss."""
    return _mean(-_logarithms(predictions)[np.arange(len(predictions)), predictions.targets])


def loss_as_trained(predictions: Predictions, loss: LossConfig, class_weights: Sequence[float] | None) -> Number:
    """What training made small: with its label smoothing and class weights, on probabilities if it was so."""
    if len(predictions) == 0:
        return None
    logarithms = _logarithms(predictions)
    if loss.on_probabilities:  # softmax outputs went in where logits are meant to
        outputs = predictions.probabilities.astype(np.float64)
        logarithms = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    weights = np.ones(logarithms.shape[1]) if class_weights is None else np.asarray(class_weights, dtype=np.float64)
    rows, targets = np.arange(len(predictions)), predictions.targets
    sharp = -(weights[targets] * logarithms[rows, targets]).sum()
    spread = -(weights * logarithms).sum() / logarithms.shape[1]
    smoothing = loss.label_smoothing
    return float(((1 - smoothing) * sharp + smoothing * spread) / weights[targets].sum())


def _scores(predictions: Predictions) -> dict[str, Number]:
    by_class = _per_class(confusion_matrix(predictions), predictions.class_names)
    shown = [values for values in by_class.values() if values["images"]]
    right = _named(predictions) == predictions.targets
    return {
        "nll": nll(predictions),
        "accuracy": _mean(right),
        **{name: _mean(np.array([values[name] for values in shown])) for name in ("precision", "recall", "f1")},
    }


def _per_class(counts: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, dict[str, Number]]:
    right, shown, named = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    found: dict[str, dict[str, Number]] = {}
    for i, name in enumerate(class_names):
        values: dict[str, Number] = {"images": int(shown[i]), "precision": None, "recall": None, "f1": None}
        if shown[i]:
            values["precision"] = float(right[i] / named[i]) if named[i] else 0.0
            values["recall"] = float(right[i] / shown[i])
            values["f1"] = float(2 * right[i] / (shown[i] + named[i]))
        found[name] = values
    return found


def _per_subject(predictions: Predictions) -> dict[str, dict[str, Number]]:
    right = _named(predictions) == predictions.targets
    subjects = np.array(predictions.subjects, dtype=object)
    people = sorted(set(predictions.subjects) - {""})
    return {
        person: {"images": int((subjects == person).sum()), "accuracy": _mean(right[subjects == person])}
        for person in people
    }


def _named(predictions: Predictions) -> NDArray[np.int64]:
    named: NDArray[np.int64] = predictions.probabilities.argmax(axis=1)
    return named


def _logarithms(predictions: Predictions) -> Floats:
    return np.log(np.maximum(predictions.probabilities.astype(np.float64), SMALLEST))


def _mean(values: NDArray[Any]) -> Number:
    return float(values.mean()) if len(values) else None
