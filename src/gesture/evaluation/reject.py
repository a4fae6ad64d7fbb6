"""When to say nothing: a threshold on the largest probability, and what it costs and keeps away."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Number = float | None


@dataclass(frozen=True)
class Kept:
    """What a threshold leaves of some images."""

    coverage: Number
    """Share of the images that are answered; None where there is no image."""
    error: Number
    """Share of the answers that are wrong; None where nothing is answered."""


def threshold_for(
    confidences: Floats, right: NDArray[np.bool_], coverage: Number = None, error: Number = None
) -> Number:
    """The least largest probability that is answered, from N images' confidences [N] and whether they are right [N].

    Args:
        confidences: largest probability of each image.
        right: whether the gesture it names is the one shown.
        coverage: share of the images that must be answered, at least; the highest such threshold is taken.
        error: share of the answers that may be wrong, at most, in place of a coverage; the lowest such threshold is
            taken. None is found where even the surest answers are wrong more often.
    """
    order = np.argsort(-confidences, kind="stable")
    ordered = confidences[order]
    if error is None:
        assert coverage is not None, "one of the two is wanted"
        place = int(np.ceil(coverage * len(ordered) - 1e-9)) - 1
        return float(ordered[max(place, 0)])
    errors = np.cumsum(~right[order]) / np.arange(1, len(ordered) + 1)
    is_last_of_ties = np.append(ordered[1:] != ordered[:-1], True)
    fitting = np.flatnonzero(is_last_of_ties & (errors <= error))
    return float(ordered[fitting[-1]]) if len(fitting) else None


def kept(confidences: Floats, right: NDArray[np.bool_], threshold: Number) -> Kept:
    """What is answered of images, and how much of that is wrong; a threshold of None answers nothing."""
    answered = np.zeros(len(right), dtype=bool) if threshold is None else confidences >= threshold
    return Kept(
        coverage=float(answered.mean()) if len(answered) else None,
        error=float(1 - right[answered].mean()) if answered.any() else None,
    )


def by_person(
    confidences: Floats, right: NDArray[np.bool_], threshold: Number, subjects: tuple[str, ...]
) -> dict[str, Kept]:
    """`kept` of each person's images; people who are not known are in none."""
    whose = np.array(subjects, dtype=object)
    people = sorted(set(subjects) - {""})
    return {person: kept(confidences[whose == person], right[whose == person], threshold) for person in people}


def rejected(confidences: Mapping[str, Floats], threshold: Number) -> dict[str, dict[str, Any]]:
    """Of sets of images that show no gesture of the network's: how many there are, and the share that is rejected."""
    return {
        name: {"images": len(values), "rejected": _share_rejected(values, threshold)}
        for name, values in confidences.items()
    }


def _share_rejected(confidences: Floats, threshold: Number) -> Number:
    coverage = kept(confidences, np.zeros(len(confidences), dtype=bool), threshold).coverage
    return None if coverage is None else 1 - coverage


def curve(confidences: Floats, right: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Coverage and error of every threshold there can be, from the highest on: two arrays [K], K up to N."""
    order = np.argsort(-confidences, kind="stable")
    ordered, answered = confidences[order], np.arange(1, len(order) + 1)
    is_last_of_ties = np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]
    errors = np.cumsum(~right[order]) / answered
    return (answered / len(order))[is_last_of_ties], errors[is_last_of_ties]
