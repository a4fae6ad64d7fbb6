"""Moments: both views averaged, repeats dropped, sequences kept apart."""

from typing import Any

import numpy as np
import pytest

from gesture.evaluation.moments import moments
from tables import table

RIGHT, WRONG, VERY_RIGHT = [0.6, 0.4], [0.45, 0.55], [0.9, 0.1]


def sequence(views: str, answers: list[list[float]], frames: list[int] | None = None, **columns: Any) -> Any:
    count = len(views)
    return table(
        np.array(answers),
        np.zeros(count),
        views=tuple(view.strip() for view in views),
        frames=np.array(frames or range(1, count + 1)),
        **{"subjects": ("ann",) * count, **columns},
    )


def test_a_wrong_view_is_put_right_by_the_other() -> None:
    found = moments(sequence("0101", [RIGHT, WRONG, WRONG, VERY_RIGHT]))
    assert found == {
        "moments": 2,
        "accuracy": 1.0,
        "single_frames": 0.5,
        "frames": 4,
        "repeats": 0,
        "unpaired": 0,
    }


def test_repeats_are_dropped_and_what_they_stood_between_is_paired() -> None:
    found = moments(sequence("0011", [RIGHT, RIGHT, WRONG, WRONG]))
    assert found is not None
    assert (found["moments"], found["repeats"], found["unpaired"]) == (1, 2, 0)


def test_a_sure_network_that_says_the_same_of_two_moments_repeats_nothing() -> None:
    found = moments(sequence("0101", [VERY_RIGHT] * 4))
    assert found is not None
    assert (found["moments"], found["repeats"]) == (2, 0)


def test_frames_far_apart_or_of_one_view_are_no_moment() -> None:
    assert moments(sequence("01", [RIGHT, WRONG], frames=[1, 4])) is None
    found = moments(sequence("0001", [RIGHT, WRONG, RIGHT, WRONG]))
    assert found is not None
    assert (found["moments"], found["unpaired"]) == (1, 2)


def test_another_person_or_gesture_is_another_sequence() -> None:
    assert moments(sequence("01", [RIGHT, WRONG], subjects=("ann", "bob"))) is None
    two = sequence("0101", [RIGHT] * 4, frames=[1, 2, 1, 2], subjects=("ann", "ann", "bob", "bob"))
    found = moments(two)
    assert found is not None
    assert found["moments"] == 2


@pytest.mark.parametrize("views", ["    ", "0   "])
def test_where_views_are_unknown_there_is_nothing_to_tell(views: str) -> None:
    assert moments(sequence(views, [RIGHT] * 4)) is None


def test_unknown_views_stay_out_of_both_protocols() -> None:
    found = moments(sequence("01  ", [RIGHT, RIGHT, WRONG, WRONG]))
    assert found is not None
    assert (found["frames"], found["single_frames"], found["accuracy"]) == (2, 1.0, 1.0)
