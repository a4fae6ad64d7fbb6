"""The table that a command ends with: numbers of things as people say them."""

import pytest

from gesture.report import tables
from gesture.runs.result import Result


@pytest.mark.parametrize(
    ("crossed", "prevented", "sentence"),
    [
        (1, 0, "Identical to one in training: 1 image of val and test (split.keeps_copies_together=false)."),
        (2, 0, "Identical to one in training: 2 images of val and test (split.keeps_copies_together=false)."),
        (0, 1, "1 image would have had an identical one on another side; copies were kept together."),
        (0, 7, "7 images would have had an identical one on another side; copies were kept together."),
        (0, 0, "Whom the test tells about."),
    ],
)
def test_what_became_of_identical_images_is_said(crossed: int, prevented: int, sentence: str) -> None:
    result = Result("run", "val/accuracy", 0)
    result.split = {
        "note": "Whom the test tells about.",
        "identical_images_that_crossed": crossed,
        "identical_images_that_would_have_crossed": prevented,
    }
    assert tables.summary(result).splitlines()[-1] == sentence
