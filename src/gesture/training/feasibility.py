"""Whether a network can be trained on batches of a size at all, before anything is computed.

A step is rehearsed on PyTorch's meta device, which knows the shapes of everything and computes nothing.
"""

import os
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from gesture.config.refusals import ConfigError
from gesture.config.schema import TrainConfig
from gesture.data.files import counted, in_words
from gesture.model.hardware import choose
from gesture.model.network import GestureNetwork

COPIES_OF_WEIGHTS = 4
"""Weights, their gradients, and two moments."""
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def check_training(network: nn.Module, config: TrainConfig, images: int, device: torch.device) -> None:
    """See that a network can be trained on `images` images in the batches of a configuration.

    Raises:
        ConfigError: the backbone shrinks the images to nothing, batch normalisation would meet a single value for each
            channel, or the machine has not the memory.
    """
    for height, width in _sizes(config):
        _check_size(network, config, height, width)
        smallest = min(config.data.batch_size, images)  # a last batch of one is left out
        if smallest == 1:
            _check_single(network, config, height, width)
    _check_memory(network, config, device)


def check_early(config: TrainConfig) -> None:
    """The same before there are images, of which there may well be enough.

    Raises:
        ConfigError: as for `check_training`, or the accelerator is absent or cannot be used so.
    """
    device = torch.device(choose(config.accelerator.name))
    _check_devices(config, device.type)
    with torch.device("meta"):
        network = GestureNetwork(config.backbone.name, 2)
    check_training(network, config, config.data.batch_size, device)


def _check_devices(config: TrainConfig, accelerator: str) -> None:
    """Lightning refuses these too, with a traceback, once the data are prepared."""
    devices, strategy = config.trainer.devices, config.trainer.strategy
    if strategy == "fsdp" and accelerator != "cuda":
        raise ConfigError(f"trainer.strategy=fsdp shards a network over GPUs, not on {accelerator}: give ddp.")
    present = {"cuda": torch.cuda.device_count(), "mps": 1}.get(accelerator)
    if present is not None and devices != "auto" and int(devices) > present:
        raise ConfigError(f"trainer.devices={devices}: this machine has {present} of {accelerator}; give no more.")


def _sizes(config: TrainConfig) -> list[tuple[int, int]]:
    height, width = config.data.image_size
    return [(height, width)] + [(height // 2, width // 2)] * (config.trainer.half_size_fraction > 0)


def _check_size(network: nn.Module, config: TrainConfig, height: int, width: int) -> None:
    """Some backbones shrink small images to nothing, and say so in words of their own."""
    try:
        step_bytes(network, 2, height, width)
    except (RuntimeError, AssertionError, ValueError) as error:
        other = " or trainer.half_size_fraction=0" if config.trainer.half_size_fraction else ""
        raise ConfigError(
            f"backbone {config.backbone.name} cannot take images of [{height},{width}] pixels ({error}): give a larger "
            f"data.image_size{other}."
        ) from error


def _check_single(network: nn.Module, config: TrainConfig, height: int, width: int) -> None:
    try:
        step_bytes(network, 1, height, width)
    except ValueError as error:
        raise ConfigError(
            f"a batch of one image has nothing to normalise by where backbone {config.backbone.name} has shrunk "
            f"[{height},{width}] pixels to one: give data.batch_size=2 or more, and two images or more to train on."
        ) from error


def _check_memory(network: nn.Module, config: TrainConfig, device: torch.device) -> None:
    height, width = config.data.image_size
    size = config.data.batch_size
    weights = sum(parameter.nbytes for parameter in network.parameters())
    needed = COPIES_OF_WEIGHTS * weights + step_bytes(network, size, height, width) // 2  # in half precision, at least
    there = memory(device)
    if there is not None and needed > there:
        raise ConfigError(
            f"training on {counted(size, 'image')} of [{height},{width}] pixels at a time takes {in_words(needed)} or "
            f"more and there are {in_words(there)}: give a smaller data.image_size or data.batch_size."
        )


def step_bytes(network: nn.Module, batch_size: int, height: int, width: int) -> int:
    """What a training step in float32 keeps for its backward pass, without the weights."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    elsewhere = {name: value.detach().to("meta").requires_grad_(value.requires_grad) for name, value in state.items()}
    images = torch.zeros(batch_size, 1, height, width, dtype=torch.uint8, device="meta")
    was_training = network.training
    with torch.random.fork_rng(devices=[]), saved_tensors_hooks(keep, lambda tensor: tensor):
        torch.func.functional_call(network.train(), elsewhere, (images,)).sum()
    network.train(was_training)
    own = {value.untyped_storage()._cdata for value in elsewhere.values()}
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


def memory(device: torch.device) -> int | None:
    """The bytes a device has in all, or None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    limits = []
    with suppress(OSError, ValueError, AttributeError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with suppress(OSError, ValueError):  # "max" where a container is not limited
        limits.append(int(CGROUP_LIMIT.read_text(encoding="utf-8")))
    return min(limits, default=None)
