"""Stem, backbone and head: from gray images to one logit per gesture."""

from typing import Any

import torchvision
from torch import Tensor, nn

from gesture.data.augment import as_floats

# These two return several outputs unless told not to, and warn unless told how to begin.
SINGLE_OUTPUT: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
BACKBONE_OUTPUTS = 1000


class GestureNetwork(nn.Module):
    """A torchvision classification network between a stem for gray images and a head for gestures.

    Args:
        backbone: a name torchvision knows; its 1000 outputs go into the head.
        classes: number of gestures C.
    """

    def __init__(self, backbone: str, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 3, kernel_size=3, padding=1),
            nn.Conv2d(3, 3, kernel_size=3, padding=1),
            nn.ReLU(),
        )
        self.backbone = torchvision.models.get_model(backbone, weights=None, **SINGLE_OUTPUT.get(backbone, {}))
        self.head = nn.Sequential(
            nn.Linear(BACKBONE_OUTPUTS, 500), nn.ReLU(), nn.Linear(500, 100), nn.ReLU(), nn.Linear(100, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of images [B, 1, H, W], uint8 or float in [0, 1]."""
        logits: Tensor = self.head(self.backbone(self.stem(as_floats(images))))
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Probabilities [B, C] of images as for `forward`."""
        logits: Tensor = self(images)
        return logits.float().softmax(dim=1)
