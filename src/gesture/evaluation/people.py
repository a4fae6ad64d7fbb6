"""How well each person is recognised; people and gestures count alike, however many images there are of each."""

import numpy as np

from gesture.runs.predictions import Predictions

IN_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def scores(predictions: Predictions) -> dict[str, float]:
    """Each person's score: the mean, over the gestures that they showed, of the share that was named rightly.

    Images of nobody known are left out. People come in the order of their names.
    """
    names = sorted(set(predictions.subjects) - {""})
    place = {name: row for row, name in enumerate(names)}
    known = np.array([name in place for name in predictions.subjects], dtype=bool)
    people = np.array([place[name] for name in predictions.subjects if name in place], dtype=np.int64)
    targets, named = predictions.targets[known], predictions.probabilities[known].argmax(axis=1)
    classes = len(predictions.class_names)
    cells = people * classes + targets
    shown = np.bincount(cells, minlength=len(names) * classes).reshape(-1, classes)
    right = np.bincount(cells, weights=named == targets, minlength=len(names) * classes).reshape(-1, classes)
    shares = right / np.maximum(shown, 1)
    return {name: float(shares[row, shown[row] > 0].mean()) for name, row in place.items()}


def in_words(people: int) -> str:
    """So many people as a sentence says it: `one person`, `ten people`, `25 people`."""
    number = IN_WORDS[people] if people < len(IN_WORDS) else str(people)
    return f"{number} person" if people == 1 else f"{number} people"
