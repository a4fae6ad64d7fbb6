"""The benchmarks measure what they say, on images small enough to try it."""

import json
import sys
from itertools import count, islice
from pathlib import Path

import pytest
from benchmarks import (
    accuracy,
    arms,
    audit,
    coverage,
    data,
    first_try,
    going_on,
    measure,
    newcomers,
    profile,
    startup,
    training,
)
from benchmarks.measure import Measured

from conftest import Configured
from gesture.config.schema import TrainConfig
from gesture.data.prepare import prepare

IMAGES = 120
"""That train, of 150."""


@pytest.fixture
def config(configured: Configured) -> TrainConfig:
    return configured("trainer.max_epochs=2", "data.batch_size=40")


def test_every_way_of_training_sees_every_image_in_every_epoch(config: TrainConfig) -> None:
    prepared = prepare(config.data, config.split)
    for epochs in (
        list(islice(arms.plain(config, prepared, validates=True), 2)),
        list(islice(arms.ceiling(config, prepared), 2)),
        arms.gesture(config),
        arms.folders(config, prepared),
    ):
        assert [epoch.images for epoch in epochs] == [IMAGES, IMAGES]
        assert all(0 < epoch.seconds < 60 for epoch in epochs)
        assert training.later(epochs) == pytest.approx(epochs[1].images_per_second)


def test_plain_training_measures_accuracy(config: TrainConfig) -> None:
    epoch = next(arms.plain(config, prepare(config.data, config.split), validates=True))
    assert 0 <= epoch.accuracy <= 1


def test_arms_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []

    def arm(name: str) -> dict[str, float]:
        calls.append(name)
        return {"calls": float(len(calls))}

    rows = measure.side_by_side({"a": lambda: arm("a"), "b": lambda: arm("b")}, repetitions=2)
    assert calls == list("ababab")
    assert rows["a, calls"].values == (3, 5)
    assert measure.ratio(rows["b, calls"], rows["a, calls"]).values == pytest.approx((4 / 3, 6 / 5))


def test_a_report_keeps_values_versions_and_hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "OUTPUT", tmp_path)
    measure.report("speed", {"images/s": Measured((1.0, 3.0, 2.0))}, {"images": 5})
    record = json.loads((tmp_path / "speed.json").read_text())
    assert record["measured"]["images/s"] == {"median": 2.0, "values": [1.0, 3.0, 2.0]}
    assert record["conditions"] == {"images": 5}
    assert record["versions"]["torch"]
    assert record["hardware"]["cpu"]


def test_the_data_path_gives_rates(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(config.data, config.split)
    assert data.load(config, prepared) > 0
    assert data.plain(prepared.samples, config.data.image_size) > 0
    monkeypatch.setattr(data, "BUILT", 160)
    assert 0 < data.build(prepared.samples, config.data.image_size) < 60


def test_training_an_image_takes_three_times_the_operations_of_naming_it() -> None:
    resnet18 = profile.operations("resnet18", 10, 224, 224)
    assert resnet18 == pytest.approx(3 * 2 * 1.82e9, rel=0.05)  # 1.82 * 10^9 multiplications and additions forward


def test_epochs_are_read_while_a_run_writes_them(run_dir: Path, tmp_path: Path) -> None:
    assert len(accuracy.accuracies(run_dir / "metrics.csv")) == 2
    assert accuracy.accuracies(tmp_path / "not there yet.csv") == []


def test_start_up_is_timed_from_outside() -> None:
    assert startup.seconds("-c", "pass")["s"] > 0


def test_a_first_try_is_measured_from_the_command_to_the_test(rendered: Path) -> None:
    words = ("data.image_size=[32,64]", "backbone.name=shufflenet_v2_x0_5")
    tried = first_try.gesture(rendered / "00", words, count(5))
    assert set(tried) == {"CPU s", "validation", "test"}
    assert 0 < tried["CPU s"] < 300
    assert 0 <= tried["test"] <= 1


@pytest.mark.parametrize(("way", "kept"), [("with", {"best.ckpt", "last.ckpt"}), ("without", {"best.ckpt"})])
def test_the_cost_of_going_on_is_that_of_what_is_left_out(
    way: str, kept: set[str], tiny: list[str], tmp_path: Path
) -> None:
    told = going_on.training(way, tuple(tiny), tmp_path)
    assert {path.name for path in tmp_path.glob("*/run/checkpoints/*.ckpt")} == kept
    assert 0 < told[way] < 300
    assert 0 < told.get("share", 0.5) < 1


def test_a_first_try_counts_the_seconds_of_processes_that_a_command_starts(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}], check=True)"
    assert first_try.cpu_seconds([sys.executable, "-c", nested], tmp_path / "output") >= 0.5
    with pytest.raises(SystemExit, match="ended with 3"):
        first_try.cpu_seconds([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "output")


@pytest.mark.filterwarnings("ignore")  # Lightning has advice for what newcomers write
def test_what_a_newcomer_writes_with_lightning_trains(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "EPOCHS", 1)
    monkeypatch.setattr(newcomers, "SIZE", 32)
    assert set(newcomers.lightning(rendered / "00", seed=0)) == {"validation", "test"}


def test_a_mean_comes_with_what_other_repetitions_might_have_given() -> None:
    low, mean, high = measure.mean_and_interval(measure.Measured((0.98, 0.99, 1.0, 0.97, 1.01))).values
    assert mean == pytest.approx(0.99)
    assert 0.97 < low < mean < high < 1.01


def test_an_audit_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "OUTPUT", tmp_path)
    monkeypatch.setattr(audit, "SIZE", (32, 64))
    audit.main(["400"])
    measured = json.loads((tmp_path / "audit.json").read_text())["measured"]
    assert measured["audit, s"]["median"] > 0
    assert measured["leak meter of a training, CPU s"]["median"] > 0


def test_coverage_is_nominal_where_people_are_ordinary_and_not_where_a_rare_one_is_hard() -> None:
    ordinary = coverage.coverage(coverage.ORDINARY["skewed (Beta 9, 1.5)"], 10, 300)
    assert 0.9 < ordinary.held <= 0.99
    assert (ordinary.absent, ordinary.warned) == (0, 0)
    hard = coverage.coverage(coverage.HARD["one person in 20 at 50 %, others at 95 %"], 10, 100)
    assert hard.held < 0.8
    ceiling = coverage.coverage(coverage.HARD["near the ceiling (99.5 %)"], 10, 100)
    assert ceiling.warned == 1


def test_settings_that_are_alike_are_told_apart_no_more_often_than_one_time_in_twenty() -> None:
    assert coverage.told_apart(coverage.ORDINARY["even (85 ± 6 %)"], 10, 400) < 0.08
