"""Which accelerator a run uses, and how."""

import ctypes
import dataclasses
import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from gesture.config.refusals import ConfigError
from gesture.config.schema import AcceleratorConfig, AutoAccelerator
from gesture.data.files import counted

log = logging.getLogger(__name__)

PREFERENCE = ("cuda", "mps", "cpu")
FULL_PRECISION = "32-true"
LOW_PRECISIONS = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
BF16_IN_HARDWARE = ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16")
"""What torch calls the instructions of x86 and ARM that multiply bf16. Without them it is slower than float32."""

MATRIX_UNITS = ("amx_bf16", "avx10_2")

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
    def device(self) -> torch.device:
        return torch.device(self.name)

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> torch.autocast:
        """A context in which a network computes in the precision."""
        low = LOW_PRECISIONS.get(self.precision)
        return torch.autocast(self.device.type, low, enabled=low is not None)

    def describe(self) -> dict[str, Any]:
        """The `device` entry of result.json."""
        model = torch.cuda.get_device_name() if self.name == "cuda" else _cpu_model()
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


def resolve(config: AutoAccelerator | AcceleratorConfig, precision: str) -> Hardware:
    """The accelerator with every setting left open filled in from the settings of the one that is present."""
    name = choose(config.name)
    own = getattr(config, name) if isinstance(config, AutoAccelerator) else config
    asked = [each for each in (precision, config.precision, own.precision) if each != "auto"]
    precision = asked[0] if asked else best_precision(name)
    settings = {setting: getattr(config, setting) for setting in ("channels_last", "compile", "graphs")}
    chosen = {setting: getattr(own, setting) if value is None else value for setting, value in settings.items()}
    # A recorded step cannot scale the loss, as 16-mixed must, and only CUDA records.
    chosen["graphs"] &= name == "cuda" and precision != "16-mixed"
    return Hardware(name, precision, **chosen)


def for_use(
    recorded: Mapping[str, Any], accelerator: str, precision: str = "auto", channels_last: bool | None = None
) -> Hardware:
    """The accelerator that a finished run is used on, computing as the run did where it can and nothing else is asked.

    Args:
        recorded: what the run used, as a checkpoint's `hardware` or result.json's `device` says it; may be empty.
        accelerator: a name, or auto.
        precision: one that is asked for; auto: the run's.
        channels_last: likewise; None: as the run.

    Raises:
        ConfigError: it is absent.
    """
    name = choose(accelerator)
    if precision == "auto":
        precision = recorded.get("precision", FULL_PRECISION)
        if not computes_in(name, precision):
            log.warning("this %s does not compute in %s as the run did: its figures differ a little", name, precision)
            precision = FULL_PRECISION
    if channels_last is None:
        channels_last = bool(recorded.get("channels_last", False)) and name != "mps"
    return Hardware(name, precision, channels_last, compile=False, graphs=False)


def best_precision(name: str) -> str:
    """What precision=auto means on an accelerator: the same on every start, however busy the machine is."""
    gains = computes_in(name, "bf16-mixed") and (name != "cpu" or _gains_by_bf16())
    return "bf16-mixed" if gains else FULL_PRECISION


def keep_freed_memory() -> None:
    """Let this process use the memory of one step again in the next.

    glibc returns every large tensor to the system at once and has all its pages cleared when the next one asks for
    them, which costs passes over large activations several times what their arithmetic does.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)


def computes_in(name: str, precision: str) -> bool:
    """Whether an accelerator has a precision; MPS has low ones, but not dependably, and slow ones do not count."""
    if precision == FULL_PRECISION:
        return True
    if name == "cuda":
        return precision == "16-mixed" or torch.cuda.is_bf16_supported()
    return name == "cpu" and precision == "bf16-mixed" and _multiplies_bf16()


def _multiplies_bf16() -> bool:
    """Whether this processor multiplies bf16 in hardware and torch has the kernels for it."""
    able = torch.cpu.get_capabilities()
    has_kernels: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_kernels and any(able.get(name) for name in BF16_IN_HARDWARE)


def _gains_by_bf16() -> bool:
    """Whether this processor trains faster in bf16 than in float32.

    Intel's, whose AVX-512 multiplies bf16 too, do so only where they have matrix units: without them a ResNet-18 was
    seen to train 1.3 times slower in bf16, on AMD's with the same instructions 2.2 times faster.
    """
    able = torch.cpu.get_capabilities()
    return "Intel" not in str(able.get("cpu_name", "")) or any(able.get(name) for name in MATRIX_UNITS)


def _cpu_model() -> str:
    name = torch.cpu.get_capabilities().get("cpu_name") or platform.machine()
    return f"{name}, {counted(torch.get_num_threads(), 'thread')}"
