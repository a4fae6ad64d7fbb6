"""TensorBoard, Weights & Biases and MLflow, each for real and offline, alone, together and not at all."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.words import last_wins
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import call
from gesture import train
from moments import train_until

PLOTS = {"samples", "training_batch", "curves", "confusion_matrix", "per_class", "per_subject"}
WANDB = ("logger=wandb", "logger.wandb.mode=offline")


@pytest.fixture
def words(tiny: list[str], tmp_path: Path) -> list[str]:
    return [*tiny, "trainer.max_epochs=2", f"hydra.run.dir={tmp_path / 'run'}"]


def kept_by_wandb(run: Path) -> list[bytes]:
    """What each offline run of Weights & Biases kept: protocol buffers, whose texts stand in them as they are."""
    return [path.read_bytes() for path in sorted(run.glob("wandb/offline-run-*/*.wandb"))]


def test_without_loggers_there_are_still_plots_and_metrics(words: list[str], tmp_path: Path) -> None:
    assert call(train.main, *words, "logger=none") == 0
    assert not (tmp_path / "run/tensorboard").exists()
    assert {path.stem for path in (tmp_path / "run/plots").iterdir()} == PLOTS
    assert (tmp_path / "run/metrics.csv").is_file()


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_refused_before_data_are_prepared(
    name: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gesture.training.extras.find_spec", lambda package: None)
    assert call(train.main, *words, f"logger={name}", f"data.root={tmp_path / 'absent'}") == 2
    assert f"logger={name} needs the package {name}, which is not installed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_weights_and_biases_keeps_an_offline_run_in_the_run_directory(words: list[str], tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs the extra wandb")
    assert call(train.main, *words, *WANDB) == 0
    [kept] = kept_by_wandb(tmp_path / "run")
    for name in (b"train/loss_step", b"val/accuracy", b"lr", b"final/test/accuracy", b"optimizer"):
        assert name in kept
    pictures = (tmp_path / "run").glob("wandb/offline-run-*/files/media/images/*.png")
    assert {path.name.rsplit("_", 2)[0] for path in pictures} == PLOTS
    assert not (tmp_path / "run/tensorboard").exists()


def test_each_trial_of_a_sweep_is_a_run_of_weights_and_biases(tiny: list[str], tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs the extra wandb")
    words = [*tiny, *WANDB, "optimizer=sgd", "optimizer.lr=1e30,1e-3", f"hydra.sweep.dir={tmp_path}"]
    assert call(train.main, "-m", *words) == 1
    diverged, ended = ([*kept_by_wandb(path.parent)] for path in sorted(tmp_path.glob("*/wandb")))
    assert len(diverged) == len(ended) == 1
    assert b"final/test/accuracy" not in diverged[0]
    assert b"final/test/accuracy" in ended[0]


@pytest.mark.filterwarnings("ignore")  # what MLFlow does to SQLAlchemy is not ours to mend
def test_mlflow_keeps_its_store_in_the_run_directory(words: list[str], tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    assert call(train.main, *words, "logger=mlflow", "logger.mlflow.experiment=hands") == 0
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'run/mlflow/mlflow.db'}")
    [run] = client.search_runs([client.get_experiment_by_name("hands").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "run"
    assert run.data.params["optimizer/name"] == "adam"
    assert "final/test/accuracy" in run.data.metrics
    assert [point.value for point in client.get_metric_history(run.info.run_id, "epoch")] == [0, 1]
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    assert artifacts.is_relative_to(tmp_path / "run/mlflow")
    assert {path.stem for path in (artifacts / "plots").iterdir()} == PLOTS


def test_several_loggers_are_told_the_same(words: list[str], tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs the extra wandb")
    assert call(train.main, *words, "logger=[tensorboard,wandb]", "logger.wandb.mode=offline") == 0
    tags: set[str] = set()
    for path in (tmp_path / "run/tensorboard").glob("events*"):
        tags |= set(EventAccumulator(str(path)).Reload().Tags()["scalars"])
    [kept] = kept_by_wandb(tmp_path / "run")
    for name in ("train/loss_step", "train/loss", "val/nll", "final/test/f1", "epoch"):
        assert name in tags
        assert name.encode() in kept
    assert len(list((tmp_path / "run").glob("wandb/offline-run-*/files/media/images/*.png"))) == len(PLOTS)


@pytest.mark.filterwarnings("ignore")
def test_a_logger_that_cannot_begin_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    uri = "logger.mlflow.tracking_uri=nonsense://nowhere"
    assert call(train.main, *words, "logger=mlflow", uri) == 2
    assert "logger=mlflow cannot begin" in capsys.readouterr().err


def killed_and_gone_on_with(words: list[str], tmp_path: Path) -> Path:
    """The directory of a run that was killed a few steps after its last checkpoint, and went on."""
    run = tmp_path / "run"
    killed = train_until("torch:save 3 kill-after", [*last_wins(words), f"hydra.run.dir={run}"], tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    command = [sys.executable, "-m", "gesture.train", f"resume={run}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return run


def test_a_run_goes_on_as_the_same_run_of_weights_and_biases(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # of this process, which would outlive the killed one
    run = killed_and_gone_on_with([*words, *WANDB, "checkpoint.every_n_steps=2"], tmp_path)
    folders = sorted(path.name for path in run.glob("wandb/offline-run-*"))
    assert len(folders) == 2
    assert {name.rpartition("-")[2] for name in folders} == {(run / "wandb/run_id").read_text()}


@pytest.mark.filterwarnings("ignore")
def test_a_run_goes_on_as_the_same_run_of_mlflow_without_a_gap_or_a_double_step(
    words: list[str], tmp_path: Path
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    words = [*words, "logger=mlflow", "checkpoint.every_n_steps=2", "trainer.log_every_n_steps=1"]
    run = killed_and_gone_on_with(words, tmp_path)
    client = mlflow.MlflowClient(f"sqlite:///{run / 'mlflow/mlflow.db'}")
    [kept] = client.search_runs([client.get_experiment_by_name("gesture").experiment_id])
    assert kept.info.status == "FINISHED"
    last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    points = client.get_metric_history(kept.info.run_id, "train/loss_step")
    assert sorted(point.step for point in points) == list(range(1, last + 1))
    assert [point.value for point in client.get_metric_history(kept.info.run_id, "epoch")] == [0, 1]
