"""Gestures weighed and people drawn alike where some have more images than others."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from conftest import Configured, call
from gesture import train
from gesture.config.schema import TrainConfig
from gesture.data.prepare import Data, prepare
from gesture.training import fit
from gesture.training.balance import class_weights
from gesture.training.classifier import GestureClassifier
from gesture.training.datamodule import Batch, EpochSampler


def uneven(configured: Configured, *words: str) -> tuple[TrainConfig, Data]:
    """Prepared data of which the first gesture trains on three images only, and the last on none."""
    config = configured(*words)
    data = prepare(config.data, config.split)
    rows, gestures = data.split.train, data.samples.gestures
    few = rows[gestures[rows] == 0][3:]
    kept = rows[~np.isin(rows, few) & (gestures[rows] != gestures.max())]
    return config, replace(data, split=replace(data.split, train=kept))


def test_gestures_weigh_by_the_inverse_of_their_share_of_the_training_images(configured: Configured) -> None:
    config, data = uneven(configured, "loss.class_weights=balanced")
    weights = class_weights(config, data)
    assert weights is not None
    trained = data.samples.gestures[data.split.train]
    counts = np.bincount(trained, minlength=len(weights))
    assert counts[0] == 3
    products = (weights * counts)[counts > 0]
    assert products == pytest.approx(products[0])  # all gestures together weigh the same
    assert weights[trained].mean() == pytest.approx(1)
    assert weights[-1] == 1  # nobody trains it
    assert class_weights(configured(), data) is None


def test_the_weights_are_in_the_loss_and_in_the_record(configured: Configured, tiny: list[str], tmp_path: Path) -> None:
    config, data = uneven(configured, "loss.class_weights=balanced", "loss.label_smoothing=0.1")
    components = fit.build(config, data)
    logits, targets = torch.randn(8, 10), torch.arange(8)
    weights = torch.tensor(components.class_weights)
    assert torch.allclose(
        components.classifier.loss(logits, targets),
        F.cross_entropy(logits, targets, weight=weights, label_smoothing=0.1),
    )
    words = ["loss.class_weights=balanced", f"hydra.run.dir={tmp_path}"]
    assert call(train.main, *tiny, *words) == 0
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert len(result["class_weights"]) == 10
    epoch = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    watched = dict(zip(epoch[0].split(","), epoch[1].split(","), strict=True))
    assert float(watched["val/loss"]) == pytest.approx(result["metrics"]["val/loss"], rel=1e-4)
    assert float(watched["val/nll"]) == pytest.approx(result["metrics"]["val/nll"], rel=1e-4)
    assert watched["val/loss"] != watched["val/nll"]


def drawn(people: list[int], epoch: int, rank: int = 0, world: int = 1) -> list[int]:
    sampler = EpochSampler(len(people), 5, rank, world, np.array(people))
    sampler.set_epoch(epoch)
    return list(sampler)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 3), st.integers(1, 3))
def test_people_are_drawn_alike_in_an_epoch_of_as_many_images(people: list[int], epoch: int, world: int) -> None:
    order = drawn(people, epoch)
    assert len(order) == len(people)
    counts = np.bincount([people[index] for index in order], minlength=5)[sorted(set(people))]
    assert counts.max() - counts.min() <= 1
    for person in set(people):  # nobody's image comes twice before each of theirs came once
        theirs = np.bincount([index for index in order if people[index] == person], minlength=len(people))
        own = theirs[np.array(people) == person]
        assert own.max() - own.min() <= 1
    shares = [drawn(people, epoch, rank, world) for rank in range(world)]
    dealt = [index for share in shares for index in share]
    assert sorted(dealt) == sorted(order)


def test_drawing_people_alike_is_a_function_of_seed_and_epoch() -> None:
    people = [0] * 30 + [1] * 5 + [2] * 10
    assert drawn(people, 1) == drawn(people, 1)
    assert drawn(people, 1) != drawn(people, 2)
    chosen = {index for epoch in range(12) for index in drawn(people, epoch) if people[index] == 0}
    assert chosen == set(range(30))  # those who have many images show others in other epochs


def test_people_can_be_drawn_alike_only_where_they_are_known(
    rendered: Path, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data=folder", "data.balance=subject", f"data.root={rendered / '00'}", f"hydra.run.dir={tmp_path / 'run'}"]
    assert call(train.main, *tiny, *words) == 2
    assert "data.balance=subject needs to know whose images these are" in capsys.readouterr().err


def test_a_run_draws_people_alike(tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    step = GestureClassifier.training_step

    def note(self: GestureClassifier, batch: Batch, batch_idx: int) -> torch.Tensor:
        seen.extend(batch.rows.tolist())
        return step(self, batch, batch_idx)

    monkeypatch.setattr(GestureClassifier, "training_step", note)
    assert call(train.main, *tiny, "data.balance=subject", f"hydra.run.dir={tmp_path}") == 0
    people = np.array(seen) // 50  # three people of 50 images each, 120 of which train
    assert np.bincount(people).tolist() == [40, 40, 40]
