"""Which accelerator a run uses, and how."""

import ctypes
import dataclasses
import platform
import time
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from gesture.config import AcceleratorConfig, ConfigError, config_dir

PREFERENCE = ("cuda", "mps", "cpu")
FASTER = 1.2
"""bf16 must be this much faster on a CPU to be worth its coarser numbers."""
TURNS = 8

# Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST_INT = 2**31 - 1


@dataclass(frozen=True)
class Hardware:
    """An accelerator that is present, and the settings that suit it."""

    name: str
    precision: str
    channels_last: bool
    compile: bool
    graphs: bool

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def describe(self) -> dict[str, Any]:
        """The `device` entry of result.json."""
        model = torch.cuda.get_device_name() if self.name == "cuda" else f"{torch.get_num_threads()} threads"
        return {"accelerator": self.name, "model": model, **dataclasses.asdict(self)}


def present() -> tuple[str, ...]:
    """The accelerators of this machine, best first."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return tuple(name for name in PREFERENCE if found[name])


def choose(name: str) -> str:
    """`name` itself, or the best present one for auto.

    Raises:
        ConfigError: it is absent.
    """
    if name == "auto":
        return present()[0]
    if name not in present():
        raise ConfigError(
            f"accelerator={name} is not present on this machine: choose {' or '.join(present())}, or auto."
        )
    return name


def resolve(config: AcceleratorConfig, precision: str) -> Hardware:
    """The accelerator with every setting left open filled in from its group's file, or by measurement."""
    name = choose(config.name)
    group = DictConfig(OmegaConf.load(config_dir() / "accelerator" / f"{name}.yaml"))
    if precision == "auto":
        precision = group["precision"]
    if precision == "auto":
        precision = "bf16-mixed" if bf16_speedup() > FASTER else "32-true"
    asked = {setting: getattr(config, setting) for setting in ("channels_last", "compile", "graphs")}
    chosen = {setting: group[setting] if value is None else value for setting, value in asked.items()}
    # A recorded step cannot scale the loss, as 16-mixed must, and only CUDA records.
    chosen["graphs"] &= name == "cuda" and precision != "16-mixed"
    return Hardware(name, precision, **chosen)


def keep_freed_memory() -> None:
    """Let this process use the memory of one step again in the next.

    glibc returns every large tensor to the system at once and has all its pages cleared when the next one asks for
    them, which costs passes over large activations several times what their arithmetic does.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)


def bf16_speedup() -> float:
    """How many times faster this CPU trains a convolution in bf16 than in float32 (below 1 without AVX-512).

    The quickest of several turns each: other programs on the machine only ever slow one down.
    """
    layer = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    images = torch.randn(8, 64, 40, 40).contiguous(memory_format=torch.channels_last)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for enabled in [False, True] * TURNS:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            layer(images).float().sum().backward()
        seconds[enabled].append(time.perf_counter() - started)
    return min(seconds[False]) / min(seconds[True])
