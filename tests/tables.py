"""Random tables of predictions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gesture.runs.predictions import Predictions


def table(probabilities: NDArray[Any], targets: Any, **columns: Any) -> Predictions:
    """A test's table of probabilities [N, C] and the gestures shown [N]; other columns as they are given."""
    count, classes = probabilities.shape
    defaults: dict[str, Any] = {
        "class_names": tuple("abcdefgh"[:classes]),
        "splits": ("test",) * count,
        "paths": tuple(f"{i}.png" for i in range(count)),
        "subjects": ("",) * count,
        "frames": np.arange(count),
        "views": ("",) * count,
    }
    return Predictions(
        targets=np.asarray(targets, dtype=np.int64),
        probabilities=np.asarray(probabilities, dtype=np.float32),
        **{**defaults, **columns},
    )


def guesses(
    images: int = 300, classes: int = 6, shown: int = 4, seed: int = 0, sureness: float = 2.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities [N, C] and gestures [N], of which those from `shown` on are named at times and never shown."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, shown, images)
    logits = rng.normal(0, 1, (images, classes)) * sureness
    logits[np.arange(images), targets] += 1.5
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True), targets
