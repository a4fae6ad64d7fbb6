"""Images whose neighbours carry another gesture: their labels are likely wrong."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gesture.data.samples import Indices, Samples
from gesture.evaluation.neighbours import NOBODY, Neighbours

NEIGHBOURS, AGREEING = 3, 2
"""Nearest images that are asked, and how many of them must carry one other gesture."""
FURTHER = 1.25
"""So many times further than the nearest of these the nearest of the image's own gesture must be.

Of wrong labels given to one in forty frames of real and rendered people these rules found 93 to 100 %, and suspected
0.1 % of the others or less, 1.3 % in sequences of five moments; without this one it was up to 6.8 %.
"""
LEAST_SHOWN = 3
"""Images of a gesture that a person must show to be judged by."""
MOST_SUSPECTS = 0.2
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
    """Images whose person shows their gesture often enough; all images where people are not known."""
    note: str
    """Why none is suspected where it cannot be told; else empty."""


def alone(samples: Samples) -> NDArray[np.bool_]:
    """[N] images whose person shows their gesture too seldom to judge by; other people's hands look otherwise."""
    if not samples.knows_subjects:
        return np.zeros(len(samples), dtype=np.bool_)
    numbers = samples.subjects * len(samples.class_names) + samples.gestures
    shown: NDArray[np.bool_] = np.bincount(numbers)[numbers] < LEAST_SHOWN
    return shown


def likely_wrong(samples: Samples, queries: Indices, found: Neighbours, alike: Neighbours) -> Labels:
    """The queries whose nearest images carry one other gesture, and are clearly nearer than those of their own.

    Args:
        samples: the table.
        queries: [Q] rows.
        found: the NEIGHBOURS nearest of each, of its own person's; none of an image that cannot be judged.
        alike: the nearest of those that carry the same gesture.
    """
    judged = (found.rows != NOBODY).all(axis=1)
    carried, own = samples.gestures[found.rows], samples.gestures[queries]
    agreeing = (carried[:, :, None] == carried[:, None, :]).sum(axis=2) * (carried != own[:, None])
    first = agreeing.argmax(axis=1)[:, None]  # the nearest of those that carry the commonest other gesture
    rows, distances = (np.take_along_axis(each, first, axis=1)[:, 0] for each in (found.rows, found.distances))
    agree = agreeing.max(axis=1) >= AGREEING
    places = np.flatnonzero(judged & agree & (alike.distances[:, 0] > FURTHER * distances))
    if not judged.any():
        return Labels((), 0, f"Nobody shows a gesture in {LEAST_SHOWN} images or more: no label can be judged.")
    if len(places) > MOST_SUSPECTS * judged.sum():
        note = f"{len(places)} of {int(judged.sum())} images are nearest to another gesture's: too many to suspect any."
        return Labels((), int(judged.sum()), note)
    places = places[np.argsort(distances[places], kind="stable")]
    columns = queries[places], rows[places], distances[places]
    suspects = [_suspect(samples, *one) for one in zip(*(each.tolist() for each in columns), strict=True)]
    return Labels(tuple(suspects), int(judged.sum()), "")


def _suspect(samples: Samples, row: int, nearest: int, distance: float) -> Suspect:
    gesture, other = (samples.class_names[samples.gestures[one]] for one in (row, nearest))
    return Suspect(samples.paths[row], gesture, other, samples.paths[nearest], round(distance, 2))
