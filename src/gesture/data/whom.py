"""What a split tells: what was done about identical images, and whom its test speaks of."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gesture.config.names import PARTS
from gesture.config.schema import SplitConfig
from gesture.data.prepare import Data
from gesture.data.samples import Indices, Samples
from gesture.data.splits import crossing, would_cross


def describe_split(config: SplitConfig, data: Data) -> dict[str, Any]:
    """The `split` entry of result.json: what was done about identical images, and whom the test tells about."""
    return {
        "name": config.name,
        "seed": config.seed,
        "keeps_copies_together": config.keeps_copies_together,
        "identical_images_that_would_have_crossed": would_cross(config, data.samples, data.copies),
        "identical_images_that_crossed": crossing(data.split, data.copies),
        "subjects": {part: _people(data.samples, data.split[part]) for part in PARTS},
        "note": _note(data),
    }


def _note(data: Data) -> str:
    """Whom the test figures tell about, in one line."""
    people, trained = _people(data.samples, data.split.test), _people(data.samples, data.split.train)
    return whom(people, [person for person in people if person in trained])


def whom(people: Sequence[str], seen_in_training: Sequence[str]) -> str:
    """Whom figures tell about, in one line: the people of a test, and those of them who trained."""
    seen, count = len(seen_in_training), len(people)
    if not count:
        return "It is not known whose images these are: people of the test may have been seen in training."
    if seen and count > 1:
        some = f"All {count}" if seen == count else f"{seen} of the {count}"
        were = "was" if seen == 1 else "were"
        return f"{some} people of the test {were} seen in training: this says little about others."
    if seen:
        return "The one person of the test was seen in training: this says little about others."
    whom = "The one person of the test was not" if count == 1 else f"None of the {count} people of the test was"
    return f"{whom} seen in training."


def _people(samples: Samples, rows: Indices) -> list[str]:
    return [samples.subject_names[i] for i in np.unique(samples.subjects[rows])] if samples.knows_subjects else []
