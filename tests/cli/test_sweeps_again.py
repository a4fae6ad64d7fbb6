"""A sweep that was stopped, killed or lost trials goes on: by the same command, or by its directory."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.words import last_wins

JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
SUBMITIT = ["hydra/launcher=submitit_local"]
ODD_SEEDS = """
import os, random, signal
from pathlib import Path

original = random.seed

def fill():
    \"\"\"Take memory until the system kills this process, whose control group has little.\"\"\"
    group = Path(os.environ["LITTLE_MEMORY"])
    if group.is_dir():
        (group / "cgroup.procs").write_text(str(os.getpid()))
        kept = [bytearray(2**20) for _ in range(4096)]
    os.kill(os.getpid(), signal.SIGKILL)

def seed(value=None, *rest):
    if value == 7:
        raise ZeroDivisionError("a fault of ours")
    if value == 9:
        fill()
    original(value, *rest)

random.seed = seed
"""
"""As sitecustomize.py, which every process runs first, a launcher's too."""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials with seed 7 raise; those with seed 9 are killed for memory, where a control group can be made for them."""
    (tmp_path / "sitecustomize.py").write_text(ODD_SEEDS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    group = Path(f"/sys/fs/cgroup/memory/gesture-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(700 * 2**20))
    except OSError:
        pass  # not root, or not this kind of control group: the trial kills itself
    monkeypatch.setenv("LITTLE_MEMORY", str(group))


def command(words: list[str], *more: str) -> list[str]:
    return [sys.executable, "-m", "gesture.train", "-m", *last_wins([*words, *more])]


def sweep(tmp_path: Path, words: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(words, *more), cwd=tmp_path, capture_output=True, text=True, timeout=600)


def table_of(sweep_dir: Path) -> dict[str, dict[str, str]]:
    with (sweep_dir / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return {row["trial"]: row for row in csv.DictReader(file)}


def started_twice(sweep_dir: Path) -> set[str]:
    """The trials that went on."""
    return {path.parent.name for path in sweep_dir.glob("*/result.json") if json.loads(path.read_text())["resumed"]}


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize("launcher", [JOBLIB, SUBMITIT], ids=["joblib", "submitit"])
def test_four_trials_of_which_one_diverges_one_raises_and_one_is_killed(
    launcher: list[str], tiny: list[str], tmp_path: Path
) -> None:
    """Stopped half-way and issued again, the others are done, and each says what became of it."""
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    settings = {"good": "seed: 1", "diverging": "optimizer: {lr: 1e30}", "raising": "seed: 7", "killed": "seed: 9"}
    for name, setting in settings.items():
        defaults = "defaults: [{override /optimizer: sgd}]"
        (own / f"{name}.yaml").write_text(f"# @package _global_\n{defaults}\ntrainer: {{max_epochs: 40}}\n{setting}\n")
    plain = [word for word in tiny if not word.startswith("trainer.max_epochs")]
    words = [*plain, "--config-dir=own", f"experiment={','.join(settings)}", "hydra.sweep.dir=sweep", *launcher]
    process = subprocess.Popen(
        command(words),
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "sweep/0-experiment-good/metrics.csv").is_file():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143, output

    done = sweep(tmp_path, words)

    assert done.returncode == 1, done.stderr
    rows = table_of(tmp_path / "sweep")
    assert {name: row["status"] for name, row in rows.items()} == {
        "0-experiment-good": "done",
        "1-experiment-diverging": "failed",
        "2-experiment-raising": "failed",
        "3-experiment-killed": "failed",
    }, done.stdout
    assert "the loss is" in rows["1-experiment-diverging"]["error"]
    assert rows["2-experiment-raising"]["error"] == "ZeroDivisionError: a fault of ours"
    assert rows["3-experiment-killed"]["error"] == "its process was killed, for want of memory most likely"
    assert "0-experiment-good" in started_twice(tmp_path / "sweep")


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize("launcher", [JOBLIB, SUBMITIT], ids=["joblib", "submitit"])
def test_a_killed_trial_loses_only_itself(launcher: list[str], tiny: list[str], tmp_path: Path) -> None:
    done = sweep(tmp_path, tiny, "seed=9,1,2,3", "hydra.sweep.dir=sweep", *launcher)
    assert done.returncode == 1, done.stderr
    rows = table_of(tmp_path / "sweep")
    assert {name: row["status"] for name, row in rows.items()} == {
        "0-seed-9": "failed",
        "1-seed-1": "done",
        "2-seed-2": "done",
        "3-seed-3": "done",
    }
    assert "best val/accuracy" in done.stdout


def test_the_same_command_goes_on_after_a_kill_and_what_is_done_is_kept(tiny: list[str], tmp_path: Path) -> None:
    words = ["seed=1,2,3", "trainer.max_epochs=30"]
    process = subprocess.Popen(command(tiny, *words), cwd=tmp_path, text=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("logs/*/*/1-seed-2/metrics.csv")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    [sweep_dir] = tmp_path.glob("logs/*/*/")
    kept = (sweep_dir / "0-seed-1" / "result.json").read_bytes()
    damaged = sweep_dir.with_name("9999-damaged") / "multirun.yaml"
    damaged.parent.mkdir()
    damaged.write_text("{")

    done = sweep(tmp_path, tiny, *words)

    assert done.returncode == 0, done.stderr
    assert f"going on with '{sweep_dir.relative_to(tmp_path)}': 1 of 3 trials done." in done.stdout
    assert [row["status"] for row in table_of(sweep_dir).values()] == ["done"] * 3
    assert started_twice(sweep_dir) == {"1-seed-2"}
    assert (sweep_dir / "0-seed-1" / "result.json").read_bytes() == kept

    again = sweep(tmp_path, tiny, *words)  # nothing is left of that one: a new one
    assert again.returncode == 0, again.stderr
    assert len(list(tmp_path.glob("logs/*/*/sweep.csv"))) == 2


def test_trials_of_a_killed_sweep_stop_and_are_never_trained_by_two(tiny: list[str], tmp_path: Path) -> None:
    """Joblib's processes would train on, and stay when they have ended."""
    words = ["seed=1,2", "trainer.max_epochs=200", "hydra.sweep.dir=sweep", "checkpoint.every_n_steps=1", *JOBLIB]
    process = subprocess.Popen(command(tiny, *words), cwd=tmp_path, text=True, stdout=subprocess.DEVNULL)
    trials = [tmp_path / "sweep" / name for name in ("0-seed-1", "1-seed-2")]
    deadline = time.monotonic() + 240
    while not all((trial / "checkpoints" / "last.ckpt").is_file() for trial in trials):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pids = [json.loads((trial / "result.json").read_text())["process"]["pid"] for trial in trials]
    process.kill()
    process.wait()

    again = subprocess.Popen(
        command(tiny, *words), cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while len(started_twice(tmp_path / "sweep")) < 2:
        assert again.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    again.terminate()
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 143, output
    assert "refused" not in output
    logs = [(trial / "train.log").read_text() for trial in trials]
    assert all("stopped by SIGTERM" in log or "stopped in epoch" in log for log in logs)


def test_a_trial_that_another_process_trains_is_waited_for(tiny: list[str], tmp_path: Path) -> None:
    words = ["seed=1,2", "hydra.sweep.dir=sweep"]
    assert sweep(tmp_path, tiny, *words).returncode == 0
    other = subprocess.Popen(["sleep", "600"])
    record = tmp_path / "sweep" / "0-seed-1" / "result.json"
    process = {"pid": other.pid, "host": socket.gethostname(), "began": None, "job": None}
    record.write_text(json.dumps({**json.loads(record.read_text()), "status": "running", "process": process}))
    again = subprocess.Popen(
        command(tiny, *words), cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert again.stdout is not None
    for line in again.stdout:
        if f"waiting for what is being trained already: 0-seed-1 (process {other.pid})." in line:
            other.kill()
            other.wait()
            break
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert started_twice(tmp_path / "sweep") == {"0-seed-1"}


def test_a_trial_that_another_host_trains_is_left_to_it(tiny: list[str], tmp_path: Path) -> None:
    words = ["seed=1,2", "hydra.sweep.dir=sweep"]
    assert sweep(tmp_path, tiny, *words).returncode == 0
    record = tmp_path / "sweep" / "0-seed-1" / "result.json"
    theirs = json.loads(record.read_text())
    theirs |= {"status": "running", "process": {**theirs["process"], "host": "another"}}
    record.write_text(json.dumps(theirs))
    done = sweep(tmp_path, tiny, *words)
    assert done.returncode == 1, done.stderr
    assert "0-seed-1 is left to process" in done.stdout
    assert json.loads(record.read_text()) == theirs


def test_a_sweep_goes_on_by_its_directory_with_another_launcher(tiny: list[str], tmp_path: Path) -> None:
    words = ["split=subject", "split.test_subjects=[0],[77]", "hydra.sweep.dir=sweep"]
    assert sweep(tmp_path, tiny, *words).returncode == 1
    kept = (tmp_path / "sweep" / "0-test_subjects-0" / "result.json").read_bytes()
    resume = [sys.executable, "-m", "gesture.train", "-m", "sweep.resume=sweep"]
    again = subprocess.run([*resume, *JOBLIB], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert again.returncode == 1, again.stderr
    assert (tmp_path / "sweep" / "0-test_subjects-0" / "result.json").read_bytes() == kept
    assert "who is not in the data" in table_of(tmp_path / "sweep")["1-test_subjects-77"]["error"]
    assert table_of(tmp_path / "sweep")["1-test_subjects-77"]["status"] == "refused"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sweep.resume=nowhere"], "sweep.resume='nowhere' is no sweep's directory: give logs/<name>/<sweep>, auto"),
        (["sweep.resume=sweep", "seed=3"], "sweep.resume= goes on with the words its sweep had: leave out seed=3."),
        (["seed=1,2", "hydra.sweep.dir=sweep", "sweep.resume=null"], "'sweep' holds this sweep already: leave out"),
        (["seed=1,3", "hydra.sweep.dir=sweep"], "'sweep' holds another sweep: give another hydra.sweep.dir"),
        (["seed=1,2", "resume=auto"], "a sweep goes on with sweep.resume=<its directory>"),
        (["sweep=optuna", "optimizer=sgd", "hydra.sweep.dir=sweep"], "'sweep' holds another sweep"),
    ],
)
def test_what_is_no_way_to_go_on_is_refused(words: list[str], sentence: str, tmp_path: Path) -> None:
    """Nothing is trained: the sweep that is there was refused by its data."""
    first = ["data=folder", "data.root=empty", "seed=1,2", "hydra.sweep.dir=sweep"]
    (tmp_path / "empty").mkdir()
    assert sweep(tmp_path, first).returncode == 2
    given = words if words[0].startswith("sweep.resume") else [*first[:2], *words]
    done = sweep(tmp_path, given)
    assert done.returncode == 2, done.stdout
    assert sentence in done.stderr


def test_two_sweeps_do_not_share_a_directory(tiny: list[str], tmp_path: Path) -> None:
    words = ["seed=1,2", "hydra.sweep.dir=sweep", "trainer.max_epochs=2000"]
    process = subprocess.Popen(command(tiny, *words), cwd=tmp_path, text=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("sweep/0-seed-1/metrics.csv")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = sweep(tmp_path, tiny, *words)
    process.terminate()
    process.wait(timeout=60)
    assert second.returncode == 2
    assert "'sweep' is being worked on by another process: wait for it, or stop it." in second.stderr


def test_a_single_run_takes_no_sweep(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gesture.train", "sweep=optuna"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "gesture: sweep=optuna is for many trainings: add -m, or leave it out.\n"
