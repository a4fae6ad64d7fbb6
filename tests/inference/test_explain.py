"""What a network looked at, and that it depends on what the network has learned."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gesture.config.refusals import ConfigError
from gesture.inference.explain import explainer, last_feature_maps, looked_at
from gesture.model.network import GestureNetwork

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 96), dtype=np.uint8)


def network(backbone: str = "resnet18") -> GestureNetwork:
    torch.manual_seed(0)
    return GestureNetwork(backbone, 5)


@pytest.fixture(autouse=True)
def has_captum() -> None:
    pytest.importorskip("captum")


@pytest.mark.parametrize(
    "backbone", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "densenet121", "efficientnet_b0", "vgg11"]
)
def test_each_image_goes_from_its_least_to_its_most(backbone: str) -> None:
    found = looked_at(network(backbone), IMAGES, [0, 1, 2])
    assert found.shape == IMAGES.shape
    assert found.min() >= 0
    assert set(found.max(axis=(1, 2)).round(5)) <= {0.0, 1.0}


def test_the_map_changes_when_the_head_is_randomised() -> None:
    """The sanity check of Adebayo et al. (2018): a map that does not is one of the image, not of the network."""
    trained = network()
    before = looked_at(trained, IMAGES, [0, 0, 0])
    assert (looked_at(trained, IMAGES, [0, 0, 0]) == before).all()
    torch.manual_seed(1)
    for layer in trained.head:
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    after = looked_at(trained, IMAGES, [0, 0, 0])
    assert np.abs(after - before).mean() > 0.05


def test_the_map_is_of_the_gesture_that_is_asked_for() -> None:
    one, other = (looked_at(network(), IMAGES[:1], [gesture]) for gesture in (0, 1))
    assert np.abs(one - other).mean() > 0.01


def test_what_alone_speaks_for_a_gesture_is_where_it_is() -> None:
    """Feature maps that pass brightness on, and a head that likes it: the bright corner is what was looked at."""

    class Passing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.maps = torch.nn.AvgPool2d(4), torch.nn.AvgPool2d(4)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            seen: torch.Tensor = self.maps(self.first(pixels)).mean(dim=(1, 2, 3))
            return seen[:, None].expand(-1, 1000)

    seeing = network()
    seeing.stem, seeing.backbone = torch.nn.Identity(), Passing()  # type: ignore[assignment]
    seeing.head = torch.nn.Sequential(torch.nn.Linear(1000, 1))
    torch.nn.init.ones_(seeing.head[0].weight)  # type: ignore[arg-type]
    image = np.zeros((1, 64, 64), dtype=np.uint8)
    image[0, :16, 48:] = 255
    found = looked_at(seeing, image, [0])[0]
    assert found[:16, 48:].mean() > 0.7  # its border is blurred where the coarse map is stretched
    assert found[32:, :32].max() == 0


@pytest.mark.parametrize(("size", "layer"), [((224, 224), "layer4"), ((64, 96), "layer3"), ((32, 64), "layer2")])
def test_the_layer_is_the_last_one_whose_maps_show_where_something_is(size: tuple[int, int], layer: str) -> None:
    resnet = network()
    assert last_feature_maps(resnet, torch.zeros(1, 1, *size)) is getattr(resnet.backbone, layer)


def test_a_backbone_without_maps_at_its_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a convolutional backbone"):
        looked_at(network("vit_b_16"), np.zeros((1, 224, 224), dtype=np.uint8), [0])


def test_without_captum_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ConfigError, match=r"needs the extra 'explain': pip install 'captum==0.9.0'"):
        explainer()


def test_it_takes_a_checkpoint(run_dir: Path) -> None:
    images = IMAGES[:, :32, :64]
    found = explainer()(run_dir / "checkpoints" / "best.ckpt", images, [0, 1, 2])
    assert found.shape == images.shape
