"""The accelerator: the best one present, absent ones refused, settings from its group or what the processor can do."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gesture.config.compose import compose
from gesture.config.refusals import ConfigError
from gesture.config.schema import AcceleratorConfig, AutoAccelerator
from gesture.data.files import counted
from gesture.model import hardware


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


def configured(*words: str) -> AutoAccelerator | AcceleratorConfig:
    accelerator: AutoAccelerator | AcceleratorConfig = compose("train", words).accelerator
    return accelerator


def pretend_processor(monkeypatch: pytest.MonkeyPatch, *abilities: str, maker: str = "AMD") -> None:
    found = {"cpu_name": maker, **dict.fromkeys(abilities, True)}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)


def test_auto_takes_the_settings_of_what_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "cuda")
    found = hardware.resolve(configured("accelerator=auto"), "auto")
    assert (found.name, found.precision, found.channels_last, found.compile) == ("cuda", "bf16-mixed", True, False)
    pretend(monkeypatch, "mps")
    found = hardware.resolve(configured("accelerator=auto"), "auto")
    assert (found.name, found.precision, found.channels_last, found.graphs) == ("mps", "32-true", False, False)


def test_what_is_asked_for_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "cuda")
    words = ["accelerator.precision=bf16-mixed", "accelerator.channels_last=false", "accelerator.compile=true"]
    for accelerator in ("auto", "cuda"):
        asked = configured(f"accelerator={accelerator}", *words)
        found = hardware.resolve(asked, "32-true")
        assert (found.precision, found.channels_last, found.compile) == ("32-true", False, True)
        assert hardware.resolve(asked, "auto").precision == "bf16-mixed"


@pytest.mark.parametrize(
    ("abilities", "precision"),
    [
        (["avx512_f", "avx512_bf16"], "bf16-mixed"),
        (["amx_bf16", "amx_tile"], "bf16-mixed"),
        (["neon", "bf16"], "bf16-mixed"),
        (["avx2", "avx512_f", "avx512_vnni"], "32-true"),
        (["neon"], "32-true"),
    ],
)
def test_a_cpu_trains_in_bf16_where_its_instructions_multiply_it_with_a_stand_in_for_the_processor(
    abilities: list[str], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch)
    pretend_processor(monkeypatch, *abilities)
    for accelerator in ("auto", "cpu"):
        assert hardware.resolve(configured(f"accelerator={accelerator}"), "auto").precision == precision


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/cpuinfo")
def test_what_torch_says_of_this_processor_is_what_linux_says() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    in_hardware = bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))
    assert hardware.computes_in("cpu", "bf16-mixed") is in_hardware


@pytest.mark.parametrize(("abilities", "gains"), [(["avx512_bf16"], False), (["avx512_bf16", "amx_bf16"], True)])
def test_intels_processors_gain_by_bf16_only_with_matrix_units_with_a_stand_in_for_the_processor(
    abilities: list[str], gains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_processor(monkeypatch, *abilities, maker="Intel Xeon")
    assert (hardware.best_precision("cpu") == "bf16-mixed") is gains
    assert hardware.computes_in("cpu", "bf16-mixed")


def test_other_precisions_and_accelerators_have_their_best_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "mps")
    pretend_processor(monkeypatch, "avx512_bf16")
    assert hardware.resolve(configured("accelerator=mps", "accelerator.precision=auto"), "auto").precision == "32-true"


@pytest.mark.parametrize(
    ("present", "precision", "graphs"),
    [("cuda", "auto", True), ("cuda", "32-true", True), ("cuda", "16-mixed", False), ("mps", "auto", False)],
)
def test_graphs_are_for_cuda_without_scaled_losses(
    present: str, precision: str, graphs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, present)
    assert hardware.resolve(configured("accelerator=auto"), precision).graphs is graphs


RECORDED = {"name": "cpu", "precision": "bf16-mixed", "channels_last": True, "compile": True, "graphs": True}


def test_a_run_is_used_as_it_recorded_where_the_machine_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pretend(monkeypatch)
    pretend_processor(monkeypatch, "avx512_bf16")
    found = hardware.for_use(RECORDED, "auto")
    assert found == hardware.Hardware("cpu", "bf16-mixed", channels_last=True, compile=False, graphs=False)
    assert not caplog.text


@pytest.mark.parametrize(
    ("precision", "accelerator"), [("bf16-mixed", "cpu"), ("16-mixed", "cpu"), ("16-mixed", "mps")]
)
def test_a_precision_this_machine_lacks_is_float32_and_that_is_said_once(
    precision: str, accelerator: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pretend(monkeypatch, "mps")
    pretend_processor(monkeypatch, "avx2")
    found = hardware.for_use({**RECORDED, "precision": precision}, accelerator)
    assert found.precision == "32-true"
    assert caplog.text.count(f"this {accelerator} does not compute in {precision} as the run did") == 1


def test_a_run_that_recorded_no_hardware_is_used_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    found = hardware.for_use({}, "cpu")
    assert (found.precision, found.channels_last) == ("32-true", False)
    assert not caplog.text


def test_the_record_names_the_processor_and_the_precision() -> None:
    described = hardware.resolve(configured("accelerator=cpu"), "auto").describe()
    assert described["precision"] in ("bf16-mixed", "32-true")
    assert described["model"].endswith(counted(torch.get_num_threads(), "thread"))


PAGE_FAULTS = """
import resource, torch
from gesture.model.hardware import keep_freed_memory
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

    # Where the system happens to put something behind the heap, it cannot grow, and nothing is kept there.
    assert min(faults(keeps=True) for _ in range(6)) < faults(keeps=False) / 2
