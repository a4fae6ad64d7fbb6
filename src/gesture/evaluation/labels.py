"""Images whose neighbours carry another gesture: their labels are likely wrong."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gesture.data.samples import Indices, Samples
from gesture.evaluation.neighbours import NOBODY, Neighbours

NEIGHBOURS = 3
"""That must all carry one other gesture."""
MOST_SUSPECTS = 0.05
"""Share of the images beyond which neighbours do not tell gestures apart, and no label is suspected."""


@dataclass(frozen=True)
class Suspect:
    """An image that looks like another gesture's."""

    path: str
    gesture: str
    looks_like: str
    nearest: str
    """The path of the image it is most like."""
    distance: float
    """Gray levels."""


@dataclass(frozen=True)
class Labels:
    """The images whose labels are likely wrong."""

    suspects: tuple[Suspect, ...]
    judged: int
    """Images that have neighbours enough."""
    note: str
    """Why none is suspected where it cannot be told; else empty."""


def alone(samples: Samples) -> NDArray[np.bool_]:
    """[N] images whose person shows their gesture so seldom that only all people's images can tell of it."""
    if not samples.knows_subjects:
        return np.ones(len(samples), dtype=np.bool_)
    numbers = samples.subjects * len(samples.class_names) + samples.gestures
    shown: NDArray[np.bool_] = np.bincount(numbers)[numbers] <= NEIGHBOURS
    return shown


def likely_wrong(samples: Samples, queries: Indices, found: Neighbours) -> Labels:
    """The queries whose nearest images all carry one other gesture.

    Args:
        samples: the table.
        queries: [Q] rows.
        found: the NEIGHBOURS nearest of each: of its own person, or of all people where that one shows it too seldom.
    """
    judged = (found.rows != NOBODY).all(axis=1)
    carried = samples.gestures[found.rows]
    differs = (carried != samples.gestures[queries][:, None]) & (carried == carried[:, :1])
    places = np.flatnonzero(judged & differs.all(axis=1))
    if len(places) > MOST_SUSPECTS * judged.sum():
        note = f"{len(places)} of {int(judged.sum())} images are nearest to another gesture's: too many to suspect any."
        return Labels((), int(judged.sum()), note)
    places = places[np.argsort(found.distances[places, 0], kind="stable")]
    near = zip(
        queries[places].tolist(), found.rows[places, 0].tolist(), found.distances[places, 0].tolist(), strict=True
    )
    return Labels(
        tuple(_suspect(samples, *one) for one in zip(*(each.tolist() for each in columns), strict=True)),
        int(judged.sum()),
        "",
    )


def _suspect(samples: Samples, row: int, nearest: int, distance: float) -> Suspect:
    gesture, other = (samples.class_names[samples.gestures[one]] for one in (row, nearest))
    return Suspect(samples.paths[row], gesture, other, samples.paths[nearest], round(distance, 2))
