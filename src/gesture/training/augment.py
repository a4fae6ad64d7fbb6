"""Small random changes of training images, on the device, each image's a pure function of (seed, epoch, sample)."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gesture.config.schema import AugmentConfig
from gesture.model.network import as_floats

DRAWS = 5
"""Random numbers an image needs: angle, scale, two shifts, gamma."""


def augment(images: Tensor, draws: Tensor, config: AugmentConfig) -> Tensor:
    """Turn, scale, shift and brighten or darken each image by its own draws.

    Args:
        images: [B, 1, H, W], uint8.
        draws: [B, DRAWS], uniform in [-1, 1), on the images' device.

    Returns:
        [B, 1, H, W] float32 in [0, 1]; what comes in from outside the image is black, as the scene behind a hand is.
    """
    angle, scale, across, down, gamma = draws.to(images.device).unbind(1)
    changed = as_floats(images)
    if config.rotation or config.scale or config.shift:
        angle = angle * math.radians(config.rotation)
        size = 1 + scale * config.scale
        shifts = torch.stack((across, down), dim=1) * 2 * config.shift  # the grid's width is 2
        grid = F.affine_grid(_matrices(angle, size, shifts, images.shape), list(images.shape), align_corners=False)
        changed = F.grid_sample(changed, grid, align_corners=False)
    if config.gamma:
        changed = changed ** torch.exp(gamma * config.gamma).view(-1, 1, 1, 1)
    return changed


def _matrices(angle: Tensor, size: Tensor, shifts: Tensor, shape: torch.Size) -> Tensor:
    """[B, 2, 3] maps from places in the result to places in the image; turning keeps shapes in oblong images too."""
    height, width = shape[-2:]
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    first = torch.stack((cos, -sin * height / width, shifts[:, 0]), dim=1)
    second = torch.stack((sin * width / height, cos, shifts[:, 1]), dim=1)
    return torch.stack((first, second), dim=1)


def draw(seed: int, epoch: int, samples: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Uniform numbers in [-1, 1), shape [len(samples), count], the same for (seed, epoch, sample) in any batch."""
    state = _mixed(_mixed(_mixed(np.full(1, seed, np.uint64)) + np.uint64(epoch)) + samples.astype(np.uint64))
    numbers = _mixed(np.add.outer(state, np.arange(count, dtype=np.uint64)))
    return (numbers >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of SplitMix64 (Steele et al., 2014): neighbouring states give unrelated numbers."""
    with np.errstate(over="ignore"):
        z = state + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
