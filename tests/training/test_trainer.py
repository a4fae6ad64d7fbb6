"""Every setting of `trainer` and `early_stopping` does what it says, in whole runs."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import Configured, call
from gesture import train
from gesture.data.prepare import prepare
from gesture.model.hardware import resolve
from gesture.runs.directory import RunDirectory
from gesture.training import fit
from gesture.training import trainer as trainers
from gesture.training.classifier import GestureClassifier

BATCHES = 8  # of 16 among 120 images of the training


class Runs:
    """Trains with `tiny` and further words, each time in another directory."""

    def __init__(self, tiny: list[str], folder: Path) -> None:
        self.tiny = tiny
        self.folder = folder
        self.count = 0

    def __call__(self, *words: str, code: int = 0) -> RunDirectory:
        self.count += 1
        run = RunDirectory(self.folder / str(self.count))
        assert call(train.main, *self.tiny, *words, f"hydra.run.dir={run.path}") == code
        return run


@pytest.fixture
def runs(tiny: list[str], tmp_path: Path) -> Runs:
    return Runs(tiny, tmp_path)


def epochs_of(run: RunDirectory) -> list[dict[str, str]]:
    with run.metrics.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def result_of(run: RunDirectory) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(run.result.read_text(encoding="utf-8"))
    return result


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return {name: value for name, value in state.items() if value.is_floating_point()}


def scalars_of(run: RunDirectory, tag: str) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = []
    for path in sorted((run.path / "tensorboard").glob("events*")):
        events = EventAccumulator(str(path)).Reload()
        if tag in events.Tags()["scalars"]:
            found += [(event.step, event.value) for event in events.Scalars(tag)]
    return found


def test_a_clipped_gradient_moves_the_weights_by_no_more_than_it_says(runs: Runs, configured: Configured) -> None:
    words = ("optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=1.0", "trainer.limit_train_batches=0.13")
    moved = []
    config = configured(*words)
    begin = fit.build(config, prepare(config.data, config.split)).classifier.state_dict()
    learned = [name for name, _ in fit.build(config, prepare(config.data, config.split)).classifier.named_parameters()]
    for limit in ("null", "0.01"):
        end = weights_of(runs(*words, f"trainer.gradient_clip_val={limit}").last_checkpoint)
        moved.append(torch.cat([(end[name] - begin[name]).flatten() for name in learned]).norm().item())
    assert moved[1] == pytest.approx(0.01, rel=1e-2)  # one step at rate 1
    assert moved[0] > 0.02


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_gradients_are_clipped_in_low_precision_too(optimizer: str, runs: Runs) -> None:
    words = (f"optimizer={optimizer}", "trainer.gradient_clip_val=1.0", "trainer.limit_train_batches=1")
    run = runs(*words, "trainer.precision=bf16-mixed")
    assert len(epochs_of(run)) == 1


def test_accumulated_batches_make_one_step_and_schedules_end_with_the_last_one(runs: Runs) -> None:
    run = runs("trainer.accumulate_grad_batches=3", "trainer.max_epochs=2", "scheduler=cosine")
    assert [int(epoch["step"]) for epoch in epochs_of(run)] == [3, 6]  # 8 batches: 3 + 3 + 2
    assert float(epochs_of(run)[-1]["lr"]) < 1e-12


def test_the_number_of_steps_is_the_one_that_lightning_counts(configured: Configured, tmp_path: Path) -> None:
    for words in (
        ["trainer.accumulate_grad_batches=3"],
        ["trainer.limit_train_batches=0.6", "trainer.accumulate_grad_batches=2"],
        ["trainer.limit_train_batches=3"],
        ["trainer.fast_dev_run=true"],
        ["data.batch_size=7", "trainer.max_epochs=3"],  # whose last batch of one image is left out
    ):
        config = configured(*words)
        components = fit.build(config, prepare(config.data, config.split))
        trainer = trainers.build(config, components.hardware, RunDirectory(tmp_path), [], [], Callback())
        trainer.fit(components.classifier, datamodule=components.data)
        assert components.data.total_steps() == trainer.estimated_stepping_batches == trainer.global_step


@pytest.mark.parametrize(("limit", "batches"), [("3", 3), ("0.5", 4), ("1.0", BATCHES)])
def test_an_epoch_takes_a_share_or_a_number_of_its_batches(limit: str, batches: int, runs: Runs) -> None:
    [epoch] = epochs_of(runs(f"trainer.limit_train_batches={limit}"))
    assert int(epoch["step"]) == batches
    assert float(epoch["train/loss"]) > 0


def test_a_limited_validation_is_what_scores_and_is_recorded(runs: Runs) -> None:
    run = runs("trainer.limit_val_batches=2", "data.batch_size=2")
    with run.predictions.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["split"] == "val" for row in rows) == 8  # two batches of evaluation's four images
    assert sum(row["split"] == "test" for row in rows) == result_of(run)["split_sizes"]["test"]
    assert result_of(run)["metrics"]["val/accuracy"] == pytest.approx(result_of(run)["score"])


@pytest.mark.parametrize("setting", ["limit_train_batches=0.01", "limit_val_batches=0.01"])
def test_a_limit_that_leaves_nothing_is_refused(setting: str, runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    runs(f"trainer.{setting}", code=2)
    assert f"trainer.{setting} leaves none of an epoch's batches (" in capsys.readouterr().err


def test_epochs_without_validation_have_empty_columns_and_are_never_the_best(runs: Runs) -> None:
    words = ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=4", "optimizer.lr=1e-3", "scheduler=plateau")
    run = runs(*words)
    values = [epoch["val/accuracy"] for epoch in epochs_of(run)]
    assert [value == "" for value in values] == [True, False, True, False]
    result = result_of(run)
    assert result["epochs"] == 4
    assert result["best_epoch"] in (1, 3)
    assert float(values[result["best_epoch"]]) == max(float(values[1]), float(values[3]))
    assert result["score"] == pytest.approx(float(values[result["best_epoch"]]))
    assert torch.load(run.best_checkpoint, weights_only=True)["epoch"] == result["best_epoch"]
    assert torch.load(run.last_checkpoint, weights_only=True)["epoch"] == 3
    [plateau] = torch.load(run.last_checkpoint, weights_only=True)["lr_schedulers"]
    assert plateau["last_epoch"] == 2  # two validations


def test_a_fast_run_tries_everything_and_records_no_score(runs: Runs) -> None:
    run = runs("trainer.fast_dev_run=true", "trainer.max_epochs=5")
    result = result_of(run)
    assert result["status"] == "done"
    assert result["epochs"] == 1
    assert result["score"] is None
    assert result["best_epoch"] is None
    assert [epoch["step"] for epoch in epochs_of(run)] == ["1"]
    assert not run.checkpoints.exists()
    assert (run.plots / "confusion_matrix.png").is_file()


def test_deterministic_runs_leave_nothing_behind_for_the_next(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []
    step = GestureClassifier.training_step

    def note(self: Any, *args: Any) -> Any:
        seen.append((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark))
        return step(self, *args)

    monkeypatch.setattr(GestureClassifier, "training_step", note)
    runs("trainer.deterministic=true")
    runs("trainer.deterministic=false")
    assert seen[0] == (True, False)
    assert seen[-1] == (False, True)


@pytest.mark.parametrize("name", ["simple", "advanced", "pytorch"])
def test_a_profilers_report_is_in_the_run_directory(name: str, runs: Runs) -> None:
    run = runs(f"trainer.profiler={name}", "trainer.limit_train_batches=2")
    report = (run.path / "profiler" / f"fit-{name}.txt").read_text(encoding="utf-8")
    assert report.startswith("FIT Profiler Report")
    assert "aten::convolution" in report if name == "pytorch" else "training_step" in report


def test_curves_have_points_every_few_steps_and_the_epoch_once(runs: Runs) -> None:
    run = runs("trainer.log_every_n_steps=3", "trainer.max_epochs=2")
    steps = [step for step, _ in scalars_of(run, "train/loss_step")]
    assert steps == [1, 3, 6, 9, 12, 15]  # 16 steps, whatever the epochs' ends
    assert [step for step, _ in scalars_of(run, "lr")] == steps
    assert scalars_of(run, "epoch") == [(BATCHES, 0), (2 * BATCHES, 1)]
    columns = list(epochs_of(run)[0])
    assert [name for name in columns if "lr" in name] == ["lr"]


def test_training_ends_early_when_nothing_becomes_better(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs("early_stopping.patience=2", "optimizer.lr=1e-30", "trainer.max_epochs=9", "checkpoint.monitor=val/f1")
    assert result_of(run)["status"] == "done"
    assert result_of(run)["epochs"] == result_of(run)["best_epoch"] + 1 + 2 < 9
    assert "stopped early: val/f1 did not become better in 2 validations" in capsys.readouterr().out


def test_averaged_weights_are_kept_validated_and_used(runs: Runs) -> None:
    words = ("optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=0.01")
    one = weights_of(runs(*words, "trainer.limit_train_batches=0.13").last_checkpoint)
    two = weights_of(runs(*words, "trainer.limit_train_batches=2").last_checkpoint)
    run = runs(*words, "trainer.limit_train_batches=2", "trainer.ema_decay=0.5")
    best, last = (torch.load(path, weights_only=True) for path in (run.best_checkpoint, run.last_checkpoint))
    for name in one:  # running means and variances too
        assert torch.allclose(best["state_dict"][name], (one[name] + two[name]) / 2, atol=1e-6), name
        assert torch.equal(best["state_dict"][name], last["state_dict"][name])
        assert torch.equal(last["current_model_state"][name], two[name])  # from which training would go on
    metrics, [epoch] = result_of(run)["metrics"], epochs_of(run)
    assert metrics["val/loss"] == pytest.approx(float(epoch["val/loss"]), abs=1e-6)


@pytest.mark.parametrize("lr", ["1e30", "1e12"])
def test_a_loss_that_is_not_finite_ends_the_run_before_the_step(
    lr: str, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs("optimizer=sgd", f"optimizer.lr={lr}", code=1)
    result = result_of(run)
    assert result["status"] == "failed"
    assert result["score"] is None
    assert result["error"].startswith("the loss is nan at step ")
    assert f"learning rate {float(lr):g}, gradient norm " in result["error"]
    assert result["error"] in (run.path / "train.log").read_text(encoding="utf-8")
    output = capsys.readouterr()
    assert "Traceback" not in output.out + output.err
    assert "best so far" not in output.out
    assert not run.best_checkpoint.exists()


def test_a_validation_that_is_not_finite_is_never_the_best(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = GestureClassifier.loss

    def explode(self: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        bad = not self.training and self.current_epoch == 1
        return loss(self, logits * torch.nan if bad else logits, targets)

    monkeypatch.setattr(GestureClassifier, "loss", explode)
    run = runs("trainer.max_epochs=3", code=1)
    assert result_of(run)["error"].startswith("the loss of the validation is nan at step 16, in epoch 2")
    assert torch.load(run.best_checkpoint, weights_only=True)["epoch"] == result_of(run)["best_epoch"] == 0


def test_the_size_of_the_network_is_in_the_log_and_in_the_record(run_dir: Path) -> None:
    network = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))["network"]
    assert network["parameters"] == sum(part["parameters"] for part in network["parts"].values())
    assert network["bytes"] >= 4 * network["parameters"]
    assert list(network["parts"]) == ["stem", "backbone", "head"]
    assert f"{network['parameters']:,}" in (run_dir / "train.log").read_text(encoding="utf-8")


def test_hosts_and_devices_are_those_of_the_settings_or_of_torchrun(
    configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured("trainer.devices=3", "trainer.num_nodes=2", "trainer.strategy=ddp", "backbone.freeze_epochs=1")
    hardware = resolve(config.accelerator, config.trainer.precision)
    trainer = trainers.build(config, hardware, RunDirectory(tmp_path), [], [], Callback())
    assert (trainer.num_devices, trainer.num_nodes, trainer.world_size) == (3, 2, 6)
    for name, value in {
        "TORCHELASTIC_RUN_ID": "1",
        "LOCAL_WORLD_SIZE": "4",
        "WORLD_SIZE": "8",
        "RANK": "0",
        "LOCAL_RANK": "0",
    }.items():
        monkeypatch.setenv(name, value)
    trainer = trainers.build(configured("trainer.strategy=ddp"), hardware, RunDirectory(tmp_path), [], [], Callback())
    assert (trainer.num_devices, trainer.num_nodes) == (4, 2)


@pytest.mark.parametrize("step", [{}, {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_ID": "0"}])
def test_one_process_trains_by_itself_in_a_job_of_slurms(
    step: dict[str, str], runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables are Slurm's of a job of two tasks on each of two hosts; tests/cli/test_slurm.py has a real one."""
    job = {"JOB_ID": "7", "JOB_NAME": "job", "NTASKS": "4", "NTASKS_PER_NODE": "2", "NNODES": "2", "PROCID": "0"}
    for name, value in {**{f"SLURM_{name}": value for name, value in job.items()}, **step}.items():
        monkeypatch.setenv(name, value)
    result = result_of(runs("trainer.fast_dev_run=true"))
    assert result["status"] == "done"
    assert result["process"]["job"] == {"id": "slurm 7", "beginnings": 1}
