"""Replayed training steps: the same weights as plain ones, wherever a step must be plain."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from conftest import Configured
from gesture.config.schema import TrainConfig
from gesture.runs.directory import RunDirectory
from gesture.training import experiment, fit
from gesture.training.graphs import PLAIN_STEPS, GraphedClassifier

Work = Callable[[], None]
IMAGES, EPOCHS = 120, 4
WARM_UP = 90
"""Steps in which the momenta of batch normalisation change."""
HALVED = ("trainer.half_size_fraction=0.5", "data.image_size=[64,64]")


class Replays:
    """Stands in for CUDA graphs: recording changes nothing but where gradients lie; a replay writes to that memory and
    leaves alone what the parameters call their gradients."""

    def __init__(self) -> None:
        self.recordings = self.replays = 0

    def record(self, classifier: GraphedClassifier, work: Work) -> Work:
        self.recordings += 1
        parameters, buffers = list(classifier.parameters()), list(classifier.buffers())
        before = [buffer.clone() for buffer in buffers]
        work()
        memory = [parameter.grad for parameter in parameters]
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)

        def replay() -> None:
            self.replays += 1
            attached = [parameter.grad for parameter in parameters]
            work()
            for parameter, place, gradient in zip(parameters, memory, attached, strict=True):
                if place is not None:
                    assert parameter.grad is not None
                    place.copy_(parameter.grad)
                parameter.grad = gradient

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
    ("words", "batch_size", "recordings", "plain_full_batches"),
    [
        (["network.normalisation=plain"], 16, 1, PLAIN_STEPS),
        (["network.normalisation=plain", "backbone.freeze_epochs=2"], 16, 2, 2 * PLAIN_STEPS),
        (["network.normalisation=plain", *HALVED], 16, 2, 2 * PLAIN_STEPS),
        ([], 4, 1, WARM_UP),
        (["backbone.freeze_epochs=1"], 3, 2, PLAIN_STEPS + WARM_UP),
    ],
)
def test_replayed_steps_give_the_weights_of_plain_ones_bit_for_bit_with_a_stand_in_for_the_graph(
    words: list[str],
    batch_size: int,
    recordings: int,
    plain_full_batches: int,
    configured: Configured,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    config = configured(f"trainer.max_epochs={EPOCHS}", f"data.batch_size={batch_size}", *words)
    plain = weights_after(config, tmp_path / "plain")
    graph = Replays()
    monkeypatch.setattr(GraphedClassifier, "record", lambda classifier, work: graph.record(classifier, work))
    monkeypatch.setattr(fit, "GestureClassifier", GraphedClassifier)
    replayed = weights_after(config, tmp_path / "replayed")

    assert graph.recordings == recordings
    assert graph.replays == EPOCHS * (IMAGES // batch_size) - plain_full_batches
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
    words = (
        "accelerator=cuda",
        "trainer.precision=32-true",
        f"trainer.max_epochs={EPOCHS}",
        "optimizer.lr=1e-3",
        "data.batch_size=4",
    )
    plain = weights_after(configured(*words, "accelerator.graphs=false"), tmp_path / "plain")
    graphed = weights_after(configured(*words, "accelerator.graphs=true"), tmp_path / "graphed")
    losses = [[float(loss) for loss, _ in training_figures(tmp_path / name)] for name in ("plain", "graphed")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)
    for name, weight in plain.items():
        if weight.is_floating_point():
            assert torch.allclose(graphed[name], weight, rtol=0.05, atol=0.01), name
