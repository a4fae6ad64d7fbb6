"""Two protocols side by side: each frame alone, and the moments that two views show at once."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from gesture.runs.predictions import Predictions

FURTHEST = 2
"""Frames between the two views of a moment: neighbours, or next but one where a repeat stands between them."""
EQUAL = 1e-5
"""Probabilities of one image twice differ by less, whatever batches it was in."""


def moments(predictions: Predictions) -> dict[str, Any] | None:
    """Accuracy over moments beside that over the same sequences' single frames; None where no view is known.

    A sequence is one person's frames of one gesture in their order. A repeat, the same image again in the same view,
    is dropped; then two frames of different views beside each other are a moment, and its probabilities are their
    mean. A frame without a partner is no moment.
    """
    rows = [row for row, view in enumerate(predictions.views) if view]
    kept, pairs = [], []
    for sequence in _sequences(predictions, rows):
        single = _without_repeats(predictions, sequence)
        kept += single
        pairs += list(_paired(predictions, single))
    if not pairs:
        return None
    first, second = np.array(pairs).T
    together = (predictions.probabilities[first].astype(np.float64) + predictions.probabilities[second]) / 2
    right = predictions.probabilities[rows].argmax(axis=1) == predictions.targets[rows]
    return {
        "moments": len(pairs),
        "accuracy": float((together.argmax(axis=1) == predictions.targets[first]).mean()),
        "single_frames": float(right.mean()),
        "frames": len(rows),
        "repeats": len(rows) - len(kept),
        "unpaired": len(kept) - 2 * len(pairs),
    }


def _sequences(predictions: Predictions, rows: list[int]) -> list[list[int]]:
    """Those rows by person and gesture, each sequence in the order of its frames."""
    found: dict[tuple[str, int], list[int]] = {}
    for row in rows:
        found.setdefault((predictions.subjects[row], int(predictions.targets[row])), []).append(row)
    return [sorted(sequence, key=lambda row: predictions.frames[row]) for sequence in found.values()]


def _without_repeats(predictions: Predictions, sequence: list[int]) -> list[int]:
    """The rows but those that repeat the frame before them."""
    neighbours = itertools.pairwise(sequence)
    return sequence[:1] + [row for before, row in neighbours if not _is_repeat(predictions, before, row)]


def _is_repeat(predictions: Predictions, before: int, row: int) -> bool:
    """Whether two frames are neighbours of one view of which the network says the same.

    Views take turns, so that two neighbours of one view are rare; the same answer to frames further apart tells
    nothing, since a sure network gives it to many.
    """
    is_neighbour = predictions.frames[row] - predictions.frames[before] == 1
    distance = np.abs(predictions.probabilities[row] - predictions.probabilities[before]).max()
    return bool(is_neighbour and predictions.views[row] == predictions.views[before] and distance < EQUAL)


def _paired(predictions: Predictions, sequence: list[int]) -> Iterator[tuple[int, int]]:
    """Pairs of rows beside each other in different views, each row in one pair."""
    place = 0
    while place + 1 < len(sequence):
        one, other = sequence[place : place + 2]
        near = predictions.frames[other] - predictions.frames[one] <= FURTHEST
        if near and predictions.views[one] != predictions.views[other]:
            yield one, other
            place += 1
        place += 1
