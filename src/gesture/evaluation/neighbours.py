"""Each image's nearest among many others, by the difference of their thumbnails."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gesture.data.decode import Images
from gesture.data.samples import Indices

QUERIES, REFERENCES = 512, 4096
"""Images on either side of one product of matrices; no more distances are kept at a time."""
NOBODY = -1

Floats = NDArray[np.float32]
Allowed = Callable[[Indices, Indices], NDArray[np.bool_]]
"""Of rows [Q, 1] and [1, R]: which of the second may be a neighbour of which of the first, [Q, R]."""
Progress = Callable[[Sequence[Indices]], Iterable[Indices]]


@dataclass(frozen=True)
class Neighbours:
    """What is nearest to each of Q images, nearest first."""

    rows: Indices
    """[Q, count] rows of the table, NOBODY where there is none."""
    distances: Floats
    """[Q, count] root of the mean square difference, gray levels; infinite where there is nobody."""


def nearest(
    pixels: Images,
    queries: Indices,
    references: Indices,
    wanted: Mapping[str, tuple[Allowed, int]],
    progress: Progress = list,
) -> dict[str, Neighbours]:
    """The nearest references of each query, for several kinds of neighbours at once.

    Distances come of products of matrices in float32, which are within a tenth of a gray level.

    Args:
        pixels: thumbnails, [N, height, width].
        queries: [Q] rows.
        references: [R] rows.
        wanted: by name, who may be a neighbour and how many are wanted.
        progress: passes blocks of queries on, and may show how far they are.
    """
    flat = pixels.reshape(len(pixels), -1)
    middle = flat[references[:: max(1, len(references) // 1000)]].mean(axis=0, dtype=np.float32)
    blocks = [queries[start : start + QUERIES] for start in range(0, len(queries), QUERIES)]
    found = [_of_block(flat, middle, block, references, wanted) for block in progress(blocks)]
    return {
        name: Neighbours(
            np.concatenate([each[name].rows for each in found] or [np.empty((0, count), np.int64)]),
            np.concatenate([each[name].distances for each in found] or [np.empty((0, count), np.float32)]),
        )
        for name, (_, count) in wanted.items()
    }


def _of_block(
    flat: NDArray[np.uint8],
    middle: Floats,
    queries: Indices,
    references: Indices,
    wanted: Mapping[str, tuple[Allowed, int]],
) -> dict[str, Neighbours]:
    best = {
        name: Neighbours(np.full((len(queries), count), NOBODY), np.full((len(queries), count), np.inf, np.float32))
        for name, (_, count) in wanted.items()
    }
    ours = flat[queries] - middle
    our_squares = (ours**2).sum(axis=1)
    for start in range(0, len(references), REFERENCES):
        rows = references[start : start + REFERENCES]
        theirs = flat[rows] - middle
        squares = ours @ theirs.T
        squares *= -2
        squares += our_squares[:, None]
        squares += (theirs**2).sum(axis=1)
        for name, (allowed, count) in wanted.items():
            possible = np.where(allowed(queries[:, None], rows[None, :]), squares, np.float32(np.inf))
            best[name] = _merged(best[name], rows, possible, count)
    scale = np.float32(flat.shape[1])
    return {name: Neighbours(each.rows, np.sqrt(np.maximum(each.distances, 0) / scale)) for name, each in best.items()}


def _merged(best: Neighbours, rows: Indices, possible: Floats, count: int) -> Neighbours:
    """The nearest of those known and those of one more block, whose squared distances these are."""
    if count == 1:
        places = possible.argmin(axis=1)[:, None]
    else:
        places = np.argpartition(possible, min(count, possible.shape[1]) - 1, axis=1)[:, :count]
    distances = np.concatenate([best.distances, np.take_along_axis(possible, places, axis=1)], axis=1)
    known = np.concatenate([best.rows, rows[places]], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :count]
    distances = np.take_along_axis(distances, order, axis=1)
    known = np.take_along_axis(known, order, axis=1)
    return Neighbours(np.where(np.isfinite(distances), known, NOBODY), distances)
