"""Probabilities as probabilities: held equal to torchmetrics and scikit-learn, mended by a temperature."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from gesture.evaluation.calibration import TEMPERATURES, calibration, fit_temperature, tempered
from tables import guesses


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [1, 10, 15, 40])
def test_the_ece_is_torchmetrics(seed: int, bins: int) -> None:
    probabilities, targets = guesses(seed=seed)
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(targets), num_classes=6, n_bins=bins, norm="l1"
    )
    found = calibration(probabilities, targets, bins)
    assert found.ece == pytest.approx(float(expected), abs=1e-6)
    assert sum(one.images for one in found.bins) == len(targets)
    distances = [one.images * abs(one.confidence - one.accuracy) for one in found.bins if one.images]  # type: ignore[operator]
    assert sum(distances) / len(targets) == pytest.approx(found.ece)


@pytest.mark.parametrize("seed", range(5))
def test_nll_and_brier_are_what_their_formulas_say(seed: int) -> None:
    probabilities, targets = guesses(seed=seed)
    found = calibration(probabilities, targets)
    assert found.nll == pytest.approx(log_loss(targets, probabilities, labels=range(6)))
    by_hand = [
        sum((row[k] - (k == target)) ** 2 for k in range(6)) for row, target in zip(probabilities, targets, strict=True)
    ]
    assert found.brier == pytest.approx(np.mean(by_hand))


def test_bins_of_equally_many_images_see_what_equal_widths_do_not() -> None:
    """Where nearly all are sure, equal widths put them into one bin, in which too sure and too unsure cancel out."""
    sure = np.linspace(0.94, 0.999, 100)
    right = np.arange(100) < 50  # the less sure half is always right, the surer one never
    probabilities = np.stack([sure, 1 - sure], axis=1)
    found = calibration(probabilities, np.where(right, 0, 1), bins=10)
    assert found.ece == pytest.approx(abs(sure.mean() - 0.5))
    by_half = (np.abs(sure[:50] - 1).sum() + sure[50:].sum()) / 100
    assert found.adaptive_ece == pytest.approx(by_half)


def test_a_certain_answer_counts_in_the_last_bin() -> None:
    found = calibration(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
    assert found.bins[-1].images == 2
    assert found.ece == pytest.approx(0.5)


def test_nothing_is_measured_on_no_image() -> None:
    found = calibration(np.zeros((0, 3)), np.zeros(0, dtype=np.int64))
    assert (found.ece, found.adaptive_ece, found.brier, found.nll, found.bins) == (None, None, None, None, ())


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_honest_probabilities_unsure_or_too_sure(true: float) -> None:
    rng = np.random.default_rng(1)
    honest, _ = guesses(20_000, seed=2)
    targets = (honest.cumsum(axis=1) > rng.random((len(honest), 1))).argmax(axis=1)
    distorted = tempered(honest, 1 / true)
    assert fit_temperature(distorted, targets) == pytest.approx(true, rel=0.05)
    before, after = calibration(distorted, targets), calibration(tempered(distorted, true), targets)
    assert after.ece is not None
    assert before.ece is not None
    assert after.ece <= before.ece + 1e-9


@given(st.integers(0, 1000), st.floats(0.2, 5))
def test_no_other_temperature_has_a_smaller_nll(seed: int, other: float) -> None:
    probabilities, targets = guesses(60, seed=seed)
    fitted = fit_temperature(probabilities, targets)

    def nll(temperature: float) -> float:
        value = calibration(tempered(probabilities, temperature), targets).nll
        assert value is not None
        return value

    assert nll(fitted) <= nll(other) + 1e-9


def test_the_temperature_is_torchs() -> None:
    """The same minimum by torch's L-BFGS over the logits."""
    probabilities, targets = guesses(seed=3, sureness=4.0)
    logits, inverse = torch.from_numpy(np.log(probabilities)), torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([inverse], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(logits * inverse, torch.from_numpy(targets))
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    assert fit_temperature(probabilities, targets) == pytest.approx(1 / float(inverse.detach()), rel=1e-4)


def test_a_temperature_changes_no_answer_and_no_sum() -> None:
    probabilities, _ = guesses()
    softer = tempered(probabilities, 2.5)
    assert (softer.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert softer.sum(axis=1) == pytest.approx(np.ones(len(softer)))
    assert tempered(probabilities, 1.0) == pytest.approx(probabilities)


def test_answers_that_are_all_right_get_the_least_temperature_there_is() -> None:
    probabilities, _ = guesses(50)
    assert fit_temperature(probabilities, probabilities.argmax(axis=1)) == pytest.approx(TEMPERATURES[0], rel=1e-3)
