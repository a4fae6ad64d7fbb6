"""Stem, backbone and head: from gray images to one logit per gesture."""

from typing import Any

import torch
import torchvision
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

# These two return several outputs unless told not to, and warn unless told how to begin.
SINGLE_OUTPUT: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
BACKBONE_OUTPUTS = 1000

Images = UInt8[Tensor, "batch 1 height width"] | Float32[Tensor, "batch 1 height width"]
Logits = Float[Tensor, "batch classes"]
UNNORMALISED = {"pixel_mean": 0.0, "pixel_deviation": 1.0}


class GestureNetwork(nn.Module):
    """A torchvision classification network between a stem for gray images and a head for gestures.

    Its pixels are as they come, in [0, 1], until `normalise_pixels` says by what they are normalised.

    Args:
        backbone: a name torchvision knows; its 1000 outputs go into the head.
        classes: number of gestures C.
    """

    pixel_mean: Tensor
    pixel_deviation: Tensor

    def __init__(self, backbone: str, classes: int) -> None:
        super().__init__()
        for name, value in UNNORMALISED.items():
            self.register_buffer(name, torch.tensor(value))
        self.register_load_state_dict_pre_hook(_fill_unnormalised)  # type: ignore[no-untyped-call]
        self.stem = nn.Sequential(
            nn.Conv2d(1, 3, kernel_size=3, padding=1),
            nn.Conv2d(3, 3, kernel_size=3, padding=1),
            nn.ReLU(),
        )
        self.backbone = torchvision.models.get_model(backbone, weights=None, **SINGLE_OUTPUT.get(backbone, {}))
        self.head = nn.Sequential(
            nn.Linear(BACKBONE_OUTPUTS, 500), nn.ReLU(), nn.Linear(500, 100), nn.ReLU(), nn.Linear(100, classes)
        )

    def forward(self, images: Images) -> Logits:
        """Logits [B, C] of images [B, 1, H, W], uint8 or float in [0, 1]."""
        pixels = (as_floats(images) - self.pixel_mean) / self.pixel_deviation
        logits: Tensor = self.head(self.backbone(self.stem(pixels)))
        return logits

    def normalise_pixels(self, mean: float, deviation: float) -> None:
        """Subtract this mean from pixels in [0, 1] and divide by this deviation, here and wherever the state goes."""
        self.pixel_mean.fill_(mean)
        self.pixel_deviation.fill_(deviation)

    def probabilities(self, images: Images) -> Logits:
        """Probabilities [B, C] of images as for `forward`."""
        logits: Tensor = self(images)
        return logits.float().softmax(dim=1)


def _fill_unnormalised(network: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Networks were saved without these before pixels were normalised."""
    for name, value in UNNORMALISED.items():
        state.setdefault(prefix + name, torch.tensor(value))


def as_floats(images: Images) -> Float32[Tensor, "batch 1 height width"]:
    """Images as float32 in [0, 1], exactly as torchvision's ToTensor makes them of uint8; floats stay as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images
