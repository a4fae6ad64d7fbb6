"""Intervals over people and the sign-flip test, against SciPy and against simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gesture.evaluation.intervals import RESAMPLES, mean_over_people, paired_difference

TEN = [0.93, 0.88, 0.97, 0.71, 0.90, 0.95, 0.84, 0.99, 0.92, 0.86]


def shares(least: int, most: int) -> st.SearchStrategy[list[float]]:
    """Scores of so many people, in twentieths, so that ties are common."""
    return st.lists(st.integers(0, 20).map(lambda count: count / 20), min_size=least, max_size=most)


def slow_bootstrap_t(scores: list[float], level: float) -> tuple[float, float]:
    """As a textbook has it, one resample after another."""
    values, draw = np.array(scores), np.random.default_rng(1)
    distances = []
    for _ in range(RESAMPLES):
        drawn = draw.choice(values, len(values))
        if drawn.std() > 0:
            distances.append((drawn.mean() - values.mean()) / (drawn.std(ddof=1) / len(values) ** 0.5))
    below, above = np.quantile(distances, [(1 - level) / 2, (1 + level) / 2])
    error = values.std(ddof=1) / len(values) ** 0.5
    return values.mean() - above * error, values.mean() - below * error


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_is_the_studentised_bootstraps(level: float) -> None:
    found = mean_over_people(TEN, level)
    assert found.mean == pytest.approx(np.mean(TEN))
    assert (found.people, found.level, found.note) == (10, level, "")
    assert (found.low, found.high) == pytest.approx(slow_bootstrap_t(TEN, level), abs=0.004)
    assert found == mean_over_people(TEN, level)
    assert found.low != mean_over_people(TEN, level, seed=1).low


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    draw, held = np.random.default_rng(0), 0
    for _ in range(400):
        found = mean_over_people(draw.beta(9, 1.5, 10).tolist())
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 9 / 10.5 <= found.high
    assert 0.92 < held / 400 < 0.98


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([0.9], "One person says nothing"),
        ([0.9] * 10, "All ten people score alike"),
        ([1.0] * 13, "All 13 people score alike"),
        ([0.6, 0.7, 0.9], "Three people are too few to tell"),
        ([1.0] * 9 + [0.9], "9 of ten people score alike"),
    ],
)
def test_where_the_width_is_undefined_there_is_no_interval_and_a_sentence_says_why(
    scores: list[float], says: str
) -> None:
    found = mean_over_people(scores)
    assert (found.low, found.high) == (None, None)
    assert found.note.startswith(says)
    assert found.note.endswith("no interval.")
    assert found.mean == pytest.approx(np.mean(scores))


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        (TEN, ""),
        (TEN[:5], "On five people only, such an interval is often too narrow."),
        ([0.99, 0.98, 1.0, 0.97, 0.995, 0.96, 0.985, 0.975, 1.0, 0.99], "So near the ceiling, such an interval"),
        ([0.99, 0.98, 1.0, 0.97, 0.995], "On five people only and so near the ceiling, such"),
    ],
)
def test_a_note_says_where_the_interval_is_too_narrow(scores: list[float], says: str) -> None:
    found = mean_over_people(scores)
    assert found.low is not None
    assert found.note.startswith(says)
    assert bool(found.note) == bool(says)


@pytest.mark.parametrize(
    ("scores", "ends", "says"),
    [
        ([0.139, 0.089, 0.074, 0.075], (None, 1), "Four people leave the upper end open: 1 is merely the end of"),
        ([0.8, 0.81, 0.82, 0.3], (0, None), "Four people leave the lower end open: 0 is merely the end of the scale."),
        ([0.1, 0.9, 0.5, 0.2, 0.8], (0, 1), "Five people leave both ends open: 0 and 1 are merely the ends of"),
    ],
)
def test_an_end_beyond_the_scale_is_said_to_be_open(
    scores: list[float], ends: tuple[float | None, float | None], says: str
) -> None:
    found = mean_over_people(scores)
    assert found.note.startswith(says)
    assert "too narrow" not in found.note
    for value, end in zip((found.low, found.high), ends, strict=True):
        assert value == end if end is not None else value not in (0, 1)


@settings(max_examples=40, deadline=None)
@given(shares(2, 12))
def test_an_interval_lies_within_the_scale_and_about_its_mean(scores: list[float]) -> None:
    found = mean_over_people(scores)
    if found.low is not None and found.high is not None:
        assert 0 <= found.low <= found.mean <= found.high <= 1


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 11).flatmap(lambda people: st.tuples(shares(people, people), shares(people, people))))
def test_the_p_value_is_scipys(pair: tuple[list[float], list[float]]) -> None:
    one, other = pair
    expected = stats.permutation_test(
        (np.array(one), np.array(other)),
        lambda one, other, axis: np.mean(one - other, axis=axis),
        permutation_type="samples",
        n_resamples=2**12,
        vectorized=True,
    )
    assert paired_difference(one, other).p == pytest.approx(expected.pvalue)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 12).flatmap(lambda people: st.tuples(shares(people, people), shares(people, people))),
    st.sampled_from([0.8, 0.9, 0.95]),
)
def test_the_interval_leaves_zero_out_exactly_where_the_test_rejects(
    pair: tuple[list[float], list[float]], level: float
) -> None:
    found = paired_difference(*pair, level)
    if found.low is not None and found.high is not None:
        assert found.low <= found.mean <= found.high
        assert (not found.low <= 0 <= found.high) == (found.p <= 1 - level + 1e-12)


def test_the_interval_inverts_the_test() -> None:
    other = np.array([0.90, 0.86, 0.91, 0.75, 0.84, 0.96, 0.80, 0.93, 0.85, 0.80])
    found = paired_difference(TEN, other.tolist())
    assert found.low is not None
    assert found.high is not None
    for end, inwards in ((found.low, 1e-6), (found.high, -1e-6)):
        assert paired_difference(TEN, (other + end + inwards).tolist()).p > 0.05
        assert paired_difference(TEN, (other + end - inwards).tolist()).p <= 0.05


def test_beyond_twenty_people_signs_are_drawn_and_that_is_said() -> None:
    draw = np.random.default_rng(0)
    other = draw.uniform(0.5, 0.9, 30)
    one = other + draw.normal(0.02, 0.05, 30)
    found = paired_difference(one.tolist(), other.tolist())
    expected = stats.permutation_test(
        (one, other),
        lambda one, other, axis: np.mean(one - other, axis=axis),
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    assert found.p == pytest.approx(expected.pvalue, abs=0.01)
    assert found.note == "199,999 groups were drawn in place of all 2^30."
    assert found == paired_difference(one.tolist(), other.tolist())
    assert paired_difference(one[:20].tolist(), other[:20].tolist()).note == ""


LEVEL = [0.8] * 10


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (LEVEL, LEVEL, "not distinguishable on ten people (p 1)"),
        ([0.83, *LEVEL[1:]], LEVEL, "not distinguishable on ten people (p 1)"),
        ([0.83] * 10, LEVEL, "A is better by 3.0 points on each of ten people (p 0.002)"),
        ([0.83] * 5 + [0.84] * 5, LEVEL, "A is better by 3.5 points (3.0 to 4.0)"),
        (LEVEL, [0.83] * 5 + [0.84] * 5, "B is better by 3.5 points (3.0 to 4.0)"),
        ([0.9] * 5, [0.1] * 5, "not distinguishable: five people cannot tell, whatever they score (p 0.062)"),
        ([0.9], [0.1], "not distinguishable: one person cannot tell, whatever they score (p 1)"),
    ],
)
def test_the_verdict_in_words(one: list[float], other: list[float], says: str) -> None:
    assert paired_difference(one, other, names=("A", "B")).verdict == says
