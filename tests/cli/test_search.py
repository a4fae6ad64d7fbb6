"""Searches: what they propose, how they judge, and what they are after kills, stops and several workers."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from benchmarks.words import last_wins

from gesture.cli.space import Space
from gesture.config.compose import compose, initialized
from gesture.config.refusals import ConfigError

SPACE = """
trials: 4
seed: 3
random_trials: 2
folds: null
p_threshold: 0.15
storage: sqlite
name: optuna
space:
  optimizer: {choices: [adam, sgd]}
  optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
  optimizer.momentum: {low: 0.0, high: 0.95, when: {optimizer: sgd}}
  data.batch_size: {low: 8, high: 24, step: 8}
"""


@pytest.fixture
def words(tiny: list[str], tmp_path: Path) -> list[str]:
    """A search of trainings of a second."""
    own = tmp_path / "own" / "sweep"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text(SPACE)
    few = ["trainer.limit_train_batches=2", "trainer.max_epochs=2"]
    fixed = [word for word in tiny if not word.startswith("data.batch_size")]
    return ["-m", "--config-dir=own", *last_wins([*fixed, *few]), "sweep=mine"]


def search(tmp_path: Path, words: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gesture.train", *last_wins([*words, "hydra.sweep.dir=found", *more])]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def study_in(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="gesture", storage=f"sqlite:///{folder / 'study.db'}")


def points(folder: Path) -> list[tuple[dict[str, object], float | None]]:
    """What was proposed and what came of it, in the order of the positions."""
    trials = [trial for trial in study_in(folder).trials if "words" in trial.user_attrs]
    return [(trial.params, trial.value) for trial in sorted(trials, key=lambda trial: trial.user_attrs["position"])]


def test_a_search_ends_with_a_table_an_experiment_and_plots(words: list[str], tmp_path: Path) -> None:
    done = search(tmp_path, words)
    assert done.returncode == 0, done.stderr
    found = tmp_path / "found"
    rows = table_of(found)
    assert len(rows) == 4
    assert {row["optimizer"] for row in rows} <= {"adam", "sgd"}
    assert all(bool(row["optimizer.momentum"]) == (row["optimizer"] == "sgd") for row in rows)
    assert all(
        1e-4 <= float(row["optimizer.lr"]) <= 1e-1 and int(row["data.batch_size"]) in (8, 16, 24) for row in rows
    )
    assert "4 settings in found" in done.stdout
    assert "watch: optuna-dashboard sqlite:///found/study.db" in done.stdout
    assert {path.name for path in (found / "plots").iterdir()} >= {"history.png"}

    best = max((row for row in rows if row["score"]), key=lambda row: float(row["score"]))
    command = ["-m", "gesture.train", "--config-dir=found", "experiment=best", "hydra.run.dir=again"]
    again = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "again" / "result.json").read_text())["score"] == float(best["score"])


def test_a_killed_search_proposes_what_the_unbroken_one_does(words: list[str], tmp_path: Path) -> None:
    more = ["sweep.trials=10", "trainer.max_epochs=1"]
    assert search(tmp_path, words, *more, "hydra.sweep.dir=whole").returncode == 0
    command = [sys.executable, "-m", "gesture.train", *last_wins([*words, *more, "hydra.sweep.dir=killed"])]
    for trials in (3, 6):  # killed in the third trial and again in the sixth
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 240
        while len(list((tmp_path / "killed").glob(f"{trials - 1}-*/config.yaml"))) < 1:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.wait()
    done = search(tmp_path, words, *more, "hydra.sweep.dir=killed")
    assert done.returncode == 0, done.stderr
    assert "going on with 'killed'" in done.stdout
    assert points(tmp_path / "killed") == points(tmp_path / "whole")


def test_a_stopped_search_goes_on_by_the_same_command(words: list[str], tmp_path: Path) -> None:
    words = last_wins([*words, "sweep.trials=3", "trainer.limit_train_batches=1.0"])
    command = [sys.executable, "-m", "gesture.train", *words]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("logs/*/*/1-*/config.yaml")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert b"Traceback" not in output
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    [found] = tmp_path.glob("logs/*/*/")
    assert len(points(found)) == 3


def test_two_workers_share_a_study_and_each_setting_is_judged_once(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gesture.train", *last_wins([*words, "sweep.trials=6", "hydra.sweep.dir=found"])]
    workers = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    outputs = [worker.communicate(timeout=600)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    trials = study_in(tmp_path / "found").trials
    assert sorted(trial.user_attrs["position"] for trial in trials) == list(range(6))
    assert len({trial.user_attrs["process"]["pid"] for trial in trials}) == 2
    assert len(list((tmp_path / "found").glob("*/result.json"))) == 6


OPENING = """
import sys
from pathlib import Path
from gesture.cli.study import Study
from gesture.config.schema import Search

