"""Sweeps: checked before they start, every trial said and recorded at its place, summed up at the end."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.words import last_wins

from gesture.cli.trials import check_trials, trial_name
from gesture.config.compose import initialized, read_words
from gesture.config.refusals import ConfigError
from gesture.config.schema import TrainConfig

LAUNCHERS = pytest.mark.parametrize("launcher", [[], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]])


def sweep(tmp_path: Path, tiny: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    """What `gesture.train -m` makes of a tiny training with these words."""
    return sweep_anywhere(tmp_path, tiny, *words, "hydra.sweep.dir=sweep")


def sweep_anywhere(tmp_path: Path, tiny: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    """The same, wherever the sweep puts it."""
    command = [sys.executable, "-m", "gesture.train", "-m", *last_wins([*tiny, *words])]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)


def start(tmp_path: Path, tiny: list[str], *words: str) -> subprocess.Popen[str]:
    """A sweep that is the first of its own group, as a shell starts it."""
    command = [sys.executable, "-m", "gesture.train", "-m", *last_wins([*tiny, *words, "hydra.sweep.dir=sweep"])]
    return subprocess.Popen(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )


def wait_for_epochs(tmp_path: Path, process: subprocess.Popen[str], trials: int) -> None:
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "sweep").glob("*/metrics.csv"))) < trials:
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def statuses(tmp_path: Path) -> dict[str, str]:
    results = sorted((tmp_path / "sweep").glob("*/result.json"))
    return {path.parent.name: json.loads(path.read_text())["status"] for path in results}


def table_of(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "sweep" / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["optimizer.lr=0.001", "seed=1"], "3-lr-0.001"),
        (["backbone=resnet18", "optimizer.lr=1e-05"], "3-lr-1e-05"),
        (["optimizer.lr=0.1", "checkpoint.monitor=val/accuracy"], "3-lr-0.1-monitor-val-accuracy"),
        (["split.test_subjects=[a b,c=d]"], "3-test_subjects-a-b-c-d"),
        (["data.root='/x/$y (1)'"], "3-root-x-y-1"),
    ],
)
def test_a_trials_name_says_what_it_is_and_needs_no_quoting(words: list[str], name: str) -> None:
    swept = {"optimizer.lr", "checkpoint.monitor", "split.test_subjects", "data.root"}
    assert trial_name(3, words, swept) == name == shlex.quote(name)


def test_a_trials_name_is_short_whatever_is_swept() -> None:
    people = ",".join(f"signer{i:03}" for i in range(30))
    assert len(trial_name(0, [f"split.test_subjects=[{people}]"], {"split.test_subjects"})) <= 80


RAISES_AT_SEED_7 = """
import random

original = random.seed

def seed(value=None, *rest):
    if value == 7:
        raise ZeroDivisionError("a fault of ours")
    original(value, *rest)

random.seed = seed
"""
"""As sitecustomize.py, which every process runs first, a launcher's too."""
EXPERIMENTS = {
    "plain": "seed: 0",
    "absent": "split: {test_subjects: ['77']}",
    "diverging": "optimizer: {lr: 1e30}",
    "raising": "seed: 7",
    "slow": "optimizer: {lr: 1e-6}",
    "other": "seed: 1",
}


