"""What was recorded of whom: images by person and gesture, missing frames, sequences that a split cuts."""

from dataclasses import dataclass

import numpy as np

from gesture.config.names import PARTS
from gesture.data.samples import UNKNOWN, Indices, Samples
from gesture.data.views import FrameSequence, rows_of_sequences
from gesture.evaluation.copies import NOWHERE

EVERYBODY = "all"
"""Stands for people where they are not known."""


@dataclass(frozen=True)
class Gap:
    """A sequence whose numbers leave frames out."""

    subject: str
    gesture: str
    missing: int
    """Numbers left out between the first frame and the last."""
    first: int
    """The first of them."""


@dataclass(frozen=True)
class Cut:
    """A sequence that stands on several sides, so that neighbouring frames train and test."""

    subject: str
    gesture: str
    images: dict[str, int]
    """On each side that has some."""


@dataclass(frozen=True)
class Views:
    """What switching between two views explains of a sequence's change from frame to frame."""

    subject: str
    gesture: str
    frames: int
    repeats: int
    explained: float | None
    """Null where the views do not alternate."""


def counted_by(samples: Samples) -> dict[str, dict[str, int]]:
    """Images by person and gesture."""
    people = samples.subject_names or (EVERYBODY,)
    numbers = np.where(samples.subjects == UNKNOWN, 0, samples.subjects)
    found: dict[str, dict[str, int]] = {}
    for person, name in enumerate(people):
        shown = np.bincount(samples.gestures[numbers == person], minlength=len(samples.class_names))
        found[name] = dict(zip(samples.class_names, shown.tolist(), strict=True))
    return found


def gaps(samples: Samples) -> tuple[Gap, ...]:
    """Every sequence in which numbers are missing, where its frames are mostly numbered by ones or by equal steps."""
    found = []
    for rows in rows_of_sequences(samples):
        steps = np.diff(np.unique(samples.frames[rows]))
        if len(steps) == 0:
            continue
        step = int(np.bincount(steps).argmax())
        missing = steps // step - 1
        if missing.sum() > 0:
            before = int(np.unique(samples.frames[rows])[np.flatnonzero(missing > 0)[0]])
            found.append(Gap(*_names(samples, rows), int(missing.sum()), before + step))
    return tuple(found)


def cut(samples: Samples, sides: Indices) -> tuple[Cut, ...]:
    """Every sequence that stands on several sides, [N] as `sides_of` numbers them."""
    found = []
    for rows in rows_of_sequences(samples):
        shown = np.bincount(sides[rows], minlength=NOWHERE + 1)[:NOWHERE]
        images = {part: int(count) for part, count in zip(PARTS, shown, strict=True) if count}
        if len(images) > 1:
            found.append(Cut(*_names(samples, rows), images))
    return tuple(found)


def viewed(samples: Samples, found: list[FrameSequence]) -> tuple[Views, ...]:
    """The sequences by their names."""
    return tuple(
        Views(
            samples.subject_names[one.subject],
            samples.class_names[one.gesture],
            len(one.rows),
            one.repeats,
            None if one.explained is None else round(one.explained, 4),
        )
        for one in found
    )


def _names(samples: Samples, rows: Indices) -> tuple[str, str]:
    return samples.subject_names[samples.subjects[rows[0]]], samples.class_names[samples.gestures[rows[0]]]
