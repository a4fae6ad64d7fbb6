"""What cannot be trained is refused before anything is computed; what can be, is not."""

from pathlib import Path

import pytest
import torch

from conftest import Configured, call
from gesture import train
from gesture.config.refusals import ConfigError
from gesture.model.network import GestureNetwork
from gesture.training import feasibility

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "words",
    [
        ["data.batch_size=1", "data.image_size=[32,32]"],
        ["data.batch_size=1", "data.image_size=[32,32]", "backbone=resnet18"],
        ["data.batch_size=1", "data.image_size=[64,64]", "trainer.half_size_fraction=0.5", "backbone=resnet18"],
    ],
)
def test_batches_of_one_that_leave_nothing_to_normalise_by_are_refused_before_data_are_prepared(
    words: list[str], tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [word for word in tiny if not (word.startswith("backbone") and "backbone=resnet18" in words)]
    run = tmp_path / "run"
    assert call(train.main, *own, *words, f"data.root={tmp_path / 'absent'}", f"hydra.run.dir={run}") == 2
    assert "give data.batch_size=2 or more" in capsys.readouterr().err
    assert not run.exists()


def test_batches_of_one_are_trained_where_maps_stay_larger(tiny: list[str], tmp_path: Path) -> None:
    words = ["data.batch_size=1", "data.image_size=[64,64]", "trainer.limit_train_batches=2"]
    assert call(train.main, *tiny, *words, f"hydra.run.dir={tmp_path / 'run'}") == 0


def test_images_that_no_memory_holds_are_refused_before_they_are_decoded(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data.image_size=[32000,80000]", f"data.root={tmp_path / 'absent'}", "backbone.name=resnet18"]
    assert call(train.main, *tiny, *words, f"hydra.run.dir={tmp_path / 'run'}") == 2
    error = capsys.readouterr().err
    assert "training on 16 images of [32000,80000] pixels at a time takes" in error
    assert "GB or more and there are" in error
    words = ["data.image_size=[64000,800000]", "data.batch_size=1", f"data.root={tmp_path / 'absent'}"]
    assert call(train.main, *tiny, *words, "backbone.name=resnet18", f"hydra.run.dir={tmp_path / 'run'}") == 2
    assert "training on 1 image of [64000,800000] pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "accelerator", "sentence"),
    [
        (["trainer.strategy=fsdp"], "cpu", "shards a network over GPUs, not on cpu"),
        (["trainer.devices=2"], "mps", "trainer.devices=2: this machine has 1 of mps"),
        (["trainer.devices=3"], "cuda", "trainer.devices=3: this machine has 2 of cuda"),
    ],
)
def test_devices_that_are_not_there_are_refused_before_data_are_prepared(
    words: list[str],
    accelerator: str,
    sentence: str,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(feasibility, "choose", lambda name: accelerator)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    absent = f"data.root={tmp_path / 'absent'}"
    assert call(train.main, *tiny, *words, absent, f"hydra.run.dir={tmp_path / 'run'}") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_machine_too_small_for_a_batch_refuses_it(configured: Configured, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured("data.image_size=[224,224]", "backbone.name=resnet18")
    network = GestureNetwork("resnet18", 10)
    feasibility.check_training(network, config, 100, CPU)
    monkeypatch.setattr(feasibility, "memory", lambda device: 10**8)
    with pytest.raises(ConfigError, match=r"takes [0-9.]+ [GM]B or more and there are 100 MB"):
        feasibility.check_training(network, config, 100, CPU)


@pytest.mark.parametrize("backbone", ["resnet18", "densenet121", "swin_t", "squeezenet1_0"])
def test_a_rehearsal_changes_nothing_and_counts_what_a_real_step_keeps(backbone: str) -> None:
    network = GestureNetwork(backbone, 10).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    counted = feasibility.step_bytes(network, 2, 96, 96)
    assert not network.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())

    kept: dict[int, torch.Tensor] = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.setdefault(tensor.untyped_storage().data_ptr(), tensor), lambda tensor: tensor
    ):
        loss = network.train()(torch.zeros(2, 1, 96, 96, dtype=torch.uint8)).sum()
    own = {value.untyped_storage().data_ptr() for value in [*network.parameters(), *network.buffers()]}
    real = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)
    assert loss.requires_grad
    assert counted == pytest.approx(real, rel=0.1)
