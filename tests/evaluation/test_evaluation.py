"""evaluation.json's content from tables alone: who is averaged with whom, what is null, which mistakes are listed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gesture.config.schema import LossConfig
from gesture.evaluation.evaluation import Material, Member, averaged, describe, surest_mistakes
from gesture.evaluation.fitted import Wanted, fit
from gesture.evaluation.metrics import measure
from gesture.runs.predictions import Predictions
from tables import guesses, table

SMOOTHED = LossConfig(label_smoothing=0.1, on_probabilities=False, class_weights="none")


def of_people(seed: int = 0, images: int = 120) -> Predictions:
    probabilities, targets = guesses(images, seed=seed)
    people = tuple("ann" if i % 3 else "bob" for i in range(images))
    return table(probabilities, targets, subjects=people)


def material(test: Predictions, **changes: Any) -> Material:
    bare = Material([Member("one", test)], test, SMOOTHED, None, {"dataset": {}}, None, "Nothing was validated.")
    return replace(bare, **changes)


def test_images_are_matched_by_path_and_gestures_by_name() -> None:
    first = of_people()
    order, columns = np.random.default_rng(0).permutation(len(first)), [3, 1, 0, 5, 4, 2]
    other = replace(
        first.take(order.tolist()),
        class_names=tuple(first.class_names[i] for i in columns),
        probabilities=first.probabilities[order][:, columns],
    )
    found = averaged([first, other])
    assert found.paths == first.paths
    assert found.probabilities == pytest.approx(first.probabilities)


def test_one_alone_is_as_it_was() -> None:
    first = of_people()
    assert (averaged([first]).probabilities == first.probabilities).all()


def test_two_are_their_mean_and_each_is_told_of() -> None:
    one, other = of_people(), replace(of_people(), probabilities=of_people(seed=1).probabilities)
    together = averaged([one, other])
    assert together.probabilities == pytest.approx((one.probabilities + other.probabilities) / 2)
    found = describe(material(together, members=[Member("one", one), Member("other", other)]))
    accuracies = [measure(each, SMOOTHED).overall["test/accuracy"] for each in (one, other)]
    assert [member["test/accuracy"] for member in found["members"]] == accuracies
    assert found["runs"] == ["one", "other"]


def test_what_was_not_fitted_is_null_with_a_sentence() -> None:
    found = describe(material(of_people()))
    assert (found["reject"], found["moments"], found["groups"]) == (None, None, None)
    assert found["calibration"]["after"] is None
    assert found["calibration"]["fitted_on"] is None
    assert found["calibration"]["note"] == "Nothing was validated."
    assert found["metrics"]["test/loss"] == measure(of_people(), SMOOTHED).overall["test/loss"]


def test_networks_that_were_trained_differently_have_no_common_loss() -> None:
    found = describe(material(of_people(), loss=None))
    assert found["metrics"]["test/loss"] is None
    assert found["metrics"]["test/nll"] is not None


def test_people_who_are_not_known_have_no_score() -> None:
    probabilities, targets = guesses()
    found = describe(material(table(probabilities, targets)))
    assert found["over_people"] is None
    assert found["members"][0]["over_people"] is None
    assert found["protocol"]["people"] == []


def test_the_threshold_is_applied_to_calibrated_probabilities_by_person() -> None:
    validation, test = of_people(seed=1), of_people(seed=2)
    fitted = fit(validation, Wanted(error=0.5), trained={"cid"})
    assert fitted.kept.error is not None
    assert fitted.kept.error <= 0.5
    assert not fitted.seen_in_training
    found = describe(material(test, fitted=fitted, unknown={"rooms": np.full((4, 6), 1 / 6, np.float32)}))["reject"]
    assert found["wanted"] == {"error": 0.5}
    assert found["unknown"] == {"rooms": {"images": 4, "rejected": 1.0}}
    weights = {"ann": 80 / 120, "bob": 40 / 120}
    together = sum(found["per_subject"][name]["coverage"] * weight for name, weight in weights.items())
    assert together == pytest.approx(found["coverage"])


@pytest.mark.parametrize(
    ("people", "trained", "seen"), [("ann", {"ann"}, True), ("ann", {"bob"}, False), ("", {"bob"}, True)]
)
def test_whoever_was_seen_or_may_have_been_is_labelled(people: str, trained: set[str], seen: bool) -> None:
    probabilities, targets = guesses(20)
    validation = table(probabilities, targets, subjects=(people,) * 20)
    assert fit(validation, Wanted(coverage=0.9), trained).seen_in_training is seen


def test_a_temperature_that_is_no_good_fit_says_why() -> None:
    probabilities, targets = guesses(seed=3)
    good = fit(table(probabilities, targets), Wanted(coverage=0.9), set())
    assert good.note == ""
    wrong = (probabilities.argmax(axis=1) + 1) % 6
    chance = fit(table(probabilities, wrong), Wanted(coverage=0.9), set())
    assert "nothing better than chance" in chance.note
    assert chance.to_dict()["note"] == chance.note
    certain = fit(table(probabilities, probabilities.argmax(axis=1)), Wanted(coverage=0.9), set())
    assert "at an end of those that are tried, 0.05 to 20" in certain.note
    assert describe(material(of_people(), fitted=chance, note="A doubt."))["calibration"]["note"] == (
        f"A doubt. {chance.note}"
    )


def test_near_copies_of_a_mistake_are_listed_once_and_the_surest_first() -> None:
    sure = np.array([[0.1, 0.9, 0], [0.05, 0.95, 0], [0.2, 0, 0.8], [0.9, 0.1, 0], [0.3, 0.7, 0]])
    predictions = table(sure, np.zeros(5), subjects=("ann", "ann", "ann", "ann", "bob"))
    assert surest_mistakes(predictions) == [1, 2, 4]
    assert surest_mistakes(predictions, most=1) == [1]
    assert surest_mistakes(replace(predictions, subjects=("",) * 5)) == [1, 0, 2, 4]
