"""What a reader must be told first: that a run is not done, and wherever its protocol leaks."""

from collections.abc import Sequence

from gesture.report.figures import Figures, share, whole
from gesture.report.markup import Content

WELL_ABOVE = 0.5
"""Of the way from chance to 1. On people who did not train a lookup goes a tenth of it on LeapGestRecog; where they
trained, all of it."""


def of_run(result: Figures, calibration: Figures) -> list[Content]:
    """The warnings of a run, from result.json and calibration.json."""
    return [
        *_unfinished(result),
        *_people(result),
        *_lookup(result),
        *_copies(result),
        *of_fit(calibration, "fitted_on"),
    ]


def trained_of(result: Figures) -> list[str]:
    """The people whose images trained, as far as it is known."""
    return list(result.value("split", "subjects", "train") or ())


def seen_of(result: Figures) -> list[str]:
    """The people of the test whose images trained."""
    trained = set(trained_of(result))
    return [person for person in result.value("split", "subjects", "test") or () if person in trained]


def of_fit(fitted: Figures, *keys: str) -> list[Content]:
    """The warning about a temperature and a threshold that were fitted on people seen in training."""
    if not fitted.value(*keys, "seen_in_training"):
        return []
    return [
        "The temperature and the threshold of rejecting were fitted on people seen in training: on others they are too "
        "sure of themselves."
    ]


def _unfinished(result: Figures) -> Sequence[Content]:
    status = result.value("status")
    if status == "done":
        return []
    told = (result.value("error") or "").strip().splitlines()
    return [f"This run is not done but {status}; here is what it left. {told[-1] if told else ''}"]


def _people(result: Figures) -> Sequence[Content]:
    known = result.value("split", "subjects", "test")
    note = result.value("split", "note")
    return [str(note)] if note and (seen_of(result) or not known) else []


def _lookup(result: Figures) -> Sequence[Content]:
    found, chance = result.value("leak", "share"), result.value("leak", "chance")
    if found is None or chance is None or (found - chance) / (1 - chance) < WELL_ABOVE:
        return []
    return [
        [
            f"This test leaks: {str(result.value('leak', 'sentence')).rstrip('.')} (chance: ",
            result(share, "leak", "chance"),
            "). Its figures tell how alike the two sides are, not how well others would be recognised.",
        ]
    ]


def _copies(result: Figures) -> Sequence[Content]:
    crossed = result.value("split", "identical_images_that_crossed")
    if not crossed:
        return []
    is_one = crossed == 1
    return [
        [
            result(whole, "split", "identical_images_that_crossed"),
            f" image{'' if is_one else 's'} of validation and test {'is' if is_one else 'are'} identical to one on ",
            "another side.",
        ]
    ]
