"""The network, its weights and its optimizers."""

import pytest
import torch
import torchvision
from torch import nn

from gesture.config.compose import config_dir
from gesture.config.schema import SGD, OneCycle, OptimizerConfig, Plateau, SchedulerConfig
from gesture.model.network import GestureNetwork
from gesture.training.metrics import RunningMeans
from gesture.training.optimizers import build_optimizer, build_scheduler

GROUP_FILES = sorted(path.stem for path in (config_dir() / "backbone").glob("*.yaml"))


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


def test_the_backbone_learns_at_its_own_rate(network: GestureNetwork) -> None:
    optimizer = build_optimizer(network, SGD("sgd", 0.1, 0.01, momentum=0.8), backbone_factor=0.5)
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
    cycle = rates(OneCycle("onecycle", warmup_fraction=0.3), 10)
    assert max(cycle) == pytest.approx(0.1)
    assert cycle.index(max(cycle)) == 2
    assert cycle[-1] < 1e-4


def test_plateau_lowers_the_rate_when_the_loss_stalls() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    made = build_scheduler(optimizer, Plateau("plateau", "val/loss", factor=0.5, patience=1), 10)
    assert made is not None
    assert made["monitor"] == "val/loss"
    for loss in (1.0, 1.0, 1.0):
        made["scheduler"].step(loss)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def test_no_scheduler_is_none() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    assert build_scheduler(optimizer, SchedulerConfig("none"), 10) is None
