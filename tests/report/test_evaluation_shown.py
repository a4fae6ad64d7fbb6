"""What an evaluation shows on the console and in pictures: all of its record, short and small."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from gesture.config.schema import LossConfig
from gesture.evaluation.evaluation import Material, Member, describe
from gesture.evaluation.fitted import Wanted, fit
from gesture.evaluation.people import scores
from gesture.report.evaluation import LEAST_ANSWERED, draw, draw_mistakes, overlaid, people, summary
from tables import guesses, table

PLAIN = LossConfig(label_smoothing=0.0, on_probabilities=False, class_weights="none")


def record_of(people: int = 4, **changes: Any) -> tuple[dict[str, Any], Any]:
    probabilities, targets = guesses(240)
    names = tuple(f"person{i % people}" for i in range(240))
    test = table(probabilities, targets, subjects=names)
    fitted = fit(test, Wanted(coverage=0.9), set(names))
    protocol = {"dataset": {}, "split": {"name": "recorded subject", "note": "None was seen."}}
    material = Material([Member("run", test)], test, PLAIN, None, protocol, fitted, "")
    return describe(replace(material, **changes)), test


def test_the_console_says_what_the_record_says() -> None:
    record, _ = record_of(group_of={f"person{i}": "bare" if i else "sleeve" for i in range(4)})
    text = summary(record)
    for number in (
        record["metrics"]["test/accuracy"],
        record["calibration"]["before"]["ece"],
        record["calibration"]["after"]["brier"],
        record["reject"]["per_subject"]["person2"]["coverage"],
        record["groups"]["groups"]["bare"]["score"],
    ):
        assert f"{number:.4f}" in text
    assert f"{record['over_people']['low']:.3f} to {record['over_people']['high']:.3f}" in text
    assert "four people, who were seen in training" in text
    assert "None was seen." in text


def test_the_worst_person_and_the_bars_are_of_the_measure_whose_interval_is_drawn() -> None:
    named = np.eye(2)[[0] * 9 + [1] + [0] * 10 + [1, 0]]  # bob's images are named better, his gestures worse
    test = table(named, [0] * 20 + [1] * 2, subjects=("ann",) * 10 + ("bob",) * 12)
    protocol = {"dataset": {}, "split": {"name": "all images", "note": ""}}
    record = describe(Material([Member("run", test)], test, PLAIN, None, protocol, None, ""))
    assert record["scores"] == scores(test) == {"ann": 0.9, "bob": 0.75}
    assert "least of bob, 0.750." in summary(record)
    [axis] = people(record).axes
    assert [bar.get_width() for bar in axis.patches if isinstance(bar, Rectangle)] == [0.9, 0.75]


def test_a_fit_that_is_none_and_its_threshold_are_told_apart_from_good_ones() -> None:
    probabilities, _ = guesses(60)
    wrong = table(probabilities, (probabilities.argmax(axis=1) + 1) % 6)
    fitted = fit(wrong, Wanted(coverage=0.9), set())
    text = summary(record_of(fitted=fitted)[0])
    assert "nothing better than chance" in text
    assert f"Rejecting below {fitted.threshold:.4f}" in text


def test_many_people_do_not_fill_the_console() -> None:
    record, _ = record_of(people=40)
    text = summary(record)
    assert text.count("person") <= LEAST_ANSWERED + 2
    assert "all 40 people are in evaluation.json" in text


def test_nothing_fitted_is_said_in_a_sentence() -> None:
    record, _ = record_of(fitted=None, note="No validation was recorded.")
    text = summary(record)
    assert "No validation was recorded." in text
    assert "Rejecting" not in text


def test_an_error_that_no_threshold_reaches_is_said() -> None:
    probabilities, _ = guesses(60)
    wrong = table(probabilities, (probabilities.argmax(axis=1) + 1) % 6)
    record, _ = record_of(fitted=fit(wrong, Wanted(error=0.01), set()))
    assert "no threshold reaches error 0.01" in summary(record)


@pytest.mark.parametrize("people", [1, 4, 100])
def test_every_plot_is_drawn_and_small(people: int, tmp_path: Path) -> None:
    record, test = record_of(people=people)
    draw(record, test, tmp_path)
    drawn = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(drawn) == {"reliability.png", "confusion_matrix.png", "roc_auc.png", "per_subject.png", "reject.png"}
    assert max(drawn.values()) < 150_000


def test_a_person_nobody_knows_has_no_bar(tmp_path: Path) -> None:
    probabilities, targets = guesses()
    test = table(probabilities, targets)
    protocol = {"dataset": {}, "split": {"name": "all images", "note": ""}}
    record = describe(Material([Member("run", test)], test, PLAIN, None, protocol, None, "Nothing."))
    draw(record, test, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"reliability.png", "confusion_matrix.png", "roc_auc.png"}


def test_what_was_looked_at_is_coloured_and_the_rest_stays_gray() -> None:
    images = np.full((1, 4, 4), 100, dtype=np.uint8)
    looked_at = np.zeros((1, 4, 4), dtype=np.float32)
    looked_at[0, :2] = 1
    found = overlaid(images, looked_at)
    assert (found[0, 2:] == 100).all()
    assert (found[0, :2, :, 0] > found[0, :2, :, 2]).all()
    assert (overlaid(images, None) == 100).all()


def test_a_test_without_mistakes_has_no_sheet(tmp_path: Path) -> None:
    draw_mistakes({"mistakes": []}, np.zeros((0, 32, 32), dtype=np.uint8), None, tmp_path)
    assert list(tmp_path.iterdir()) == []
    mistake = {"gesture": "a", "subject": "ann", "named": "b", "probability": 0.9}
    draw_mistakes({"mistakes": [mistake] * 8}, np.zeros((8, 240, 640), dtype=np.uint8), None, tmp_path)
    with Image.open(tmp_path / "mistakes.jpg") as sheet:
        assert sheet.width < 1000
