"""Weights to begin with: by torchvision's name, from a file, from a run of one's own; others are refused."""

import hashlib
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision

from conftest import SHARED, call, needs_shared
from gesture import train
from gesture.config.compose import compose
from gesture.config.refusals import ConfigError
from gesture.config.schema import BackboneConfig
from gesture.model import checkpoint
from gesture.model.hardware import Hardware
from gesture.model.network import GestureNetwork
from gesture.model.weights import load_weights


def chosen(name: str, weights: str) -> BackboneConfig:
    return BackboneConfig(name, weights, freeze_epochs=0, lr_factor=1.0)


def test_weights_come_from_a_file_and_may_lack_the_last_layer(tmp_path: Path) -> None:
    source, network = torchvision.models.resnet18(weights=None), GestureNetwork("resnet18", 3)
    state = {key: value for key, value in source.state_dict().items() if not key.startswith("fc.")}
    torch.save({"state_dict": state}, tmp_path / "backbone.pth")
    fc = network.get_parameter("backbone.fc.weight").clone()
    load_weights(network, chosen("resnet18", str(tmp_path / "backbone.pth")))
    assert torch.equal(network.get_parameter("backbone.conv1.weight"), source.conv1.weight)
    assert torch.equal(network.get_parameter("backbone.fc.weight"), fc)


@needs_shared
def test_the_real_weight_files_fit_their_networks() -> None:
    files = {"mobilenet_v2": "mobilenet_v2-b0353104.pth", "resnet18": "resnet18-imagenet-backbone.pth"}
    for name, file in files.items():
        network = GestureNetwork(name, 3)
        load_weights(network, chosen(name, str(SHARED / "weights" / file)))
        state = torch.load(SHARED / "weights" / file, weights_only=True)
        own = network.backbone.state_dict()
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
        ("unknown_name", "is unknown for resnet18: did you mean IMAGENET1K_V1?"),
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
        load_weights(GestureNetwork("resnet18", 3), chosen("resnet18", _weights(kind, tmp_path)))
    assert words in str(refusal.value)
    assert "executed" not in capsys.readouterr().out


def test_torchvisions_weights_are_used_or_missing_ones_explained_with_a_stand_in_for_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, network = torchvision.models.resnet18(weights=None), GestureNetwork("resnet18", 3)
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", lambda *_, **__: source.state_dict())
    load_weights(network, chosen("resnet18", "IMAGENET1K_V1"))
    assert torch.equal(network.get_parameter("backbone.fc.weight"), source.fc.weight)

    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    with pytest.raises(ConfigError, match=r"could not be downloaded .*: give a local .pth file instead"):
        load_weights(network, chosen("resnet18", "DEFAULT"))


def test_a_file_whose_name_holds_its_hash_is_checked_against_it(tmp_path: Path) -> None:
    resnet = torchvision.models.resnet18(weights=None)
    torch.save(resnet.state_dict(), tmp_path / "resnet18.pth")
    digest = hashlib.sha256((tmp_path / "resnet18.pth").read_bytes()).hexdigest()[:8]
    path = (tmp_path / "resnet18.pth").rename(tmp_path / f"resnet18-{digest}.pth")
    load_weights(GestureNetwork("resnet18", 3), chosen("resnet18", str(path)))


def checkpoint_of(network: GestureNetwork, backbone: str, path: Path) -> Path:
    """What a run of this network leaves."""
    config = compose("train", ["data=synthetic", f"backbone.name={backbone}"])
    names = [f"gesture {i}" for i in range(network.head[-1].out_features)]  # type: ignore[arg-type]
    hardware = Hardware("cpu", "32-true", channels_last=False, compile=False, graphs=False)
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    checkpoint.write({"state_dict": state, "gesture": checkpoint.describe(config, names, hardware)}, path)
    return path


def test_a_runs_checkpoint_gives_stem_backbone_and_what_normalises_but_not_the_head(tmp_path: Path) -> None:
    source, network = GestureNetwork("resnet18", 10), GestureNetwork("resnet18", 3)
    for buffer in source.buffers(recurse=False):
        buffer.fill_(0.25)
    head = {key: value.clone() for key, value in network.head.state_dict().items()}
    load_weights(network, chosen("resnet18", str(checkpoint_of(source, "resnet18", tmp_path / "best.ckpt"))))
    loaded = network.state_dict()
    for key, value in source.state_dict().items():
        if not key.startswith("head."):
            assert torch.equal(loaded[key], value), key
    assert all(torch.equal(network.head.state_dict()[key], value) for key, value in head.items())


def test_a_run_of_another_backbone_is_named(tmp_path: Path) -> None:
    path = checkpoint_of(GestureNetwork("resnet34", 3), "resnet34", tmp_path / "best.ckpt")
    with pytest.raises(ConfigError, match=r"is of a run of backbone.name=resnet34, and this is resnet18"):
        load_weights(GestureNetwork("resnet18", 3), chosen("resnet18", str(path)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"state_dict": {"model.conv1.weight": torch.ones(2)}, "epoch": 3}, "does not fit backbone resnet18"),
        ({"model": {"conv1.weight": torch.ones(2)}, "args": "x"}, "holds no state dict of tensors"),
        ({"gesture": {"format": 99}, "state_dict": {}}, "is of a later version of gesture"),
        ({"gesture": {"format": 2}, "state_dict": {}}, "is damaged, it lacks class_names"),
    ],
)
def test_checkpoints_of_other_programs_and_damaged_ones_of_ours_are_refused(
    content: Any, words: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match=words) as refusal:
        load_weights(GestureNetwork("resnet18", 3), chosen("resnet18", str(tmp_path / "other.ckpt")))
    assert "\n" not in str(refusal.value)


def test_a_run_goes_on_from_another_runs_checkpoint(run_dir: Path, tiny: list[str], tmp_path: Path) -> None:
    weights = run_dir / "checkpoints" / "best.ckpt"
    words = [f"backbone.weights={weights}", "optimizer.lr=1e-30", f"hydra.run.dir={tmp_path / 'run'}"]
    assert call(train.main, *tiny, *words) == 0
    before, after = (checkpoint.read(path)["state_dict"] for path in (weights, tmp_path / "run/checkpoints/best.ckpt"))
    for key in ("network.stem.0.weight", "network.backbone.fc.weight"):
        assert torch.equal(before[key], after[key])
    assert not torch.equal(before["network.head.0.weight"], after["network.head.0.weight"])
