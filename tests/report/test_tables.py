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


def test_names_of_any_letters_stand_in_a_table_as_they_are() -> None:
    pattern = r"[/](?P<subject>[^_/]+)_\d"
    shown = tables.text_table("runs", ["run", "[bold]"], [["z[red]", pattern], ["[palm]", "a"]])
    assert all(name in shown for name in ("z[red]", pattern, "[palm]", "[bold]"))


def test_a_table_is_as_wide_as_what_it_says() -> None:
    heads = [f"data.setting_{i}" for i in range(8)]
    shown = tables.text_table("runs", heads, [["[32,64]"] * 8])
    assert all(head in shown.splitlines()[2] for head in heads)
