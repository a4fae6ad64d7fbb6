"""What a few people's scores tell of people never seen: the mean with its interval, and whether two settings differ.

Frames of one person are near-copies, so people are drawn again here and frames never are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gesture.evaluation.people import in_words

Floats = NDArray[np.float64]

RESAMPLES = 9_999
"""Of the bootstrap."""
EXACT_UP_TO = 20
"""People whose 2^n signs are all gone through; beyond, `DRAWS` of them are drawn."""
DRAWS, DRAWS_AT_A_TIME = 199_999, 20_000
DIGITS = 12
"""Differences that agree in so many decimals are equal: sums of shares differ beyond them by rounding only."""
FEW_PEOPLE = 10
NEAR_CEILING = 0.97
CAVEAT = (
    "An interval tells about people like these. Where a rare kind of person is hard to recognise and few of them or "
    "none is of that kind, every such interval is too narrow."
)
"""What no test on these people can show; simulated in benchmarks/coverage.py."""


@dataclass(frozen=True)
class Interval:
    """A mean over people, and where the mean over all people like them lies."""

    mean: float
    low: float | None
    """None, like `high`, where nothing tells how wide it is."""
    high: float | None
    level: float
    """In so many of all such cases the interval holds the mean, if its assumptions do."""
    people: int
    note: str
    """Why there is no interval or how far to trust it, a sentence; empty where nothing is to be said."""


@dataclass(frozen=True)
class Difference:
    """How much one setting's scores exceed another's on the same people."""

    mean: float
    low: float | None
    """None, like `high`, where people are too few or differ all alike."""
    high: float | None
    p: float
    """Of the sign-flip test, both sides; at most 1 - level exactly where the interval leaves 0 out."""
    people: int
    verdict: str
    note: str
    """How the signs were gone through, where not all of them were; else empty."""


def mean_over_people(scores: Sequence[float], level: float = 0.95, seed: int = 0) -> Interval:
    """The mean of people's scores, each in [0, 1], with its interval by the studentised bootstrap (bootstrap-t).

    People are drawn again 9,999 times, and each mean's distance is measured in its own standard errors. There is no
    interval of one person, none where all score alike, and none where so many do, or people are so few, that more
    resamples than lie beyond an end hold no spread, since then nothing says how far off that end is. An end beyond the
    scale is put at 0 or 1, and the note says that it is open.
    """
    values = np.asarray(scores, dtype=np.float64)
    people, mean = len(values), float(values.mean())
    centred = values - mean
    spread = float(np.sqrt((centred**2).sum() / (people - 1))) if people > 1 else 0.0
    if spread < 10.0**-DIGITS:
        return Interval(mean, None, None, level, people, _no_spread(people))
    distances = np.sort(_studentised(centred, _resamples(people, seed)))
    beyond = max(round((1 - level) / 2 * (RESAMPLES + 1)), 1)
    error = spread / people**0.5
    low, high = mean - distances[-beyond] * error, mean - distances[beyond - 1] * error
    if not np.isfinite([low, high]).all():
        return Interval(mean, None, None, level, people, _too_little_spread(values))
    note = _open_ends(low < 0, high > 1, people) or _trust(mean, people)
    return Interval(mean, max(float(low), 0.0), min(float(high), 1.0), level, people, note)


def paired_difference(
    one: Sequence[float],
    other: Sequence[float],
    level: float = 0.95,
    names: tuple[str, str] = ("the first", "the second"),
) -> Difference:
    """How much one setting exceeds another on the same people, by the sign-flip test and the interval that inverts it.

    Were both alike, each person's difference could as well have the other sign. As many choices of signs do as well as
    the true one as there are groups of people with a mean difference beyond 0, so the ends of the interval are two of
    the groups' means (Hartigan 1969). Up to 20 people all groups count, beyond them 199,999 drawn by a fixed seed.

    Args:
        one: scores in [0, 1] of each person.
        other: the same people's in the other setting, in the same order.
        names: of the two settings, for the verdict.
    """
    differences = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    people, mean = len(differences), float(differences.mean())
    means = np.sort(_means_of_groups(differences))
    outcomes = len(means) + 1  # the signs as they are, beside those of each group turned
    at_most, at_least = np.searchsorted(means, 0.0, "right"), len(means) - np.searchsorted(means, 0.0, "left")
    p = min(1.0, 2 * (1 + int(min(at_most, at_least))) / outcomes)
    beyond = int((1 - level) / 2 * outcomes + 10.0**-DIGITS)  # so many group means lie beyond each end, it among them
    low, high = (float(means[beyond - 1]), float(means[-beyond])) if beyond else (None, None)
    if np.ptp(differences.round(DIGITS)) == 0:
        low, high = None, None
    note = f"{DRAWS:,} groups were drawn in place of all 2^{people}." if people > EXACT_UP_TO else ""
    verdict = _verdict(mean, low, high, p, people, level, names)
    return Difference(mean, low, high, p, people, verdict, note)


@lru_cache(maxsize=4)
def _resamples(people: int, seed: int) -> Floats:
    """How often each person is drawn, [RESAMPLES, people]."""
    shares = np.full(people, 1 / people)
    return np.random.default_rng(seed).multinomial(people, shares, size=RESAMPLES).astype(np.float64)


def _studentised(centred: Floats, counts: Floats) -> Floats:
    """Each resample's mean in its own standard errors, infinite where those drawn all score alike."""
    people = len(centred)
    means = counts @ centred / people
    variances = np.maximum(counts @ centred**2 / people - means**2, 0.0) * people / (people - 1)
    variances[variances < 10.0**-DIGITS * (centred**2).max()] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = means / np.sqrt(variances / people)
    distances[np.isnan(distances)] = 0.0
    return distances


