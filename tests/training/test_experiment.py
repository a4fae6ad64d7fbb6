"""A whole run: its directory, its record, its truthfulness, its repeatability, sweeps."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import FRAMES, GESTURES, SUBJECTS, call
from gesture import train
from gesture.config.compose import config_dir
from gesture.config.schema import LossConfig
from gesture.console import close_log
from gesture.evaluation.metrics import measure
from gesture.inference.recogniser import Recogniser
from gesture.model.network import GestureNetwork
from gesture.runs.predictions import read
from gesture.training import fit

IMAGES = SUBJECTS * GESTURES * FRAMES


def result_of(run: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((run / "result.json").read_text())  # type: ignore[no-any-return]


def test_the_run_directory_is_complete(run_dir: Path) -> None:
    files = {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file()}
    pictures = ("samples", "training_batch", "curves", "confusion_matrix", "per_class", "per_subject")
    assert files >= {
        *("config.yaml", "overrides", "split.json", "metrics.csv", "predictions.csv", "result.json", "train.log"),
        *("checkpoints/best.ckpt", "checkpoints/last.ckpt"),
        *(f"plots/{name}.png" for name in pictures),
    }
    assert any(name.startswith("tensorboard/events") for name in files)
    assert "split=subject" in (run_dir / "overrides").read_text().splitlines()
    log = (run_dir / "train.log").read_text()
    assert "epoch   1/2" in log
    assert str(run_dir) in log


def test_result_json_says_what_was_found(run_dir: Path) -> None:
    result = result_of(run_dir)
    assert result["status"] == "done"
    assert result["error"] is None
    assert result["split_sizes"]["train"] == result["split_sizes"]["test"] == GESTURES * FRAMES
    assert result["epochs"] == 2
    assert set(result["metrics"]) == {
        f"{part}/{name}"
        for part in ("val", "test")
        for name in ("loss", "nll", "accuracy", "precision", "recall", "f1")
    }
    assert np.sum(result["confusion_matrix"]) == GESTURES * FRAMES
    assert list(result["per_class"]) == result["class_names"]
    assert result["images_per_second"] > 0
    assert result["dataset"]["images"] == IMAGES
    assert result["versions"]["torch"] == torch.__version__.split("+")[0]
    assert result["device"]["accelerator"] == "cpu"
    assert len(result["per_subject"]) == 1
    assert result["split"]["note"] == "The one person of the test was not seen in training."


def test_the_score_is_the_best_epochs_and_the_metrics_are_that_epochs(run_dir: Path) -> None:
    result = result_of(run_dir)
    rows = list(csv.DictReader((run_dir / "metrics.csv").open()))
    scores = [float(row["val/accuracy"]) for row in rows]
    assert len(rows) == 2
    assert result["score"] == pytest.approx(max(scores))
    assert result["best_epoch"] == scores.index(max(scores))
    assert result["metrics"]["val/accuracy"] == pytest.approx(result["score"], abs=1e-6)
    best = torch.load(run_dir / "checkpoints/best.ckpt", weights_only=True)
    assert best["epoch"] == result["best_epoch"]


def test_the_metrics_are_those_of_predictions_csv(run_dir: Path) -> None:
    result = result_of(run_dir)
    predictions = read(run_dir / "predictions.csv")
    recorded = json.loads((run_dir / "split.json").read_text())
    for part in ("val", "test"):
        assert sorted(predictions.of(part).paths) == sorted(recorded[part])
    measured = measure(predictions, LossConfig(0.0, False, "none"))
    assert measured.overall == result["metrics"]
    assert measured.per_class == result["per_class"]
    assert measured.per_subject == result["per_subject"]
    assert measured.confusion_matrix == result["confusion_matrix"]


def test_what_watched_training_agrees_with_the_table(run_dir: Path) -> None:
    result = result_of(run_dir)
    row = list(csv.DictReader((run_dir / "metrics.csv").open()))[result["best_epoch"]]
    for name in ("loss", "nll", "accuracy", "precision", "recall", "f1"):
        assert float(row[f"val/{name}"]) == pytest.approx(result["metrics"][f"val/{name}"], rel=1e-5), name


def test_tensorboard_has_curves_pictures_and_final_figures(run_dir: Path) -> None:
    # Each part of a run writes a file of its own; the accumulator reads one.
    found = [EventAccumulator(str(path)).Reload().Tags() for path in (run_dir / "tensorboard").glob("events*")]
    scalars = {tag for tags in found for tag in tags["scalars"]}
    assert scalars >= {
        "train/loss_step",
        "train/loss",
        "train/accuracy",
        "val/accuracy",
        "val/f1",
        "val/loss",
    }
    assert "final/test/accuracy" in scalars
    assert {tag for tags in found for tag in tags["images"]} >= {"samples", "training_batch", "confusion_matrix"}


def test_the_checkpoint_is_plain_data_and_suffices_to_rebuild_the_network(run_dir: Path) -> None:
    checkpoint = torch.load(run_dir / "checkpoints/best.ckpt", weights_only=True)
    ours = checkpoint["gesture"]
    assert ours["class_names"] == result_of(run_dir)["class_names"]
    assert ours["image_size"] == [32, 64]
    network = GestureNetwork(ours["config"]["backbone"]["name"], len(ours["class_names"]))
    state = {
        key.removeprefix("network."): value for key, value in checkpoint["state_dict"].items() if "network." in key
    }
    network.load_state_dict(state, strict=True)


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (config_dir() / "experiment").glob("*.yaml")))
def test_every_experiment_runs(experiment: str, tiny: list[str], tmp_path: Path) -> None:
    fold = ["split.folds=3", "split.fold=1"] if experiment == "loso" else []
    assert call(train.main, f"experiment={experiment}", *fold, *tiny, f"hydra.run.dir={tmp_path}") == 0
    assert result_of(tmp_path)["status"] == "done"


def test_two_runs_of_one_configuration_are_equal_bit_for_bit(tiny: list[str], tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert call(train.main, *tiny, "augment=light", "seed=3", f"hydra.run.dir={tmp_path / name}") == 0
    first, second = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("first", "second")
    )
    assert all(torch.equal(first["state_dict"][key], second["state_dict"][key]) for key in first["state_dict"])
    assert result_of(tmp_path / "first")["metrics"] == result_of(tmp_path / "second")["metrics"]


def test_a_random_split_says_that_its_people_were_seen_and_what_would_have_crossed(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(train.main, *tiny, f"hydra.run.dir={tmp_path}") == 0
    split = result_of(tmp_path)["split"]
    assert "people of the test were seen in training" in split["note"]
    assert split["identical_images_that_crossed"] == 0
    assert split["identical_images_that_would_have_crossed"] >= 0
    assert split["note"] in capsys.readouterr().out


def test_the_curves_end_with_the_last_epoch(run_dir: Path) -> None:
    steps = []
    for path in (run_dir / "tensorboard").glob("events*"):
        events = EventAccumulator(str(path)).Reload()
        if "val/loss" in events.Tags()["scalars"]:
            steps += [event.step for event in events.Scalars("val/loss")]
    assert len(steps) == 2  # one an epoch; the best one's second validation is no point of the curve


def test_rendered_images_are_called_so(tmp_path: Path, tiny: list[str]) -> None:
    words = ["data=synthetic", "data.subjects=3", "data.frames=2", *tiny[1:], f"data.root={tmp_path / 'hands'}"]
    assert call(train.main, *words, "data.batch_size=8", f"hydra.run.dir={tmp_path / 'run'}") == 0
    assert result_of(tmp_path / "run")["dataset"]["name"] == "synthetic"


def test_images_too_small_for_a_backbone_are_refused(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(train.main, *tiny, "backbone.name=inception_v3", f"hydra.run.dir={tmp_path / 'run'}") == 2
    assert "backbone inception_v3 cannot take images of [32,64] pixels" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_directory_is_never_written_over(
    tiny: list[str], run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run_dir / "result.json").read_bytes()
    assert call(train.main, *tiny, f"hydra.run.dir={run_dir}") == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (run_dir / "result.json").read_bytes() == before


def test_a_run_that_fails_says_why_and_exits_1(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explode(*args: object) -> None:
        raise RuntimeError("out of memory, say")

    monkeypatch.setattr("gesture.training.classifier.GestureClassifier.training_step", explode)
    assert call(train.main, *tiny, f"hydra.run.dir={tmp_path}") == 1
    result = result_of(tmp_path)
    assert result["status"] == "failed"
    assert "out of memory, say" in result["error"]
    assert "out of memory, say" in (tmp_path / "train.log").read_text()
    assert "out of memory, say" in capsys.readouterr().out


def test_a_disk_too_small_for_the_checkpoints_is_refused_and_left_empty(
    tiny: list[str], disk_of: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    disk = disk_of("64m")  # for best.ckpt and last.ckpt, and not for the one that is being written
    assert call(train.main, *tiny, f"hydra.run.dir={disk / 'run'}") == 2
    assert f"hydra.run.dir '{disk / 'run'}' has 67 MB free and needs" in capsys.readouterr().err
    assert list(disk.iterdir()) == []


def test_a_disk_that_fills_up_while_training_is_told_and_keeps_the_best(
    tiny: list[str], disk_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fit, "check_room", lambda components, directory: None)  # there was room, until others took it
    run = disk_of("16m") / "run"  # for best.ckpt and not for last.ckpt
    assert call(train.main, *tiny, f"hydra.run.dir={run}") == 1
    close_log(run / "train.log")
    told = capfd.readouterr()
    assert "has no room for a checkpoint of" in told.out + told.err
    assert "Traceback" not in told.out + told.err
    result = result_of(run)
    assert result["status"] == "failed"
    assert "has no room for a checkpoint of" in result["error"]
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["best.ckpt"]
    assert Recogniser.load(run).class_names == tuple(result["class_names"])


def test_freezing_keeps_the_backbone_and_its_batch_statistics_for_the_first_epochs(
    tiny: list[str], tmp_path: Path
) -> None:
    for epochs in (1, 2):
        words = [
            *tiny,
            "backbone.freeze_epochs=1",
            f"trainer.max_epochs={epochs}",
            f"hydra.run.dir={tmp_path / str(epochs)}",
        ]
        assert call(train.main, *words) == 0
    frozen, thawed = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for name in ("1", "2")
    )
    backbone = [key for key in frozen if key.startswith("network.backbone.") and frozen[key].is_floating_point()]
    means = [key for key in backbone if key.endswith("running_mean")]
    assert all(torch.all(frozen[key] == 0) for key in means)
    assert any(torch.any(thawed[key] != 0) for key in means)
    assert any(not torch.equal(frozen[key], thawed[key]) for key in backbone if key.endswith("weight"))


def test_label_smoothing_and_losses_on_probabilities_change_the_loss(tiny: list[str], tmp_path: Path) -> None:
    losses = {}
    for name, setting in {
        "plain": "seed=0",
        "smooth": "loss.label_smoothing=0.3",
        "report": "loss.on_probabilities=true",
    }.items():
        assert call(train.main, *tiny, setting, f"hydra.run.dir={tmp_path / name}") == 0
        losses[name] = result_of(tmp_path / name)["metrics"]["test/loss"]
    assert len(set(losses.values())) == 3
    assert losses["report"] >= math.log(math.e + 9) - 1  # the least that ten probabilities can give


@pytest.mark.parametrize("setting", ["scheduler=cosine", "scheduler=onecycle", "scheduler=plateau", "optimizer=sgd"])
def test_schedulers_and_optimizers_run(setting: str, tiny: list[str], tmp_path: Path) -> None:
    assert call(train.main, *tiny, setting, f"hydra.run.dir={tmp_path}") == 0
    rate = float(next(csv.DictReader((tmp_path / "metrics.csv").open()))["lr"])
    assert rate < 1e-5 if setting in ("scheduler=cosine", "scheduler=onecycle") else rate > 0


def test_an_absent_accelerator_is_refused_and_leaves_nothing(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = "mps" if torch.cuda.is_available() else "cuda"
    words = [word for word in tiny if not word.startswith("accelerator")]
    assert call(train.main, *words, f"accelerator={absent}", f"hydra.run.dir={tmp_path / 'run'}") == 2
    assert f"accelerator={absent} is not present on this machine: choose" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
