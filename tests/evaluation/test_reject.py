"""Saying nothing when unsure: the threshold keeps what it promises where it was fitted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gesture.evaluation.reject import by_person, curve, kept, rejected, threshold_for

SURE = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
RIGHT = np.array([True, True, False, True, False])


@pytest.mark.parametrize(("coverage", "threshold"), [(1.0, 0.5), (0.8, 0.6), (0.61, 0.6), (0.6, 0.7), (0.01, 0.9)])
def test_so_many_are_answered_as_were_wanted(coverage: float, threshold: float) -> None:
    assert threshold_for(SURE, RIGHT, coverage=coverage) == threshold


@pytest.mark.parametrize(("error", "threshold"), [(0.0, 0.8), (0.2, 0.8), (0.25, 0.6), (0.4, 0.5)])
def test_as_many_are_answered_as_the_errors_allow(error: float, threshold: float) -> None:
    assert threshold_for(SURE, RIGHT, error=error) == threshold


def test_where_the_surest_answer_is_wrong_nothing_is_answered() -> None:
    threshold = threshold_for(SURE, ~RIGHT, error=0.1)
    assert threshold is None
    assert kept(SURE, RIGHT, threshold).coverage == 0
    assert kept(SURE, RIGHT, threshold).error is None


@given(
    st.lists(st.tuples(st.sampled_from([0.2, 0.4, 0.6, 0.8, 0.95]), st.booleans()), min_size=1, max_size=40),
    st.floats(0.01, 1),
    st.floats(0, 0.9),
)
def test_ties_and_all_it_keeps_its_promise(images: list[tuple[float, bool]], coverage: float, error: float) -> None:
    sure, right = np.array([one for one, _ in images]), np.array([one for _, one in images])
    reached = kept(sure, right, threshold_for(sure, right, coverage=coverage)).coverage
    assert reached is not None
    assert reached >= coverage - 1e-9
    left = kept(sure, right, threshold_for(sure, right, error=error)).error
    assert left is None or left <= error + 1e-9


def test_each_person_is_told_of() -> None:
    found = by_person(SURE, RIGHT, 0.6, ("ann", "bob", "ann", "bob", ""))
    assert {name: (one.coverage, one.error) for name, one in found.items()} == {"ann": (1.0, 0.5), "bob": (1.0, 0.0)}


def test_images_of_no_gesture_are_rejected_by_share() -> None:
    assert rejected({"rooms": np.array([0.3, 0.7, 0.5]), "none": np.zeros(0)}, 0.6) == {
        "rooms": {"images": 3, "rejected": pytest.approx(2 / 3)},
        "none": {"images": 0, "rejected": None},
    }


def test_the_curve_has_a_point_for_each_threshold() -> None:
    coverages, errors = curve(np.array([0.9, 0.5, 0.5, 0.2]), np.array([True, True, False, False]))
    assert coverages.tolist() == [0.25, 0.75, 1.0]
    assert errors.tolist() == pytest.approx([0, 1 / 3, 0.5])
