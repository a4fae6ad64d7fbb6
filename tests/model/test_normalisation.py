"""Pixels and batch statistics of the training images: in the network, in its checkpoints, from the first step."""

import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.nn.modules.batchnorm import _BatchNorm

import gesture
from conftest import Configured, call
from gesture import evaluate, train
from gesture.config.schema import TrainConfig
from gesture.data.prepare import Data, prepare
from gesture.inference.recogniser import Recogniser
from gesture.model.network import UNNORMALISED, GestureNetwork, as_floats
from gesture.model.normalisation import AveragesWarmUp, batch_norms, batches_seen, begin_averages, pixel_statistics
from gesture.runs.directory import RunDirectory
from gesture.training import fit
from gesture.training.classifier import GestureClassifier
from gesture.training.datamodule import Batch, ImageRows


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(0, 120, (12, 1, 32, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def prepared(config: TrainConfig) -> Data:
    return prepare(config.data, config.split)


def batches(data: Data, size: int = 16) -> list[Batch]:
    """The training images in their order."""
    targets = torch.from_numpy(data.samples.gestures)
    rows = ImageRows(torch.from_numpy(data.images), targets, torch.from_numpy(data.split.train))
    return [rows.__getitems__(list(range(start, start + size))) for start in range(0, len(rows) - size + 1, size)]


def steps(classifier: GestureClassifier, batches: list[Batch]) -> None:
    """Forward passes as in training; the weights stay as they are."""
    classifier.train()
    for index, batch in enumerate(batches):
        classifier.on_train_batch_start(batch, index)
        classifier.loss_and_accuracy(batch.images, batch.targets)


def estimated_anew(network: GestureNetwork, batches: list[Batch]) -> GestureNetwork:
    """The network with the plain mean of these batches' statistics."""
    network = deepcopy(network).train()
    for layer in batch_norms(network):
        layer.reset_running_stats()
        layer.momentum = None  # PyTorch's way to ask for a plain mean
    with torch.no_grad():
        for batch in batches:
            network(batch.images)
    return network.eval()


@torch.no_grad()
def accuracy(network: GestureNetwork, batch: Batch) -> float:
    return float((network(batch.images).argmax(dim=1) == batch.targets).float().mean())


def test_pixel_statistics_are_exact_and_of_the_given_rows_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 9, 7), dtype=np.uint8)
    rows = np.arange(0, 200, 2)
    images[1::2] = 255
    mean, deviation = pixel_statistics(images, rows)
    assert mean == pytest.approx((images[rows] / 255).mean(), rel=1e-12)
    assert deviation == pytest.approx((images[rows] / 255).std(), rel=1e-12)


def test_images_without_any_contrast_are_not_divided_by_zero() -> None:
    mean, deviation = pixel_statistics(np.full((3, 4, 4), 51, dtype=np.uint8), np.arange(3))
    assert (mean, deviation) == pytest.approx((0.2, 1.0))


def test_the_network_normalises_uint8_and_float_pixels_alike_and_hands_it_on_in_its_state(images: Tensor) -> None:
    torch.manual_seed(0)
    plain = GestureNetwork("shufflenet_v2_x0_5", 3).eval()
    normalising = deepcopy(plain)
    normalising.normalise_pixels(0.25, 0.125)
    expected = plain((images / 255 - 0.25) / 0.125)
    again = GestureNetwork("shufflenet_v2_x0_5", 3).eval()
    again.load_state_dict(normalising.state_dict())
    for network in (normalising, again):
        assert torch.equal(network(images), expected)
        assert torch.equal(network(images.float() / 255), expected)


def test_a_state_saved_before_pixels_were_normalised_computes_what_it_did_bit_for_bit(images: Tensor) -> None:
    torch.manual_seed(0)
    network = GestureNetwork("shufflenet_v2_x0_5", 3).eval()
    old = {key: value for key, value in network.state_dict().items() if key not in UNNORMALISED}
    other = GestureNetwork("shufflenet_v2_x0_5", 3).eval()
    other.normalise_pixels(0.3, 0.2)  # which the old state must undo
    other.load_state_dict(old)
    assert set(old) & set(UNNORMALISED) == set()
    assert torch.equal(other(images), network.head(network.backbone(network.stem(as_floats(images)))))


