"""The accelerator: the best one present, absent ones refused, settings from its group's file or measured."""

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


def test_the_measurement_gives_a_ratio() -> None:
    assert 0.01 < hardware.bf16_speedup() < 100
