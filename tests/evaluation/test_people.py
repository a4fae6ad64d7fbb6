"""Each person's score."""

import numpy as np
from test_metrics import table

from gesture.evaluation.people import in_words, scores


def test_people_and_gestures_count_alike_however_many_images_there_are() -> None:
    named = np.eye(3)[[0, 0, 0, 1, 1, 2, 0]]
    targets = np.array([0, 0, 0, 0, 1, 2, 1])
    found = scores(table(named, targets, ("bob", "bob", "bob", "bob", "bob", "ann", "ann")))
    assert found == {"ann": 0.5, "bob": (3 / 4 + 1) / 2}
    assert list(found) == ["ann", "bob"]


def test_images_of_nobody_known_count_for_nobody() -> None:
    named = np.eye(2)[[0, 1]]
    assert scores(table(named, np.array([0, 0]), ("", "ann"))) == {"ann": 0.0}
    assert scores(table(named, np.array([0, 0]))) == {}


def test_people_in_words() -> None:
    assert [in_words(count) for count in (1, 2, 12, 13)] == ["one person", "two people", "twelve people", "13 people"]