def _means_of_groups(differences: Floats) -> Floats:
    """The mean difference over every group of people, 2^n - 1 of them, or over groups drawn at random."""
    if len(differences) > EXACT_UP_TO:
        return _means_of_drawn_groups(differences)
    sums, sizes = np.zeros(1), np.zeros(1)
    for difference in differences:
        sums, sizes = np.concatenate([sums, sums + difference]), np.concatenate([sizes, sizes + 1])
    return (sums[1:] / sizes[1:]).round(DIGITS)


def _means_of_drawn_groups(differences: Floats) -> Floats:
    draw = np.random.default_rng(0)
    means: list[Floats] = []
    for start in range(0, DRAWS, DRAWS_AT_A_TIME):
        shape = min(DRAWS_AT_A_TIME, DRAWS - start), len(differences)
        groups = draw.integers(0, 2, shape).astype(np.float64)
        means.append(groups @ differences / np.maximum(groups.sum(axis=1), 1))
    return np.concatenate(means).round(DIGITS)


def _no_spread(people: int) -> str:
    if people == 1:
        return "One person says nothing about how much people differ: no interval."
    return f"All {in_words(people)} score alike, which says nothing about how much others differ: no interval."


def _too_little_spread(values: Floats) -> str:
    people, alike = len(values), int(np.unique(values.round(DIGITS), return_counts=True)[1].max())
    if alike == 1:
        return f"{in_words(people)} are too few to tell how much people differ: no interval.".capitalize()
    return f"{alike} of {in_words(people)} score alike, too many to tell how much people differ: no interval."


def _open_ends(low: bool, high: bool, people: int) -> str:
    """Which ends the people do not bound, a sentence; empty where they bound both."""
    if not low and not high:
        return ""
    which = "both ends" if low and high else "the lower end" if low else "the upper end"
    ends = "0 and 1 are merely the ends" if low and high else f"{0 if low else 1} is merely the end"
    return f"{in_words(people)} leave {which} open: {ends} of the scale.".capitalize()


def _trust(mean: float, people: int) -> str:
    reasons = [f"on {in_words(people)} only"] if people < FEW_PEOPLE else []
    reasons += ["so near the ceiling"] if mean >= NEAR_CEILING else []
    return f"{' and '.join(reasons)}, such an interval is often too narrow.".capitalize() if reasons else ""


def _verdict(
    mean: float, low: float | None, high: float | None, p: float, people: int, level: float, names: tuple[str, str]
) -> str:
    """What the test says, in words; differences in points, which are hundredths of a share."""
    better, by = names[0] if mean > 0 else names[1], f"{abs(100 * mean):.1f} points"
    if p <= 1 - level:
        if low is None or high is None:
            return f"{better} is better by {by} on each of {in_words(people)} ({_of(p)})"
        ends = sorted((abs(100 * low), abs(100 * high)))
        return f"{better} is better by {by} ({ends[0]:.1f} to {ends[1]:.1f})"
    if 2 / 2.0**people > 1 - level:
        return f"not distinguishable: {in_words(people)} cannot tell, whatever they score ({_of(p)})"
    return f"not distinguishable on {in_words(people)} ({_of(p)})"


def _of(p: float) -> str:
    return f"p {p:.2g}" if p >= 0.001 else "p below 0.001"
