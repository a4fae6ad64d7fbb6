"""What is fitted on a run's recorded validation, never on a test: the temperature, and the threshold of rejecting."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from gesture.evaluation import reject
from gesture.evaluation.calibration import TEMPERATURES, calibration, fit_temperature, tempered
from gesture.runs.predictions import Predictions

VERSION = 1
"""Of calibration.json."""
AT_END = 1e-3
"""Relative distance of a temperature from an end of the search within which it lies there."""
LEAST_GAIN = 0.01
"""Share of chance's NLL that the network's must lie below it, so that there is something to calibrate."""
Number = float | None


@dataclass(frozen=True)
class Wanted:
    """What a threshold of rejecting is to bring about: one of the two."""

    coverage: Number = None
    """Least share of the images that is answered."""
    error: Number = None
    """Largest share of the answers that is wrong."""

    def to_dict(self) -> dict[str, float]:
        """The one that is wanted, by its name."""
        return {
            name: value for name, value in (("coverage", self.coverage), ("error", self.error)) if value is not None
        }


@dataclass(frozen=True)
class Fitted:
    """A temperature and a threshold, and on whom they were fitted."""

    temperature: float
    threshold: Number
    """The least largest probability, after the temperature, that is answered; None: nothing is."""
    wanted: Wanted
    kept: reject.Kept
    """What the threshold brings about on the images it was fitted on."""
    people: tuple[str, ...]
    images: int
    seen_in_training: bool
    """Whether some of these people also trained; True also where it is not known whose images they are."""
    note: str = ""
    """Why the temperature is no good fit, a sentence; empty where it is one."""

    def describe(self) -> dict[str, Any]:
        """On whom it was fitted."""
        return {
            "split": "val",
            "people": list(self.people),
            "images": self.images,
            "seen_in_training": self.seen_in_training,
        }

    def to_dict(self) -> dict[str, Any]:
        """What calibration.json holds."""
        return {
            "version": VERSION,
            "temperature": self.temperature,
            "threshold": self.threshold,
            "wanted": self.wanted.to_dict(),
            "coverage": self.kept.coverage,
            "error": self.kept.error,
            "fitted_on": self.describe(),
            "note": self.note,
        }


def fit(validation: Predictions, wanted: Wanted, trained: Collection[str]) -> Fitted:
    """Fit both on the predictions of validation images, one or more.

    Args:
        validation: the recorded predictions.
        wanted: what the threshold is for.
        trained: the people whose images were trained on.
    """
    temperature = fit_temperature(validation.probabilities, validation.targets)
    confidences, right = answers(validation, temperature)
    threshold = reject.threshold_for(confidences, right, wanted.coverage, wanted.error)
    people = tuple(sorted(set(validation.subjects) - {""}))
    return Fitted(
        temperature=temperature,
        threshold=threshold,
        wanted=wanted,
        kept=reject.kept(confidences, right, threshold),
        people=people,
        images=len(validation),
        seen_in_training=not people or not set(people).isdisjoint(trained),
        note=_doubt(validation, temperature),
    )


def _doubt(validation: Predictions, temperature: float) -> str:
    """Why a temperature is no good fit, a sentence; empty where it is one."""
    nll = calibration(tempered(validation.probabilities, temperature), validation.targets).nll
    chance = float(np.log(len(validation.class_names)))
    if nll is not None and nll > (1 - LEAST_GAIN) * chance:
        return (
            "The temperature is no good fit: of its validation the network says nothing better than chance (NLL "
            f"{nll:.4f} with the temperature, {chance:.4f} by chance)."
        )
    if any(abs(temperature / end - 1) < AT_END for end in TEMPERATURES):
        least, most = TEMPERATURES
        return (
            f"The temperature is no good fit: it lies at an end of those that are tried, {least:g} to {most:g}, and "
            "the validation asks for one beyond."
        )
    return ""


def answers(predictions: Predictions, temperature: float) -> tuple[reject.Floats, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Each image's largest probability after the temperature [N], and whether the gesture it names is shown [N]."""
    right = predictions.probabilities.argmax(axis=1) == predictions.targets
    return tempered(predictions.probabilities, temperature).max(axis=1), right
