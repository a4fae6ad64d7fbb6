"""Every number of result.json from the table of predictions, against scikit-learn, PyTorch and torchmetrics."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as sklearns_confusion_matrix
from torch.nn import functional as F

from gesture.config.schema import LossConfig
from gesture.evaluation.metrics import measure, nll
from gesture.runs.predictions import Predictions
from gesture.training.metrics import EvaluationMetrics

PLAIN = LossConfig(label_smoothing=0.0, on_probabilities=False, class_weights="none")
IMAGES, CLASSES, NEVER_SHOWN = 200, 5, 4


def logits_and_targets() -> tuple[torch.Tensor, torch.Tensor]:
    """Guesses in which the last gesture is sometimes named and never shown."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, NEVER_SHOWN, (IMAGES,), generator=generator)
    return torch.randn(IMAGES, CLASSES, generator=generator) + 2 * F.one_hot(targets, CLASSES), targets


def table(probabilities: NDArray[Any], targets: NDArray[Any], subjects: tuple[str, ...] | None = None) -> Predictions:
    count, classes = probabilities.shape
    return Predictions(
        class_names=tuple("abcdefgh"[:classes]),
        splits=("test",) * count,
        paths=tuple(f"{i}.png" for i in range(count)),
        subjects=subjects or ("",) * count,
        targets=np.asarray(targets, dtype=np.int64),
        frames=np.arange(count),
        views=("",) * count,
        probabilities=np.asarray(probabilities, dtype=np.float32),
    )


@pytest.fixture
def predictions() -> Predictions:
    logits, targets = logits_and_targets()
    return table(logits.softmax(dim=1).numpy(), targets.numpy())


def test_the_metrics_agree_with_scikit_learn(predictions: Predictions) -> None:
    named, shown = predictions.probabilities.argmax(axis=1), range(NEVER_SHOWN)
    assert NEVER_SHOWN in named
    found = measure(predictions, PLAIN)
    precision, recall, f1, _ = precision_recall_fscore_support(
        predictions.targets, named, average="macro", labels=shown, zero_division=0
    )
    expected = {
        "accuracy": accuracy_score(predictions.targets, named),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
    assert {name: found.overall[f"test/{name}"] for name in expected} == pytest.approx(expected)
    counts = sklearns_confusion_matrix(predictions.targets, named, labels=range(CLASSES))
    assert found.confusion_matrix == counts.tolist()
    by_class = precision_recall_fscore_support(predictions.targets, named, average=None, labels=shown, zero_division=0)
    for name, column in zip(("precision", "recall", "f1", "images"), by_class, strict=True):
        assert [found.per_class[gesture][name] for gesture in "abcd"] == pytest.approx(column.tolist())


def test_what_watches_training_gives_the_same_metrics(predictions: Predictions) -> None:
    logits, targets = logits_and_targets()
    watching = EvaluationMetrics(CLASSES, "test")
    for start in range(0, IMAGES, 32):
        part = slice(start, start + 32)
        loss = F.cross_entropy(logits[part], targets[part])
        watching.update(logits[part], targets[part], loss, len(targets[part]))
    watched = {name: float(value) for name, value in watching.compute().items()}
    assert watched == pytest.approx(measure(predictions, PLAIN).overall, rel=1e-5)


def test_a_gesture_that_nobody_shows_is_not_measured(predictions: Predictions) -> None:
    found = measure(predictions, PLAIN)
    assert found.per_class["e"] == {"images": 0, "precision": None, "recall": None, "f1": None}
    shown = [found.per_class[name]["recall"] for name in "abcd"]
    assert found.overall["test/recall"] == pytest.approx(np.mean(np.array(shown, dtype=float)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("on_probabilities", [False, True])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0, 1.5, 1.0]])
def test_the_loss_is_the_one_that_was_trained(
    smoothing: float, on_probabilities: bool, weights: list[float] | None, predictions: Predictions
) -> None:
    logits, targets = logits_and_targets()
    outputs = logits.softmax(dim=1) if on_probabilities else logits
    tensor = None if weights is None else torch.tensor(weights)
    expected = float(F.cross_entropy(outputs, targets, weight=tensor, label_smoothing=smoothing))
    loss = LossConfig(smoothing, on_probabilities, "none")
    assert measure(predictions, loss, weights).overall["test/loss"] == pytest.approx(expected, rel=1e-5)


def test_the_nll_does_not_depend_on_how_it_was_trained(predictions: Predictions) -> None:
    logits, targets = logits_and_targets()
    expected = float(F.cross_entropy(logits, targets))
    for loss in (PLAIN, LossConfig(0.1, True, "none")):
        assert measure(predictions, loss).overall["test/nll"] == pytest.approx(expected, rel=1e-5)


def test_a_probability_of_zero_costs_much_but_not_everything() -> None:
    assert nll(table(np.array([[0.0, 1.0]]), np.array([0]))) == pytest.approx(103.28, abs=0.01)


def test_people_are_counted_by_themselves_and_not_where_they_are_unknown() -> None:
    right_and_wrong = np.eye(2)[[0, 0, 1, 1]]
    people = table(right_and_wrong, np.array([0, 1, 1, 1]), ("bob", "bob", "ann", ""))
    assert measure(people, PLAIN).per_subject == {
        "ann": {"images": 1, "accuracy": 1.0},
        "bob": {"images": 2, "accuracy": 0.5},
    }
    assert measure(table(right_and_wrong, np.array([0, 1, 1, 1])), PLAIN).per_subject == {}


def test_a_side_that_is_not_there_has_no_metrics(predictions: Predictions) -> None:
    assert {name.split("/")[0] for name in measure(predictions, PLAIN).overall} == {"test"}
