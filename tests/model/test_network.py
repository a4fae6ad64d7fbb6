"""The network, its weights, its figures and its optimizers."""

import hashlib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from torch import nn

from conftest import SHARED, needs_shared
from gesture.config import BackboneConfig, ConfigError, OptimizerConfig, SchedulerConfig, config_dir
from gesture.data.files import Folder
from gesture.data.samples import Row, table
from gesture.model.metrics import RunningMeans, confusion_matrix, gesture_metrics, per_class, per_subject
from gesture.model.network import GestureNetwork
from gesture.model.optimizers import build_optimizer, build_scheduler
from gesture.model.weights import load_backbone_weights

GROUP_FILES = sorted(path.stem for path in (config_dir() / "backbone").glob("*.yaml"))


def chosen(name: str, weights: str) -> BackboneConfig:
    return BackboneConfig(name, weights, freeze_epochs=0, lr_factor=1.0)


@pytest.fixture(scope="module")
def network() -> GestureNetwork:
    torch.manual_seed(0)
    return GestureNetwork("mobilenet_v3_small", 10).eval()


@pytest.mark.parametrize("backbone", [*GROUP_FILES, "googlenet"])
def test_every_backbone_gives_a_logit_for_each_class(backbone: str) -> None:
    network = GestureNetwork(backbone, 7)
    assert network(torch.zeros(2, 1, 64, 96, dtype=torch.uint8)).shape == (2, 7)


def test_stem_and_head_are_the_reports() -> None:
    network = GestureNetwork("resnet18", 10)
    assert [tuple(layer.weight.shape) for layer in network.stem if isinstance(layer, nn.Conv2d)] == [
        (3, 1, 3, 3),
        (3, 3, 3, 3),
    ]
    assert [type(layer).__name__ for layer in network.head] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert [layer.out_features for layer in network.head if isinstance(layer, nn.Linear)] == [500, 100, 10]
    assert isinstance(network.backbone, torchvision.models.ResNet)
    assert network.backbone.fc.out_features == 1000


def test_uint8_and_float_images_give_the_same_logits(network: GestureNetwork) -> None:
    images = torch.randint(0, 256, (3, 1, 48, 64), dtype=torch.uint8)
    assert torch.equal(network(images), network(images.float() / 255))
    assert torch.allclose(network.probabilities(images).sum(dim=1), torch.ones(3))


def test_weights_come_from_a_file_and_may_lack_the_last_layer(tmp_path: Path) -> None:
    source, target = (torchvision.models.resnet18(weights=None) for _ in range(2))
    state = {key: value for key, value in source.state_dict().items() if not key.startswith("fc.")}
    torch.save({"state_dict": state}, tmp_path / "backbone.pth")
    fc = target.fc.weight.clone()
    load_backbone_weights(target, chosen("resnet18", str(tmp_path / "backbone.pth")))
    assert torch.equal(target.conv1.weight, source.conv1.weight)
    assert torch.equal(target.fc.weight, fc)