class Settings(Search):
    pass

print("ready", flush=True)
sys.stdin.readline()
settings = Search(name="optuna", resume=None, trials=2, seed=0, random_trials=2, folds=None, p_threshold=0.1,
                  storage="sqlite", space={})
Study(Path("found"), settings, "val/accuracy", True, epochs=2)
"""


def test_workers_that_begin_at_once_open_one_study(tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING],
            cwd=tmp_path,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    ended = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], ended


def test_what_no_setting_mends_stops_a_search_that_goes_on_once_it_is_mended(words: list[str], tmp_path: Path) -> None:
    root = next(word for word in words if word.startswith("data.root="))
    moved = tmp_path / "gone"
    away = ["data.root=gone" if word == root else word for word in words]
    moved.symlink_to(tmp_path / "nowhere")
    stopped = search(tmp_path, away)
    assert stopped.returncode == 2, stopped.stdout
    assert "the search stops, since other settings would not help: " in stopped.stderr
    assert "2 settings in found: 2 proposed" in stopped.stdout
    assert study_in(tmp_path / "found").get_trials(states=[optuna.trial.TrialState.FAIL]) == []

    moved.unlink()
    moved.symlink_to(root.removeprefix("data.root="))
    done = search(tmp_path, away)
    assert done.returncode == 0, done.stderr
    assert [value is not None for _, value in points(tmp_path / "found")] == [True] * 4


def test_a_setting_that_is_refused_is_passed_over_with_its_reason(words: list[str], tmp_path: Path) -> None:
    """Nobody is left to train on where both of three people validate and test."""
    space = "{split.folds: {choices: [3, 4]}}"
    (tmp_path / "own" / "sweep" / "mine.yaml").write_text(f"{SPACE[: SPACE.index('space:')]}space: {space}\n")
    done = search(tmp_path, words, "split=fold", "sweep.trials=5", "sweep.seed=0")
    assert done.returncode == 0, done.stderr
    rows = table_of(tmp_path / "found")
    assert {(row["split.folds"], row["status"]) for row in rows} == {("3", "done"), ("4", "refused")}
    assert "refused: split.folds=4 is more than there are people in the data (3)" in done.stdout


def test_a_full_disk_stops_a_search_and_uses_up_no_trial(
    words: list[str], tmp_path: Path, disk_of: Callable[[str], Path]
) -> None:
    disk = disk_of("128m")
    asked = ["sweep.trials=3", f"hydra.sweep.dir={disk / 'found'}"]
    stopped = search(tmp_path, words, *asked)
    assert stopped.returncode == 1, stopped.stdout
    assert "the search stops, since other settings would not help: hydra.sweep.dir '" in stopped.stderr
    assert len(table_of(disk / "found")) < 3

    subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
    done = search(tmp_path, words, *asked)
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in table_of(disk / "found")] == ["done"] * 3


def test_a_search_by_one_batch_is_refused(words: list[str], tmp_path: Path) -> None:
    done = search(tmp_path, words, "trainer.fast_dev_run=true")
    assert done.returncode == 2
    assert "trainer.fast_dev_run=true gives no score to search by" in done.stderr


RAISING = """
import os, random, signal

original = random.seed

def seed(value=None, *rest):
    if value == 7:
        raise ZeroDivisionError("a fault of ours")
    if value == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    original(value, *rest)

