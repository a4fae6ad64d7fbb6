"""What normalises by the training images: their pixels' mean and deviation, and batch normalisation's averages."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gesture.data.decode import Images
from gesture.data.samples import Indices

GRAY_LEVELS = 256
IMAGES_AT_A_TIME = 64
RECENT = 10


def pixel_statistics(images: Images, rows: Indices) -> tuple[float, float]:
    """Mean and standard deviation of the gray values, in [0, 1], of these rows of images [N, height, width].

    Levels are counted, so the figures are exact and no image is ever copied as floats. Where all pixels are alike the
    deviation is 1, since nothing can be divided by theirs.
    """
    counts = torch.zeros(GRAY_LEVELS, dtype=torch.int64)
    for start in range(0, len(rows), IMAGES_AT_A_TIME):
        pixels = torch.from_numpy(images[rows[start : start + IMAGES_AT_A_TIME]]).flatten()
        counts += torch.bincount(pixels, minlength=GRAY_LEVELS)
    levels = torch.linspace(0, 1, GRAY_LEVELS, dtype=torch.float64)
    shares = counts / counts.sum(dtype=torch.float64)
    mean = (shares * levels).sum()
    deviation = (shares * (levels - mean) ** 2).sum().sqrt()
    return float(mean), float(deviation) or 1.0


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """The layers of a network that keep running averages over batches."""
    return [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]


def begin_averages(network: nn.Module) -> None:
    """Let every layer's running averages begin with the next batch it trains on.

    Pretrained ones too: they are of other images, seen through another stem. A frozen layer uses them as they are.
    """
    for layer in batch_norms(network):
        batches_seen(layer).zero_()


def batches_seen(layer: _BatchNorm) -> Tensor:
    """How many batches are in the running averages of a layer, as its state has it."""
    assert layer.num_batches_tracked is not None
    return layer.num_batches_tracked


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the images of all processes, on whatever device."""

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(values)
        floats, each = values.float(), (0, 2, 3)
        count = _of_all(torch.tensor(floats.numel() / self.num_features, device=values.device))
        mean = _of_all(floats.sum(each)) / count
        centred = floats - mean.view(1, -1, 1, 1)
        variance = _of_all((centred**2).sum(each)) / count
        self._average(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        normalised: Tensor = centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return normalised.to(values.dtype)

    @torch.no_grad()
    def _average(self, mean: Tensor, variance: Tensor) -> None:
        """Take a batch into the running averages, as PyTorch does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        batches_seen(self).add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


class _SumOfAll(torch.autograd.Function):
    """The sum over processes, through which gradients go back to all of them."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _summed(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(value: Tensor) -> Tensor:
    value = value.clone()
    torch.distributed.all_reduce(value)
    return value


def _of_all(value: Tensor) -> Tensor:
    summed: Tensor = _SumOfAll.apply(value)
    return summed


def synchronise(network: nn.Module, device: str) -> None:
    """Let batch normalisation be over the images of all processes; PyTorch's own way is for GPUs only."""
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.BatchNorm2d):
                kind = nn.SyncBatchNorm if device == "cuda" else SyncedBatchNorm
                synced = kind(layer.num_features, layer.eps, layer.momentum)
                synced.load_state_dict(layer.state_dict())
                setattr(parent, name, synced)


class AveragesWarmUp:
    """Keeps running averages those of the last batches while there have been few.

    PyTorch mixes a share `momentum` of each batch into averages that start at mean 0 and variance 1. After t steps
    (1 - momentum)^t of them still is that start, and the rest may be of weights long gone: a momentum of 0.01 looks
    back a hundred steps, which are four epochs of a small data set. Here the batch after n others has the share
    RECENT / (n + RECENT) if that is more: the first batch replaces the start, and the averages are of about the last
    tenth of all batches. n is the layer's own `num_batches_tracked`, which travels in checkpoints and does not count
    while the layer is frozen.
    """

    def __init__(self, layers: list[_BatchNorm]) -> None:
        self.momenta = {layer: layer.momentum for layer in layers if layer.momentum is not None}
        self.is_running = False
        """Whether the batch prepared last meets other momenta than the layers' own."""

    def prepare_batch(self) -> None:
        """Set the momenta for the training batch that comes next."""
        layers = [layer for layer in self.momenta if layer.training]
        self.is_running = False
        if layers:
            counts = torch.stack([batches_seen(layer) for layer in layers]).tolist()  # waits for the device once
            for layer, count in zip(layers, counts, strict=True):
                self._prepare(layer, count)

    def _prepare(self, layer: _BatchNorm, count: int) -> None:
        own = self.momenta[layer]
        share = RECENT / (count + RECENT)
        layer.momentum = max(own, share)
        if share > own:
            self.is_running = True
        else:
            del self.momenta[layer]
