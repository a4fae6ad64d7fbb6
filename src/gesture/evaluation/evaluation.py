"""All that evaluation.json says, from tables of predictions alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gesture.config.schema import LossConfig
from gesture.evaluation import groups, reject
from gesture.evaluation.calibration import calibration, tempered
from gesture.evaluation.fitted import Fitted, answers
from gesture.evaluation.intervals import mean_over_people
from gesture.evaluation.metrics import measure
from gesture.evaluation.moments import moments
from gesture.evaluation.people import scores
from gesture.evaluation.roc import roc_auc
from gesture.runs.predictions import Predictions

VERSION = 1
"""Of evaluation.json."""
MOST_MISTAKES = 8
"""Of all mistakes the surest ones that are listed and shown."""
PLAIN = LossConfig(label_smoothing=0.0, on_probabilities=False, class_weights="none")

Record = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """One run of an evaluation by itself."""

    run: str
    """Its checkpoint."""
    predictions: Predictions


@dataclass(frozen=True)
class Material:
    """What an evaluation is a view of."""

    members: Sequence[Member]
    test: Predictions
    """The members' mean."""
    loss: LossConfig | None
    """How the networks were trained; None where they differ in that, and then there is no such loss."""
    class_weights: Sequence[float] | None
    protocol: Record
    """`dataset`, `split` and `seen_in_training`, as the caller knows them."""
    fitted: Fitted | None
    note: str
    """Why nothing was fitted or how far to trust the fit, a sentence; empty where nothing is to be said."""
    unknown: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Probabilities [K, C] of sets of images of no gesture that was trained."""
    group_of: Mapping[str, str] | None = None


def describe(material: Material) -> Record:
    """The content of evaluation.json.

    Raises:
        ConfigError: the groups name nobody of the test.
    """
    test, people = material.test, scores(material.test)
    measured = measure(test, material.loss or PLAIN, material.class_weights)
    unknown_loss = {} if material.loss else {"test/loss": None}
    return {
        "version": VERSION,
        "runs": [member.run for member in material.members],
        "protocol": {**material.protocol, "people": list(people), "images": len(test)},
        "metrics": {**measured.overall, **unknown_loss},
        "per_class": measured.per_class,
        "per_subject": measured.per_subject,
        "scores": people,
        "confusion_matrix": measured.confusion_matrix,
        "class_names": list(test.class_names),
        "over_people": asdict(mean_over_people(list(people.values()))) if people else None,
        "roc_auc": roc_auc(test),
        "calibration": _calibration(material),
        "reject": _reject(material),
        "moments": moments(test),
        "groups": None if material.group_of is None else groups.by_group(people, material.group_of),
        "members": [_alone(member, material) for member in material.members],
        "mistakes": [mistake(test, row) for row in surest_mistakes(test)],
    }


def averaged(members: Sequence[Predictions]) -> Predictions:
    """The mean of several networks' probabilities; all of them were asked about the same images, in any order."""
    first = members[0]
    total = sum(aligned(member, first).probabilities.astype(np.float64) for member in members)
    return first.with_probabilities(np.asarray(total / len(members), dtype=np.float32))


def aligned(predictions: Predictions, like: Predictions) -> Predictions:
    """The predictions of another table's images, in its order; images are matched by path, gestures by name."""
    row_of = {path: row for row, path in enumerate(predictions.paths)}
    columns = [predictions.class_names.index(name) for name in like.class_names]
    rows = [row_of[path] for path in like.paths]
    return like.with_probabilities(predictions.probabilities[rows][:, columns])


def surest_mistakes(predictions: Predictions, most: int = MOST_MISTAKES) -> list[int]:
    """The rows of the wrong answers with the largest probabilities, the surest first.

    Frames of a sequence are near-copies, so of one person's gesture only the surest frame of each wrong name counts.
    """
    named = predictions.probabilities.argmax(axis=1)
    wrong = np.flatnonzero(named != predictions.targets)
    sure = predictions.probabilities[wrong].max(axis=1)
    rows = [int(row) for row in wrong[np.argsort(-sure, kind="stable")]]
    of_kind: dict[object, int] = {}
    for row in rows:
        person = predictions.subjects[row] or predictions.paths[row]  # where nobody is known, each image is a kind
        of_kind.setdefault((person, int(predictions.targets[row]), int(named[row])), row)
    return list(of_kind.values())[:most]


def _calibration(material: Material) -> Record:
    fitted, test = material.fitted, material.test
    after = None
    if fitted is not None:
        after = asdict(calibration(tempered(test.probabilities, fitted.temperature), test.targets))
    return {
        "before": asdict(calibration(test.probabilities, test.targets)),
        "after": after,
        "temperature": None if fitted is None else fitted.temperature,
        "fitted_on": None if fitted is None else fitted.describe(),
        "note": " ".join(note for note in (material.note, fitted.note if fitted else "") if note),
    }


def _reject(material: Material) -> Record | None:
    fitted, test = material.fitted, material.test
    if fitted is None:
        return None
    confidences, right = answers(test, fitted.temperature)
    unknown = {name: tempered(values, fitted.temperature).max(axis=1) for name, values in material.unknown.items()}
    by_person = reject.by_person(confidences, right, fitted.threshold, test.subjects)
    return {
        "threshold": fitted.threshold,
        "wanted": fitted.wanted.to_dict(),
        **asdict(reject.kept(confidences, right, fitted.threshold)),
        "per_subject": {person: asdict(kept) for person, kept in by_person.items()},
        "unknown": reject.rejected(unknown, fitted.threshold),
    }


def _alone(member: Member, material: Material) -> Record:
    """What one run by itself says of the images."""
    own = aligned(member.predictions, material.test)
    people = scores(own)
    return {
        "run": member.run,
        "test/accuracy": measure(own, PLAIN).overall.get("test/accuracy"),
        "over_people": float(np.mean(list(people.values()))) if people else None,
    }


def mistake(predictions: Predictions, row: int) -> Record:
    """A wrong answer as a record holds it."""
    named = int(predictions.probabilities[row].argmax())
    return {
        "path": predictions.paths[row],
        "subject": predictions.subjects[row],
        "gesture": predictions.class_names[predictions.targets[row]],
        "named": predictions.class_names[named],
        "probability": float(predictions.probabilities[row, named]),
    }
