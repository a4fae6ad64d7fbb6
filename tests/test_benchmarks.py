"""The benchmarks measure what they say, on images small enough to try it."""

import json
from itertools import islice
from pathlib import Path

import pytest
from benchmarks import accuracy, arms, data, measure, profile, startup, training
from benchmarks.measure import Measured

from conftest import Configured
from gesture.config import TrainConfig
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
