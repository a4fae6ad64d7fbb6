"""How well each gesture's probability tells its images from all others, whatever threshold one would choose."""

import numpy as np
from numpy.typing import NDArray

from gesture.runs.predictions import Predictions

Number = float | None


def roc_auc(predictions: Predictions) -> dict[str, Number]:
    """Area under the ROC curve of each gesture against the rest; None where all or no images show it.

    It is the chance that an image of the gesture has a higher probability of it than one of another, equal ones
    counting half: Mann and Whitney's U over ranks.
    """
    return {
        name: _area(predictions.probabilities[:, index].astype(np.float64), predictions.targets == index)
        for index, name in enumerate(predictions.class_names)
    }


def _area(scores: NDArray[np.float64], shows: NDArray[np.bool_]) -> Number:
    positives, negatives = int(shows.sum()), int((~shows).sum())
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # equal scores share the mean of their ranks
    above = ranks[shows].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))
