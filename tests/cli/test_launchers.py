"""Launchers of a sweep's trials: their settings, what they need, and that each trial is lost alone."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf
from test_sweeps import start, statuses, sweep, table_of, wait_for_epochs

from conftest import call
from gesture import train
from gesture.config.compose import initialized

SUBMITIT = ["hydra/launcher=submitit_local"]
DIES_AT_SEED_7 = """
import csv, os, random, signal

seed = random.seed
random.seed = lambda value=None, *rest: (seed(value, *rest), value == 7 and set_trap())[0]

def set_trap():
    csv.DictWriter.writeheader = lambda self: os.kill(os.getpid(), signal.SIGKILL)  # metrics.csv, at an epoch's end
"""
"""As sitecustomize.py, which every process runs first, a launcher's too."""
NO_EXTRAS = """
import sys, types

sys.modules["hydra_plugins"] = types.ModuleType("hydra_plugins")
sys.modules["hydra_plugins"].__path__ = []
"""


def everywhere(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all processes that are started run this code first."""
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["launcher=joblib"], {"n_jobs": -1}),
        (["launcher=joblib", "launcher.at_once=3"], {"n_jobs": 3}),
        (
            ["launcher=slurm", "launcher.partition=long", "launcher.memory_gb=8", "launcher.gpus=1"],
            {"partition": "long", "mem_gb": 8, "gpus_per_node": 1, "cpus_per_task": None, "timeout_min": 240},
        ),
        (["launcher=slurm", "hydra.launcher.qos=night"], {"qos": "night", "max_num_timeout": 20}),
        (["hydra/launcher=joblib"], {"n_jobs": -1}),
    ],
)
def test_a_launcher_is_told_its_settings(words: list[str], values: dict[str, object]) -> None:
    with initialized("train") as hydra:
        composed = hydra.compose_config("train", words, RunMode.MULTIRUN, with_log_configuration=False)
        launcher: Any = OmegaConf.to_container(composed.hydra.launcher, resolve=True)
    assert {name: launcher[name] for name in values} == values


def test_a_sweep_side_by_side_records_nothing_of_its_launcher(tiny: list[str], tmp_path: Path) -> None:
    done = sweep(tmp_path, tiny, "seed=1,2", "launcher=joblib", "launcher.at_once=2")
    assert done.returncode == 0, done.stderr
    assert "Parallel(n_jobs=2" in done.stdout
    assert statuses(tmp_path) == {"0-seed-1": "done", "1-seed-2": "done"}
    run = tmp_path / "sweep" / "0-seed-1"
    assert "launcher" not in (run / "overrides").read_text()
    assert "launcher: null" in (run / "config.yaml").read_text()
    assert "launcher" not in next(line for line in done.stdout.splitlines() if line.startswith("again:"))


@pytest.mark.parametrize("launcher", ["joblib", "slurm"])
def test_a_single_run_takes_no_launcher(launcher: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(train.main, f"launcher={launcher}", f"hydra.run.dir={tmp_path / 'run'}") == 2
    sentence = f"gesture: launcher={launcher} is for the trials of a sweep: add -m, or leave it out.\n"
    assert capsys.readouterr().err == sentence
    assert not list(tmp_path.iterdir())


def test_a_sweep_has_one_launcher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(train.main, "-m", "launcher=local,joblib", f"hydra.sweep.dir={tmp_path / 'sweep'}") == 2
    assert "launcher=local,joblib gives several values, and a sweep has one launcher" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_the_extra_the_way_to_it_is_told(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere(NO_EXTRAS, tmp_path, monkeypatch)
    done = sweep(tmp_path, tiny, "seed=1,2", "launcher=joblib")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "come with the extra `sweep`: pip install -e '.[sweep]'" in done.stderr


def test_without_slurm_its_launcher_is_refused(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = sweep(tmp_path, tiny, "seed=1,2", "launcher=slurm")
    assert done.returncode == 2
    assert done.stderr == "gesture: launcher=slurm needs sbatch, which is not on this host: start it on a login node.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_trial_killed_under_submitit_takes_no_other_with_it(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere(DIES_AT_SEED_7, tmp_path, monkeypatch)
    done = sweep(tmp_path, tiny, "trainer.max_epochs=2", "seed=1,7,2", *SUBMITIT)
    assert done.returncode == 1, done.stderr
    assert [row["status"] for row in table_of(tmp_path)] == ["done", "failed", "done"]
    assert done.stdout.count("was lost") == 2  # the second time alone
    assert "3 trials in sweep" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="Windows has no SIGUSR2")
def test_a_trial_whose_time_is_over_is_saved_and_queued_again(tiny: list[str], tmp_path: Path) -> None:
    process = start(tmp_path, tiny, "seed=1", "trainer.max_epochs=60", *SUBMITIT)
    wait_for_epochs(tmp_path, process, trials=1)
    run = tmp_path / "sweep" / "0"
    os.kill(json.loads((run / "result.json").read_text())["process"]["pid"], signal.SIGUSR2)  # as submitit's timer does
    output, _ = process.communicate(timeout=300)
    [log] = (tmp_path / "sweep" / ".submitit").glob("*/*_log.out")
    text, own = log.read_text(), (run / "train.log").read_text()
    assert text.count("Starting with JobEnvironment") == 2, output
    assert own.index("stopped by SIGUSR2") < own.index("Calling checkpoint method") < own.index("Requeued job")
    assert "stopped in epoch" in own
    record = json.loads((run / "result.json").read_text())
    assert record["status"] == "done", own
    assert len(record["resumed"]) == 1
