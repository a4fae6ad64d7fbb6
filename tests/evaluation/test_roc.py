"""ROC AUC by gesture, against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gesture.evaluation.roc import roc_auc
from tables import guesses, table


@pytest.mark.parametrize("digits", [1, 2, 8])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_scikit_learns_also_with_ties(seed: int, digits: int) -> None:
    probabilities, targets = guesses(seed=seed)
    predictions = table(probabilities.round(digits), targets)
    found = roc_auc(predictions)
    for index, name in enumerate("abcd"):
        expected = roc_auc_score(targets == index, predictions.probabilities[:, index])
        assert found[name] == pytest.approx(expected, abs=1e-12)


def test_a_gesture_that_nobody_or_everybody_shows_has_none() -> None:
    probabilities, targets = guesses()
    assert [roc_auc(table(probabilities, targets))[name] for name in "ef"] == [None, None]
    assert roc_auc(table(probabilities, np.zeros(len(targets))))["a"] is None