def test_a_run_of_the_version_before_evaluates_and_predicts_as_it_did(
    tiny: list[str], rendered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert call(train.main, *tiny, "network.normalisation=plain", f"hydra.run.dir={run}") == 0
    picture = rendered / "00/01_palm/frame_00_01_0001.png"
    expected = gesture.load(run).predict([picture])
    lines = (run / "config.yaml").read_text().splitlines()
    (run / "config.yaml").write_text(
        "\n".join(line for line in lines if line not in ("version: 2", "network:", "  normalisation: plain"))
    )
    checkpoint = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    for name in UNNORMALISED:
        del checkpoint["state_dict"][f"network.{name}"]
    del checkpoint["gesture"]["config"]["network"]
    torch.save(checkpoint, run / "checkpoints/best.ckpt")
    assert call(evaluate.main, f"run={run}") == 0
    assert "The same metrics as the run recorded." in capsys.readouterr().out
    assert gesture.load(run).predict([picture]) == expected


def test_the_training_images_mean_and_deviation_travel_in_the_checkpoint(run_dir: Path, rendered: Path) -> None:
    recogniser = gesture.load(shutil.copy(run_dir / "checkpoints/best.ckpt", run_dir.parent / "alone.ckpt"))
    recorded = RunDirectory(run_dir).read_split()["train"]
    pixels = np.stack([recogniser.prepare(rendered / path) for path in recorded]) / 255
    assert float(recogniser.network.pixel_mean) == pytest.approx(pixels.mean(), rel=1e-5)
    assert float(recogniser.network.pixel_deviation) == pytest.approx(pixels.std(), rel=1e-5)


def test_the_first_epochs_evaluations_are_those_of_statistics_estimated_anew(tiny: list[str], tmp_path: Path) -> None:
    lost = {}
    for normalisation in ("data", "plain"):
        words = [*tiny, "backbone.name=resnet18", "optimizer.lr=3e-4", "data.batch_size=8", "trainer.max_epochs=2"]
        words += [f"network.normalisation={normalisation}", f"hydra.run.dir={tmp_path / normalisation}"]
        assert call(train.main, *words) == 0
        run = RunDirectory(tmp_path / normalisation)
        network = Recogniser.load(run.last_checkpoint, "cpu").network
        trained_on = batches(prepared(run.read_config()), 8)
        right = [
            np.mean([accuracy(each, batch) for batch in trained_on])
            for each in (network, estimated_anew(network, trained_on))
        ]
        lost[normalisation] = right[1] - right[0]
    assert abs(lost["data"]) < 0.1
    assert lost["plain"] > 0.3


def mean(layer: _BatchNorm) -> Tensor:
    assert layer.running_mean is not None
    return layer.running_mean


def variance(layer: _BatchNorm) -> Tensor:
    assert layer.running_var is not None
    return layer.running_var


def one_layer(momentum: float = 0.1) -> tuple[nn.BatchNorm1d, AveragesWarmUp]:
    layer = nn.BatchNorm1d(2, momentum=momentum)
    return layer, AveragesWarmUp([layer])


def values(count: int) -> Tensor:
    """[count, 8, 2]: batches far from mean 0 and variance 1."""
    return 5 + 0.01 * torch.randn(count, 8, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("momentum", [0.1, 0.01, 0.0003])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_nothing_is_left_of_the_values_that_averages_start_with(momentum: float, count: int) -> None:
    layer, warm_up = one_layer(momentum)
    for batch in values(1).expand(count, 8, 2):
        warm_up.prepare_batch()
        layer(batch)
    assert torch.allclose(mean(layer), values(1).mean(dim=(0, 1)), rtol=1e-5)
    assert torch.allclose(variance(layer), values(1)[0].var(dim=0), rtol=1e-4)


@pytest.mark.parametrize("momentum", [0.1, 0.01, 0.0003])
def test_averages_follow_weights_that_change_whatever_the_layers_momentum(momentum: float) -> None:
    layer, warm_up = one_layer(momentum)
    for step in range(80):
        warm_up.prepare_batch()
        layer(values(1)[0] + step)
    behind = values(1)[0].mean(dim=0) + 79 - mean(layer)
    assert torch.all(behind < 80 / 10)
    assert warm_up.is_running


def test_the_layers_own_momentum_rules_once_it_is_the_larger() -> None:
    layer, warm_up = one_layer()
    running = []
    for batch in values(92):
        warm_up.prepare_batch()
        running.append(warm_up.is_running)
        layer(batch)
    assert running == [True] * 90 + [False] * 2
    assert layer.momentum == 0.1


def test_a_warm_up_that_begins_from_a_saved_state_goes_on_where_it_was() -> None:
    whole, whole_warm_up = one_layer()
    resumed, _ = one_layer()
    for batch in values(4):
        whole_warm_up.prepare_batch()
        whole(batch)
    resumed.load_state_dict(whole.state_dict())
    resumed_warm_up = AveragesWarmUp([resumed])
    for batch in values(95)[4:]:
        for layer, warm_up in ((whole, whole_warm_up), (resumed, resumed_warm_up)):
            warm_up.prepare_batch()
            layer(batch)
    assert torch.equal(mean(whole), mean(resumed))
    assert torch.equal(variance(whole), variance(resumed))


def test_a_frozen_layers_averages_stay_and_begin_when_it_thaws() -> None:
    layer, warm_up = one_layer()
    layer.eval()
    before = deepcopy(layer.state_dict())
    for batch in values(3):
        warm_up.prepare_batch()
        assert not warm_up.is_running
        layer(batch)
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())
    layer.train()
    warm_up.prepare_batch()
    layer(values(1)[0])
    assert torch.allclose(mean(layer), values(1)[0].mean(dim=0))


def test_pretrained_averages_are_kept_while_frozen_and_forgotten_with_the_first_batch_trained_on(
    configured: Configured, tmp_path: Path
) -> None:
    pretrained = torchvision.models.shufflenet_v2_x0_5(weights=None)
    for layer in batch_norms(pretrained):
        mean(layer).fill_(3)
        batches_seen(layer).fill_(1_000_000)
    torch.save(pretrained.state_dict(), tmp_path / "pretrained.pth")
    config = configured(f"backbone.weights={tmp_path / 'pretrained.pth'}", "backbone.freeze_epochs=1")
    data = prepared(config)
    classifier = fit.build(config, data).classifier
    assert all(torch.all(mean(layer) == 3) for layer in batch_norms(classifier))
    steps(classifier, batches(data)[:1])
    anew = estimated_anew(classifier.network, batches(data)[:1])
    for layer, other in zip(batch_norms(classifier.network), batch_norms(anew), strict=True):
        assert torch.allclose(mean(layer), mean(other), rtol=1e-3, atol=1e-5)


def test_averages_begin_with_the_next_batch() -> None:
    layer, warm_up = one_layer()
    for batch in values(3):
        layer(batch)
    begin_averages(layer)
    warm_up.prepare_batch()
    layer(values(4)[3])
    assert torch.allclose(mean(layer), values(4)[3].mean(dim=0))


@pytest.mark.skipif(torch.__version__ < "2.12", reason="this torch cannot trace through the checks of shapes")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # PyTorch's own tracing looks at it
def test_a_network_is_compiled_once_for_training_with_a_stand_in_for_the_compiler(configured: Configured) -> None:
    config = configured()
    data = prepared(config)
    classifier = fit.build(config, data).classifier
    compiler = CompileCounter()
    classifier.network.compile(backend=compiler)
    [batch] = batches(data, 4)[:1]
    compiled = []
    for count in (90, 1, 2):  # while momenta change, with the first that stays, and after it
        steps(classifier, [batch] * count)
        compiled.append(compiler.frame_count)
    assert compiled[0] == 0 < compiled[1] == compiled[2]


def test_plain_normalisation_leaves_pixels_and_averages_as_pytorch_has_them(configured: Configured) -> None:
    config = configured("network.normalisation=plain")
    data = prepared(config)
    classifier = fit.build(config, data).classifier
    network = deepcopy(classifier.network).train()
    steps(classifier, batches(data))
    for batch in batches(data):
        network.head(network.backbone(network.stem(as_floats(batch.images))))
    state = network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in classifier.network.state_dict().items())
