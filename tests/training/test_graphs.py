"""Replayed training steps: the same weights as plain ones, wherever a step must be plain."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from conftest import Configured
from gesture import experiment
from gesture.config import TrainConfig
from gesture.run import RunDirectory
from gesture.training import fit
from gesture.training.graphs import PLAIN_STEPS, GraphedClassifier

Work = Callable[[], None]
FULL_BATCHES, EPOCHS = 7, 2  # of 16 among 120 images; the last batch has 8


class Replays:
    """Stands in for a CUDA graph: recording does nothing yet, each replay does the work again on the same memory."""

    def __init__(self) -> None:
        self.recordings = self.replays = 0

    def __call__(self, work: Work) -> Work:
        self.recordings += 1

        def replay() -> None:
            self.replays += 1
            work()

        return replay


def refuse(work: Work) -> Work:
    raise RuntimeError("operation not permitted when stream is capturing")


def weights_after(config: TrainConfig, directory: Path) -> dict[str, torch.Tensor]:
    directory.mkdir()
    run = RunDirectory(directory)
    experiment.run(config, run, [])
    state: dict[str, torch.Tensor] = torch.load(run.last_checkpoint, weights_only=True)["state_dict"]
    return state


def training_figures(directory: Path) -> list[tuple[str, str]]:
    with (directory / "metrics.csv").open() as file:
        return [(row["train/loss"], row["train/accuracy"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("words", "recordings", "plain_full_batches"),
    [
        ([], 1, PLAIN_STEPS),
        (["backbone.freeze_epochs=1"], 2, 2 * PLAIN_STEPS),
        (["trainer.half_size_fraction=0.5", "data.image_size=[64,64]"], 2, 2 * PLAIN_STEPS),
    ],
)
def test_replayed_steps_give_the_weights_of_plain_ones_bit_for_bit_with_a_stand_in_for_the_graph(
    words: list[str],
    recordings: int,
    plain_full_batches: int,
    configured: Configured,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    config = configured(f"trainer.max_epochs={EPOCHS}", *words)
    plain = weights_after(config, tmp_path / "plain")
    graph = Replays()
    monkeypatch.setattr(GraphedClassifier, "record", staticmethod(graph))
    monkeypatch.setattr(fit, "GestureClassifier", GraphedClassifier)
    replayed = weights_after(config, tmp_path / "replayed")

    assert graph.recordings == recordings
    assert graph.replays == EPOCHS * FULL_BATCHES - plain_full_batches
    assert all(torch.equal(replayed[name], plain[name]) for name in plain)
    assert training_figures(tmp_path / "replayed") == training_figures(tmp_path / "plain")


def test_a_network_that_cannot_be_recorded_is_trained_step_by_step(
    configured: Configured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = configured()
    plain = weights_after(config, tmp_path / "plain")
    monkeypatch.setattr(GraphedClassifier, "record", staticmethod(refuse))
    monkeypatch.setattr(fit, "GestureClassifier", GraphedClassifier)
    stepped = weights_after(config, tmp_path / "stepped")
    assert all(torch.equal(stepped[name], plain[name]) for name in plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, which records graphs")
def test_cuda_graphs_give_the_losses_of_plain_steps(
    configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("accelerator=cuda", "trainer.precision=32-true", f"trainer.max_epochs={EPOCHS}")
    figures = []
    for graphs in ("false", "true"):
        directory = tmp_path / graphs
        weights_after(configured(*words, f"accelerator.graphs={graphs}"), directory)
        figures.append([float(loss) for loss, _ in training_figures(directory)])
    assert figures[1] == pytest.approx(figures[0], rel=1e-2)