random.seed = seed
"""


def test_raising_diverging_and_killed_trials_are_passed_over(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(RAISING)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    space = "{seed: {choices: [7, 9, 1]}, optimizer.lr: {choices: [1e-3, 1e30], when: {seed: 1}}}"
    (tmp_path / "own" / "sweep" / "mine.yaml").write_text(f"{SPACE[: SPACE.index('space:')]}space: {space}\n")
    more = ["optimizer=sgd", "sweep.trials=12", "sweep.seed=1"]
    for _ in range(30):
        done = search(tmp_path, words, *more)
        if done.returncode != -signal.SIGKILL:
            break
    assert done.returncode == 0, done.stderr
    rows = table_of(tmp_path / "found")
    assert len(rows) == 12
    ended = {(row["seed"], row["optimizer.lr"]): (row["status"], row["error"]) for row in rows}
    assert ended["7", ""] == ("failed", "ZeroDivisionError: a fault of ours")
    assert ended["9", ""] == ("failed", "its process was killed 2 times, for want of memory most likely")
    assert ended["1", "0.001"][0] in ("done", "dropped")
    assert "the loss is nan" in ended["1", "1e+30"][1]


def test_a_setting_that_loses_on_its_folds_is_dropped(words: list[str], tmp_path: Path) -> None:
    """Of one that learns nothing three folds of five are enough."""
    space = "{optimizer.lr: {choices: [1e-3, 1e-9]}}"
    (tmp_path / "own" / "sweep" / "mine.yaml").write_text(f"{SPACE[: SPACE.index('space:')]}space: {space}\n")
    data = ["data=synthetic", "data.root=five", "data.subjects=5", "data.frames=4", "data.batch_size=32"]
    more = [*data, "sweep.folds=5", "sweep.trials=3", "trainer.limit_train_batches=1.0", "trainer.max_epochs=5"]
    done = search(tmp_path, words, *more)
    assert done.returncode == 0, done.stderr
    folds = {path.name: len(list(path.glob("fold-*/result.json"))) for path in (tmp_path / "found").glob("[0-9]*")}
    values = {trial.params["optimizer.lr"]: trial.state.name for trial in study_in(tmp_path / "found").trials}
    assert values["0.001"] == "COMPLETE", values
    assert sorted(folds.values())[0] < 5, folds
    assert values["1e-09"] == "PRUNED"


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ({"optimizer.rl": {"low": 0, "high": 1}}, "optimizer.rl is not a setting: did you mean optimizer.lr"),
        ({"optimizer.lr": {"low": 1e-3}}, "sweep.space.optimizer.lr must have either low and high, or choices"),
        ({"optimizer.lr": {"low": 1, "high": 0}}, "sweep.space.optimizer.lr cannot be searched"),
        ({"optimizer.lr": {"low": 0.0, "high": 1.0, "log": True}}, "sweep.space.optimizer.lr cannot be searched"),
        ({"optimizer.lr": {"low": 0.0, "high": 1.0, "lgo": True}}, "lgo is unknown: did you mean low, log?"),
        ({"optimizer.lr": {"low": "a", "high": 1.0}}, "must be numbers, not a, 1.0"),
        ({"optimizer": {"choices": []}}, "choices is empty"),
        (
            {"seed": {"choices": [1], "when": {"optimizer": "sgd"}}, "optimizer": {"choices": ["sgd"]}},
            "but optimizer stands behind it: put optimizer first",
        ),
        (
            {"optimizer": {"choices": ["sgd"]}, "seed": {"choices": [1], "when": {"optimizer": "sdg"}}},
            "but its choices are others: did you mean sgd?",
        ),
        ({}, "nothing is searched"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Space.read(space, [], compose("train"), None)
    assert sentence in str(refusal.value)


def test_what_is_typed_narrows_a_space_and_comes_before_what_depends_on_it() -> None:
    plain = {
        "optimizer": {"choices": ["adam", "adamw", "sgd"]},
        "optimizer.weight_decay": {"low": 0.0, "high": 0.1, "when": {"optimizer": ["adamw", "sgd"]}},
        "optimizer.momentum": {"low": 0.0, "high": 0.9, "when": {"optimizer": "sgd"}},
        "backbone.freeze_epochs": {"low": 0, "high": 3, "when": {"backbone": "resnet50"}},
    }
    rates = "optimizer.lr=tag(log,interval(1e-4,1e-2))"
    words = ["optimizer=adam,adamw", "backbone=resnet18,resnet50", rates, "seed=3"]
    config = compose("train")
    with initialized("train") as hydra:
        space = Space.read(plain, words, config, hydra.config_loader)
        fixed = Space.read(plain, ["optimizer=adam"], config, hydra.config_loader)
        corners = space.corners()
    assert space.given == ["seed=3"]
    assert not fixed.corners()  # neither of an optimizer nor of a backbone that is not there
    assert [dimension.key for dimension in space.dimensions][:2] == ["backbone", "optimizer.lr"]
    assert not any("momentum" in word for corner in corners for word in corner)  # no choice left has it
    assert any("optimizer.weight_decay=0.1" in corner and "optimizer=adamw" in corner for corner in corners)
    assert any("backbone.freeze_epochs=3" in corner and "backbone=resnet50" in corner for corner in corners)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        words = space.propose(study.ask())
        assert any("weight_decay" in word for word in words) == ("optimizer=adamw" in words)
        assert any("freeze_epochs" in word for word in words) == ("backbone=resnet50" in words)
        [rate] = [float(word.partition("=")[2]) for word in words if word.startswith("optimizer.lr=")]
        assert 1e-4 <= rate <= 1e-2
