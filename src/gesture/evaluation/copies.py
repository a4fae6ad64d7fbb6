"""Images that are there twice, to the bit or nearly so, and where their likes stand."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gesture.config.names import PARTS
from gesture.data.dealing import Split
from gesture.data.samples import Indices, Samples
from gesture.evaluation.neighbours import NOBODY, Floats, Neighbours

LEFT_OUT = "left_out"
NOWHERE = len(PARTS)
"""The side of an image that the split uses nowhere."""
STRANGERS = 5
"""Images of other things that are looked at of each."""
OUTLIER = 3.5
"""Modified z-score from which a value is no longer one of the others (Iglewicz and Hoaglin, 1993)."""
TO_DEVIATION = 1.4826
"""The standard deviation over the median absolute deviation, of normal values."""
SMALLEST = 1e-3
"""Gray levels that no difference counts as, since its logarithm would be infinite."""


@dataclass(frozen=True)
class Group:
    """Identical images."""

    paths: tuple[str, ...]
    subjects: tuple[str, ...]
    """The people under whose names they stand; empty where people are not known."""
    gestures: tuple[str, ...]
    sides: tuple[str, ...]
    """Of train, val and test, those on which some of them stand."""


@dataclass(frozen=True)
class Identical:
    """All groups of identical images, and how many of them stand apart."""

    groups: tuple[Group, ...]
    images: int
    """In all groups."""
    across_subjects: int
    across_gestures: int
    across_sides: int
    between_subjects: dict[str, int]
    """Groups by the people they stand under, where these are several: "02, 05"."""
    between_sides: dict[str, int]
    """Groups by the sides they stand on, where these are several: "train, test"."""


@dataclass(frozen=True)
class Pair:
    """Two images and how far they are apart."""

    path: str
    other: str
    distance: float
    """Root of the mean square difference of their thumbnails, gray levels."""


@dataclass(frozen=True)
class NearCopies:
    """Pairs nearer than images are that show different things; identical ones are counted elsewhere."""

    limit: float | None
    """Gray levels; None where nothing shows how far apart different things are."""
    limit_from: str
    """How the limit was taken from the data."""
    across_sides: tuple[Pair, ...]
    """Each image of val and test that has a near copy on an earlier side of train, val, test, nearest first."""
    across_subjects: tuple[Pair, ...] | None
    """Pairs of two people's images of which each is the other's nearest; None where people are not known."""


def sides_of(split: Split, count: int) -> Indices:
    """[N] index into `PARTS` of each image's side, NOWHERE for those left out."""
    sides = np.full(count, NOWHERE, dtype=np.int64)
    for i, part in enumerate(PARTS):
        sides[split[part]] = i
    return sides


def identical(samples: Samples, copies: Indices, sides: Indices) -> Identical:
    """The groups of images with the same number in `copies`, [N], in the order of the table."""
    order = np.argsort(copies, kind="stable").astype(np.int64)
    runs = np.split(order, np.flatnonzero(np.diff(copies[order])) + 1)
    groups = [_group(samples, rows, sides) for rows in sorted(runs, key=lambda rows: tuple(rows[:1])) if len(rows) > 1]
    return Identical(
        groups=tuple(groups),
        images=sum(len(group.paths) for group in groups),
        across_subjects=sum(len(group.subjects) > 1 for group in groups),
        across_gestures=sum(len(group.gestures) > 1 for group in groups),
        across_sides=sum(len(group.sides) > 1 for group in groups),
        between_subjects=_between(group.subjects for group in groups),
        between_sides=_between(group.sides for group in groups),
    )


def _between(names: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """How often several names come together."""
    return dict(Counter(", ".join(together) for together in names if len(together) > 1))


def _group(samples: Samples, rows: Indices, sides: Indices) -> Group:
    people = [samples.subject_names[i] for i in np.unique(samples.subjects[rows])] if samples.knows_subjects else []
    gestures = [samples.class_names[i] for i in np.unique(samples.gestures[rows])]
    parts = [PARTS[i] for i in np.unique(sides[rows]) if i != NOWHERE]
    return Group(tuple(samples.paths[row] for row in rows), tuple(people), tuple(gestures), tuple(parts))


def limit_of(distances: Floats) -> float | None:
    """The distance below which a pair is an outlier among those of images that show different things.

    One copy is near to all frames of a sequence, so copies could make most of the nearest distances small. Those that
    are outliers among the distances to the last of the strangers, which copies hardly touch, are left out first.

    Args:
        distances: [N, STRANGERS] each image's to the nearest that show another thing, infinite where there is none.
    """
    logarithms = np.log(np.maximum(distances[np.isfinite(distances[:, -1])].astype(np.float64), SMALLEST))
    if len(logarithms) == 0:
        return None
    nearest = logarithms[:, 0]
    others = nearest[nearest >= _outlier(logarithms[:, -1])]
    return float(np.exp(_outlier(others))) if len(others) else None


def _outlier(values: NDArray[np.float64]) -> float:
    """The value below which one is no longer one of the others."""
    middle = float(np.median(values))
    return middle - OUTLIER * TO_DEVIATION * float(np.median(np.abs(values - middle)))


def nearer(samples: Samples, queries: Indices, found: Neighbours, limit: float | None) -> tuple[Pair, ...]:
    """Each query and its nearest where they are nearer than the limit, nearest first."""
    if limit is None:
        return ()
    places = np.flatnonzero((found.distances[:, 0] < limit) & (found.rows[:, 0] != NOBODY))
    places = places[np.argsort(found.distances[places, 0], kind="stable")]
    return pairs(samples, queries[places], found.rows[places, 0], found.distances[places, 0])


def mutual(ours: Indices, theirs: Indices, back: Neighbours) -> NDArray[np.int64]:
    """Which of the pairs (ours, theirs), [P] each, are each other's nearest, each pair once.

    Args:
        ours: [P] rows.
        theirs: [P] the nearest of each.
        back: the nearest of each of theirs.
    """
    both = np.flatnonzero(back.rows[:, 0] == ours)
    _, first = np.unique(np.sort(np.stack([ours[both], theirs[both]], axis=1), axis=1), axis=0, return_index=True)
    return both[np.sort(first)]


def pairs(samples: Samples, ours: Indices, theirs: Indices, distances: Floats) -> tuple[Pair, ...]:
    """Rows [P] and rows [P] at distances [P] by their paths."""
    found: Sequence[tuple[int, int, float]] = list(zip(ours.tolist(), theirs.tolist(), distances.tolist(), strict=True))
    return tuple(Pair(samples.paths[one], samples.paths[other], round(far, 2)) for one, other, far in found)
