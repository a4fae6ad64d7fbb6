"""The accelerator: the best one present, absent ones refused, settings from its group's file or measured."""

import platform
import subprocess
import sys

import pytest
import torch

from gesture.config import AcceleratorConfig, ConfigError
from gesture.training import hardware


def pretend(monkeypatch: pytest.MonkeyPatch, *present: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in present)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in present)


@pytest.mark.parametrize(
    ("present", "best"), [(("cuda", "mps"), "cuda"), (("cuda",), "cuda"), (("mps",), "mps"), ((), "cpu")]
)
def test_auto_takes_cuda_then_mps_then_cpu(
    present: tuple[str, ...], best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, *present)
    assert hardware.choose("auto") == best


def test_an_absent_accelerator_is_refused_naming_what_is_present(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "mps")
    with pytest.raises(
        ConfigError, match="accelerator=cuda is not present on this machine: choose mps or cpu, or auto"
    ):
        hardware.choose("cuda")


def test_auto_takes_the_settings_of_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "cuda")
    found = hardware.resolve(AcceleratorConfig("auto", "auto"), "auto")
    assert (found.name, found.precision, found.channels_last, found.compile) == ("cuda", "bf16-mixed", True, False)
    pretend(monkeypatch, "mps")
    assert hardware.resolve(AcceleratorConfig("auto", "auto"), "auto").precision == "32-true"


def test_what_is_asked_for_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "cuda")
    asked = AcceleratorConfig("cuda", "bf16-mixed", channels_last=False, compile=True)
    found = hardware.resolve(asked, "32-true")
    assert (found.precision, found.channels_last, found.compile) == ("32-true", False, True)


@pytest.mark.parametrize(("speedup", "precision"), [(2.0, "bf16-mixed"), (1.05, "32-true"), (0.3, "32-true")])
def test_bf16_on_a_cpu_is_taken_only_where_it_is_measured_faster(
    speedup: float, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch)
    monkeypatch.setattr(hardware, "bf16_speedup", lambda: speedup)
    assert hardware.resolve(AcceleratorConfig("cpu", "auto"), "auto").precision == precision


@pytest.mark.parametrize(
    ("present", "precision", "graphs"),
    [("cuda", "auto", True), ("cuda", "32-true", True), ("cuda", "16-mixed", False), ("mps", "auto", False)],
)
def test_graphs_are_for_cuda_without_scaled_losses(
    present: str, precision: str, graphs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, present)
    assert hardware.resolve(AcceleratorConfig("auto", "auto"), precision).graphs is graphs


def test_the_measurement_gives_a_ratio() -> None:
    assert 0.01 < hardware.bf16_speedup() < 100


PAGE_FAULTS = """
import resource, torch
from gesture.training.hardware import keep_freed_memory
if {keeps}:
    keep_freed_memory()
torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(2**24)  # 64 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc's allocator")
def test_freed_memory_is_used_again_without_a_detour_through_the_system() -> None:
    def faults(keeps: bool) -> int:
        command = [sys.executable, "-c", PAGE_FAULTS.format(keeps=keeps)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    assert faults(keeps=True) < faults(keeps=False) / 2