@LAUNCHERS
def test_six_trials_of_which_one_is_refused_one_diverges_and_one_raises(
    launcher: list[str], tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    for name, setting in EXPERIMENTS.items():
        defaults = "defaults: [{override /split: subject}, {override /optimizer: sgd}]"
        (own / f"{name}.yaml").write_text(f"# @package _global_\n{defaults}\n{setting}\n")
    (tmp_path / "sitecustomize.py").write_text(RAISES_AT_SEED_7)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    done = sweep(tmp_path, tiny, "--config-dir=own", f"experiment={','.join(EXPERIMENTS)}", *launcher)

    assert done.returncode == 1, done.stderr
    rows = table_of(tmp_path)
    assert [(row["experiment"], row["status"]) for row in rows] == [
        ("plain", "done"),
        ("absent", "refused"),
        ("diverging", "failed"),
        ("raising", "failed"),
        ("slow", "done"),
        ("other", "done"),
    ]
    assert "split.test_subjects names '77', who is not in the data" in rows[1]["error"]
    assert "the loss is nan at step 2" in rows[2]["error"]
    assert rows[3]["error"] == "ZeroDivisionError: a fault of ours"
    assert [bool(row["score"]) for row in rows] == [True, False, False, False, True, True]
    assert "6 trials in sweep" in done.stdout
    assert "best val/accuracy" in done.stdout
    assert list(statuses(tmp_path).values()) == [row["status"] for row in rows]


def test_trials_side_by_side_render_and_decode_data_that_nobody_has_yet(tmp_path: Path) -> None:
    data = ["data=synthetic", "data.subjects=3", "data.frames=4", "data.image_size=[32,64]", "data.batch_size=16"]
    training = ["trainer.max_epochs=1", "accelerator=cpu", "backbone.name=shufflenet_v2_x0_5"]
    done = sweep(tmp_path, [*data, *training], "seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path) == {"0-seed-1": "done", "1-seed-2": "done"}


@LAUNCHERS
def test_what_only_data_can_refuse_is_that_trials_alone(launcher: list[str], tiny: list[str], tmp_path: Path) -> None:
    done = sweep(tmp_path, tiny, "split=subject", "split.test_subjects=[0],[77],[1]", *launcher)
    assert done.returncode == 1
    assert statuses(tmp_path) == {
        "0-test_subjects-0": "done",
        "1-test_subjects-77": "refused",
        "2-test_subjects-1": "done",
    }
    assert [row["status"] for row in table_of(tmp_path)] == ["done", "refused", "done"]
    assert "who is not in the data" in table_of(tmp_path)[1]["error"]


def test_another_sweeps_directory_is_not_used(tiny: list[str], tmp_path: Path) -> None:
    (tmp_path / "sweep" / "0-seed-1").mkdir(parents=True)
    (tmp_path / "sweep" / "0-seed-1" / "result.json").write_text('{"status": "done"}')
    done = sweep(tmp_path, tiny, "seed=2,3")
    assert done.returncode == 2
    assert "'sweep' holds another sweep: give another hydra.sweep.dir, or remove it." in done.stderr
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["0-seed-1"]


def test_a_sweep_of_which_all_are_refused_ends_with_2(tiny: list[str], tmp_path: Path) -> None:
    done = sweep(tmp_path, tiny, "split=subject", "split.test_subjects=[76],[77]")
    assert done.returncode == 2
    assert set(statuses(tmp_path).values()) == {"refused"}


@pytest.mark.parametrize("flag", ["last", "middle"])
def test_the_flag_stands_anywhere_and_the_best_is_named(flag: str, tiny: list[str], tmp_path: Path) -> None:
    words = last_wins([*tiny, "optimizer.lr=1e-3,1e-4", "hydra.sweep.dir=sweep"])
    words.insert(len(words) if flag == "last" else 3, "-m")
    done = subprocess.run(
        [sys.executable, "-m", "gesture.train", *words], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert list(statuses(tmp_path)) == ["0-lr-0.001", "1-lr-0.0001"]
    test = next(line for line in done.stdout.splitlines() if line.startswith("test:"))
    line = test.removeprefix("test:").strip().replace("python", shlex.quote(sys.executable), 1)
    again = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "same" in again.stdout


def test_globs_over_choices_and_own_folders_are_swept(tiny: list[str], tmp_path: Path) -> None:
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\nloss:\n  label_smoothing: 0.2\n", encoding="utf-8")
    done = sweep(
        tmp_path, tiny, "optimizer=glob(adam*)", f"hydra.searchpath=[file://{tmp_path / 'own'}]", "experiment=mine"
    )
    assert done.returncode == 0, done.stderr
    assert list(statuses(tmp_path)) == ["0-optimizer-adam", "1-optimizer-adamw"]
    config = (tmp_path / "sweep" / "0-optimizer-adam" / "config.yaml").read_text(encoding="utf-8")
    assert "label_smoothing: 0.2" in config


@LAUNCHERS
def test_trials_of_several_backbones_share_a_directory_named_by_the_first(
    launcher: list[str], tiny: list[str], tmp_path: Path
) -> None:
    done = sweep_anywhere(tmp_path, tiny, "backbone.name=shufflenet_v2_x0_5,inception_v3", *launcher)
    assert done.returncode == 1, done.stderr
    [table] = tmp_path.glob("logs/*/*/sweep.csv")
    assert table.parent.parent.name == "shufflenet_v2_x0_5"
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["shufflenet_v2_x0_5"]
    with table.open(newline="", encoding="utf-8") as file:
        rows = [(row["trial"], row["status"]) for row in csv.DictReader(file)]
    assert rows == [("0-name-shufflenet_v2_x0_5", "done"), ("1-name-inception_v3", "refused")]
    assert f"2 trials in {table.parent.relative_to(tmp_path)}\n" in done.stdout


def test_trials_of_several_groups_choices_share_a_directory(tiny: list[str], tmp_path: Path) -> None:
    words = [word for word in tiny if not word.startswith("backbone.")]
    done = sweep_anywhere(tmp_path, words, "backbone=mobilenet_v3_small,resnet18")
    assert done.returncode == 0, done.stderr
    [table] = tmp_path.glob("logs/mobilenet_v3_small/*/sweep.csv")
    assert {path.name for path in table.parent.glob("*/")} == {"0-backbone-mobilenet_v3_small", "1-backbone-resnet18"}


def test_trials_are_called_as_the_person_wants_below_a_folder_with_blanks(tiny: list[str], tmp_path: Path) -> None:
    long = tmp_path / "a folder with blanks whose path is longer than the narrow table of a sweep that it holds"
    subdir = "hydra.sweep.subdir=${backbone.name}/s${seed}"
    done = sweep_anywhere(tmp_path, tiny, "seed=1,2", subdir, f"hydra.sweep.dir={long}")
    assert done.returncode == 0, done.stderr
    names = ["shufflenet_v2_x0_5/s1", "shufflenet_v2_x0_5/s2"]
    assert sorted(str(path.parent.relative_to(long)) for path in long.rglob("result.json")) == names
    with (long / "sweep.csv").open(newline="", encoding="utf-8") as file:
        assert [row["trial"] for row in csv.DictReader(file)] == names
    assert f"2 trials in {shlex.quote(str(long))}\n" in done.stdout
    best = next(line for line in done.stdout.splitlines() if line.startswith("best val/accuracy: "))
    assert shlex.split(best)[3] in [str(long / name) for name in names]
    assert f"run directory: {shlex.quote(str(long / names[0]))}\n" in done.stdout


def test_a_second_trial_of_the_same_name_is_not_passed_over(tiny: list[str], tmp_path: Path) -> None:
    done = sweep(tmp_path, tiny, "seed=1,2", "hydra.sweep.subdir=same")
    assert done.returncode == 1
    assert "holds a run already" in done.stdout
    assert statuses(tmp_path) == {"same": "done"}


def test_a_single_runs_directory_is_refused(tiny: list[str], tmp_path: Path) -> None:
    done = sweep_anywhere(tmp_path, tiny, "seed=1,2", "hydra.run.dir=x")
    assert done.returncode == 2
    assert done.stderr == "gesture: hydra.run.dir is a single run's: give a sweep's directory as hydra.sweep.dir.\n"
    assert not list(tmp_path.iterdir())


def test_an_interval_is_refused_with_a_remedy(tiny: list[str], tmp_path: Path) -> None:
    done = sweep(tmp_path, tiny, "optimizer.lr=interval(1e-4,1e-2)")
    assert done.returncode == 2
    assert "give values (optimizer.lr=1e-4,1e-3,1e-2, choice(...) or range(...)), or sweep=optuna." in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("whom", ["the group", "the parent"])
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_trials_of_other_processes_end_in_good_order(
    whom: str, signum: signal.Signals, code: int, tiny: list[str], tmp_path: Path
) -> None:
    words = ["seed=1,2,3", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "trainer.max_epochs=2000"]
    process = start(tmp_path, tiny, *words)
    wait_for_epochs(tmp_path, process, trials=2)

    (os.killpg if whom == "the group" else os.kill)(process.pid, signum)
    output, _ = process.communicate(timeout=120)

    assert process.returncode == code, output
    assert statuses(tmp_path) == {"0-seed-1": "interrupted", "1-seed-2": "interrupted"}
    assert len(list((tmp_path / "sweep").glob("*/checkpoints/last.ckpt"))) == 2
    assert output.count("stopped in epoch") == 2
    assert "Traceback" not in output
    assert [row["status"] for row in table_of(tmp_path)] == ["interrupted"] * 2
    assert "No trial is done.\n1 trial did not start.\n" in output
    assert sorted(path.name for path in (tmp_path / "sweep").glob("[!.]*")) == [
        "0-seed-1",
        "1-seed-2",
        "multirun.yaml",
        "sweep.csv",
    ]


def test_an_idle_process_of_the_launcher_does_not_end_the_others(tiny: list[str], tmp_path: Path) -> None:
    words = ["trainer.max_epochs=1,2000", "hydra/launcher=joblib", "hydra.launcher.n_jobs=4"]
    process = start(tmp_path, tiny, *words)
    wait_for_epochs(tmp_path, process, trials=2)
    while statuses(tmp_path)["0-max_epochs-1"] == "running":
        time.sleep(0.05)
    time.sleep(1)  # it waits for another job

    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)

    assert process.returncode == 130, output
    assert statuses(tmp_path) == {"0-max_epochs-1": "done", "1-max_epochs-2000": "interrupted"}
    assert "Traceback" not in output


def test_a_trial_killed_when_its_sweep_was_asked_twice_does_not_stay_running(tiny: list[str], tmp_path: Path) -> None:
    words = ["seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "trainer.max_epochs=2000"]
    process = start(tmp_path, tiny, *words)
    wait_for_epochs(tmp_path, process, trials=2)
    held = json.loads((tmp_path / "sweep" / "0-seed-1" / "result.json").read_text())["process"]["pid"]

    os.kill(held, signal.SIGSTOP)  # its step takes for ever
    process.send_signal(signal.SIGTERM)
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)

    assert process.returncode == 143, output
    assert statuses(tmp_path) == {"0-seed-1": "interrupted", "1-seed-2": "interrupted"}


def test_hydras_mode_is_as_good_as_the_flag(tiny: list[str], tmp_path: Path) -> None:
    words = last_wins([*tiny, "hydra.mode=MULTIRUN", "seed=1,2", "hydra.sweep.dir=sweep"])
    command = [sys.executable, "-m", "gesture.train", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert list(statuses(tmp_path)) == ["0-seed-1", "1-seed-2"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["backbone=resnet18,resnet5"], "backbone='resnet5' is unknown"),
        (["data.batch_size=8,0"], "data.batch_size=0 is out of range"),
        (["optimizer.lr=1e-3,fast"], "optimizer.lr=fast must be a number"),
        (["seed=1,2", "optimizer.lr=1e-3,0"], "optimizer.lr=0.0 is out of range"),
        (["name=${backbone.name},a/b"], "name='a/b' must be a plain folder name"),
    ],
)
def test_a_value_that_no_trial_can_run_with_refuses_the_sweep(words: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError) as refusal, initialized("train") as hydra:
        check_trials(hydra, "train", read_words(words, TrainConfig, multirun=True), TrainConfig)
    assert sentence in str(refusal.value)


def test_values_that_fit_are_checked_without_composing_each(monkeypatch: pytest.MonkeyPatch) -> None:
    folds = ",".join(map(str, range(217)))
    words = read_words([f"split.fold={folds}", "split=fold", "split.folds=217"], TrainConfig, multirun=True)
    with initialized("train") as hydra:
        composed: list[list[str]] = []
        compose_config = hydra.compose_config

        def counted(name: str, overrides: list[str], *args: object, **options: object) -> object:
            composed.append(overrides)
            return compose_config(name, overrides, *args, **options)

        monkeypatch.setattr(hydra, "compose_config", counted)
        check_trials(hydra, "train", words, TrainConfig)
    assert len(composed) == 1


def test_a_sweep_over_several_devices_wants_torchrun() -> None:
    assert "LOCAL_RANK" not in os.environ
    words = read_words(["seed=1,2", "trainer.devices=2"], TrainConfig, multirun=True)
    with pytest.raises(ConfigError, match="must be started by torchrun"), initialized("train") as hydra:
        check_trials(hydra, "train", words, TrainConfig)