@needs_shared
def test_the_real_weight_files_fit_their_networks() -> None:
    files = {"mobilenet_v2": "mobilenet_v2-b0353104.pth", "resnet18": "resnet18-imagenet-backbone.pth"}
    for name, file in files.items():
        network = torchvision.models.get_model(name, weights=None)
        load_backbone_weights(network, chosen(name, str(SHARED / "weights" / file)))
        state = torch.load(SHARED / "weights" / file, weights_only=True)
        own = network.state_dict()
        assert all(torch.equal(own[key], state[key].to(own[key].dtype)) for key in state)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def _weights(kind: str, folder: Path) -> str:
    resnet = torchvision.models.resnet18(weights=None).state_dict()
    contents = {
        "for_another": torchvision.models.resnet34(weights=None).state_dict(),
        "too_little": {key: value for key, value in resnet.items() if "layer1" not in key},
        "misshapen": {**resnet, "conv1.weight": torch.zeros(64, 1, 7, 7)},
        "unsafe": {"conv1.weight": Evil()},
        "no_tensors": {"epoch": 3},
    }
    path = folder / f"{kind}.pth"
    if kind == "damaged":
        path.write_bytes(b"PK\x03\x04 and no more")
    elif kind == "renamed":
        path = folder / f"resnet18-{'0' * 8}.pth"
        torch.save(resnet, path)
    elif kind in contents:
        torch.save(contents[kind], path)
    return "IMAGENET1K_V9" if kind == "unknown_name" else str(path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("unknown_name", "is unknown for resnet18: choose none, IMAGENET1K_V1"),
        ("for_another", "does not fit backbone resnet18: it has unknown layer1.2.conv1.weight"),
        ("too_little", "it lacks layer1.0.conv1.weight"),
        ("misshapen", "it has another shape of conv1.weight"),
        ("unsafe", "is damaged or holds more than plain tensors"),
        ("damaged", "is damaged or holds more than plain tensors"),
        ("no_tensors", "holds no state dict"),
        ("renamed", "its SHA-256 does not begin with 00000000"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_never_executed(
    kind: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_backbone_weights(torchvision.models.resnet18(weights=None), chosen("resnet18", _weights(kind, tmp_path)))
    assert words in str(refusal.value)
    assert "executed" not in capsys.readouterr().out


def test_torchvisions_weights_are_used_or_missing_ones_explained_with_a_stand_in_for_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, target = (torchvision.models.resnet18(weights=None) for _ in range(2))
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *_, **__: source.state_dict())
    load_backbone_weights(target, chosen("resnet18", "IMAGENET1K_V1"))
    assert torch.equal(target.fc.weight, source.fc.weight)

    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    with pytest.raises(ConfigError, match=r"could not be downloaded .*: give a local .pth file instead"):
        load_backbone_weights(target, chosen("resnet18", "DEFAULT"))


def test_a_file_whose_name_holds_its_hash_is_checked_against_it(tmp_path: Path) -> None:
    resnet = torchvision.models.resnet18(weights=None)
    torch.save(resnet.state_dict(), tmp_path / "resnet18.pth")
    digest = hashlib.sha256((tmp_path / "resnet18.pth").read_bytes()).hexdigest()[:8]
    path = (tmp_path / "resnet18.pth").rename(tmp_path / f"resnet18-{digest}.pth")
    load_backbone_weights(resnet, chosen("resnet18", str(path)))


def _guesses() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 4, (200,), generator=generator)  # class 4 never occurs and is never guessed
    logits = torch.randn(200, 5, generator=generator) + 2 * nn.functional.one_hot(targets, 5)
    logits[:, 4] = -9
    return logits.softmax(dim=1), targets


def test_figures_agree_with_scikit_learn() -> None:
    probabilities, targets = _guesses()
    guesses = probabilities.argmax(dim=1)
    metrics = gesture_metrics(5, "test/")
    for part in range(0, 200, 32):
        metrics.update(probabilities[part : part + 32], targets[part : part + 32])
    values = {name: float(value) for name, value in metrics.compute().items()}
    precision, recall, f1, _ = precision_recall_fscore_support(targets, guesses, average="macro")
    expected = {"accuracy": accuracy_score(targets, guesses), "precision": precision, "recall": recall, "f1": f1}
    assert values == pytest.approx({f"test/{name}": value for name, value in expected.items()}, abs=1e-6)
    assert (
        confusion_matrix(probabilities, targets) == sklearn_confusion_matrix(targets, guesses, labels=range(5)).tolist()
    )
    by_class = per_class(probabilities, targets, ("a", "b", "c", "d", "e"))
    columns = precision_recall_fscore_support(targets, guesses, average=None, labels=range(5), zero_division=0)
    assert [row["recall"] for row in by_class.values()] == pytest.approx(columns[1].tolist(), abs=1e-6)
    assert [row["images"] for row in by_class.values()] == columns[3].tolist()


def test_people_are_counted_by_themselves() -> None:
    rows = [Row(f"{name}/{i}.png", name, f"g{i}", i) for name in ("ann", "bob") for i in range(3)]
    samples = table("test", Folder(Path()), rows)
    probabilities = torch.eye(3)[[0, 1, 2, 0, 0, 0]]
    assert per_subject(probabilities, samples, np.arange(6)) == {
        "ann": {"images": 3, "accuracy": 1.0},
        "bob": {"images": 3, "accuracy": pytest.approx(1 / 3)},
    }


def test_the_backbone_learns_at_its_own_rate(network: GestureNetwork) -> None:
    optimizer = build_optimizer(network, OptimizerConfig("sgd", 0.1, 0.01, momentum=0.8), backbone_factor=0.5)
    others, backbone = optimizer.param_groups
    assert (others["lr"], backbone["lr"]) == (0.1, 0.05)
    assert others["momentum"] == backbone["momentum"] == 0.8
    assert others["weight_decay"] == 0.01
    assert len(others["params"]) + len(backbone["params"]) == len(list(network.parameters()))


def test_adams_betas_are_pytorchs(network: GestureNetwork) -> None:
    optimizer = build_optimizer(network, OptimizerConfig("adam", 1e-4, 0.0), backbone_factor=1.0)
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


@pytest.mark.parametrize("config", [OptimizerConfig("adam", 1e-3, 0.0), OptimizerConfig("adamw", 1e-3, 0.05)])
def test_fused_updates_equal_plain_ones(config: OptimizerConfig) -> None:
    networks = []
    for fused in (True, False):
        torch.manual_seed(0)
        network = GestureNetwork("shufflenet_v2_x0_5", 3)
        optimizer = build_optimizer(network, config, backbone_factor=0.5)
        for group in optimizer.param_groups:
            assert group["fused"]
            group["fused"] = fused
        for _ in range(3):
            for parameter in network.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
        networks.append(network)
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def test_running_means_weigh_batches_by_their_images() -> None:
    means = RunningMeans()
    means.add(torch.tensor([1.0, 0.0]), 3)
    means.add(torch.tensor([5.0, 1.0]), 1)
    assert means.values().tolist() == [2.0, 0.25]


def rates(config: SchedulerConfig, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    made = build_scheduler(optimizer, config, steps)
    assert made is not None
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made["scheduler"].step()
    return found


def test_cosine_falls_to_zero_and_one_cycle_rises_and_falls() -> None:
    cosine = rates(SchedulerConfig("cosine"), 10)
    assert cosine[0] == 0.1
    assert cosine == sorted(cosine, reverse=True)
    assert cosine[-1] < 0.01
    cycle = rates(SchedulerConfig("onecycle", warmup_fraction=0.3), 10)
    assert max(cycle) == pytest.approx(0.1)
    assert cycle.index(max(cycle)) == 2
    assert cycle[-1] < 1e-4


def test_plateau_lowers_the_rate_when_the_loss_stalls() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    made = build_scheduler(optimizer, SchedulerConfig("plateau", factor=0.5, patience=1), 10)
    assert made is not None
    assert made["monitor"] == "val/loss"
    for loss in (1.0, 1.0, 1.0):
        made["scheduler"].step(loss)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_no_scheduler_is_none() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    assert build_scheduler(optimizer, SchedulerConfig("none"), 10) is None
