"""How far the probability of the gesture that is named may be believed, and the temperature that mends it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 15
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
"""What a probability of 0 counts as, since its logarithm would be infinite."""
TEMPERATURES = (0.05, 20.0)
"""Between these one is looked for; answers that are all right would want one of 0."""
PRECISE = 1e-6
"""Relative width of what is left when the search for a temperature ends."""
GOLDEN = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Bin:
    """The images whose largest probability lies from `low` up to `high`."""

    low: float
    high: float
    images: int
    confidence: float | None
    """Mean of their largest probabilities; None where there is no image."""
    accuracy: float | None
    """Share of them that is named rightly."""


@dataclass(frozen=True)
class Calibration:
    """What a table of probabilities is worth as probabilities; 0 is best."""

    ece: float | None
    """Mean distance of confidence and accuracy over bins of equal width, weighed by their images (Guo et al., 2017)."""
    adaptive_ece: float | None
    """The same over bins of equally many images (Nixon et al., 2019)."""
    brier: float | None
    """Mean squared distance of the probabilities from those of the truth, summed over the gestures: 0 to 2."""
    nll: float | None
    """Mean negative logarithm of the true gesture's probability."""
    bins: tuple[Bin, ...]


def calibration(probabilities: NDArray[Any], targets: NDArray[np.int64], bins: int = BINS) -> Calibration:
    """How well probabilities [N, C] fit the true gestures [N]; None throughout where there is no image."""
    if len(targets) == 0:
        return Calibration(None, None, None, None, ())
    values = np.asarray(probabilities, dtype=np.float64)
    confidences, right = values.max(axis=1), values.argmax(axis=1) == targets
    truth = np.eye(values.shape[1])[targets]
    return Calibration(
        ece=_error(list(_equal_widths(confidences, bins)), confidences, right),
        adaptive_ece=_error(np.array_split(np.argsort(confidences, kind="stable"), bins), confidences, right),
        brier=float(((values - truth) ** 2).sum(axis=1).mean()),
        nll=float(-_logarithms(values)[np.arange(len(targets)), targets].mean()),
        bins=_bins(confidences, right, bins),
    )


def fit_temperature(probabilities: NDArray[Any], targets: NDArray[np.int64]) -> float:
    """The temperature within `TEMPERATURES` that makes the NLL of probabilities [N, C] smallest, N > 0.

    The NLL is convex in the temperature's inverse, so a golden-section search finds its one minimum.
    """
    logarithms, rows = _logarithms(np.asarray(probabilities, dtype=np.float64)), np.arange(len(targets))

    def nll(log_temperature: float) -> float:
        return float(-_normalised(logarithms / np.exp(log_temperature))[rows, targets].mean())

    low, high = np.log(TEMPERATURES)
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = nll(left), nll(right)
    while high - low > PRECISE:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = nll(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = nll(right)
    return float(np.exp((low + high) / 2))


def tempered(probabilities: NDArray[Any], temperature: float) -> Floats:
    """Probabilities [N, C] as if the logits had been divided by the temperature; which one is largest stays."""
    values = np.asarray(probabilities, dtype=np.float64)
    return np.asarray(np.exp(_normalised(_logarithms(values) / temperature)))


def _equal_widths(confidences: Floats, bins: int) -> list[NDArray[np.int64]]:
    """The rows in each of the bins of equal width, a bin's lower end included and the last one's upper end too."""
    edges = np.linspace(0, 1, bins + 1)
    bin_index = np.clip(np.searchsorted(edges, confidences, side="right") - 1, 0, bins - 1)
    return [np.flatnonzero(bin_index == place) for place in range(bins)]


def _error(groups: list[NDArray[np.int64]], confidences: Floats, right: NDArray[np.bool_]) -> float:
    """Sum over groups of rows of their share times the distance of mean confidence and accuracy."""
    distances = [abs(float(confidences[rows].sum() - right[rows].sum())) for rows in groups]
    return sum(distances) / len(confidences)


def _bins(confidences: Floats, right: NDArray[np.bool_], bins: int) -> tuple[Bin, ...]:
    edges = np.linspace(0, 1, bins + 1).tolist()
    return tuple(
        Bin(
            low=edges[place],
            high=edges[place + 1],
            images=len(rows),
            confidence=float(confidences[rows].mean()) if len(rows) else None,
            accuracy=float(right[rows].mean()) if len(rows) else None,
        )
        for place, rows in enumerate(_equal_widths(confidences, bins))
    )


def _logarithms(values: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(values, SMALLEST)))


def _normalised(logarithms: Floats) -> Floats:
    """Logarithms of probabilities that sum to 1 in each row."""
    shifted = logarithms - logarithms.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
