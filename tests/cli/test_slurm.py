"""A real Slurm, where one runs: trainings that it queues again go on, and a sweep's trials are its jobs.

With Debian's slurm-wlm a single machine will do: one node, ProctrackType=proctrack/linuxproc, TaskPlugin=task/none.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from benchmarks.words import last_wins
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from test_search import SPACE
from test_sweeps import start, statuses, sweep, table_of, wait_for_epochs

from conftest import call
from gesture import train


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def answers() -> bool:
    try:
        return bool(slurm("sinfo", "--noheader", "--states=idle,mixed"))
    except (OSError, subprocess.SubprocessError):
        return False


pytestmark = pytest.mark.skipif(not answers(), reason="needs a Slurm that runs here: sinfo shows no free node")

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
TRAIN_SH, SEARCH_SH = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
ASKS_FOR = "#SBATCH --cpus-per-task=4 --mem=16G --gpus=1\n"
ELSEWHERE = """unshare --uts sh -c 'hostname "host$SLURM_RESTART_COUNT"; exec "$@"' -"""
"""Another host each time, as far as a process can tell."""


def wait_until(condition: Callable[[], object], job: str) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, slurm("scontrol", "show", "job", job)
        time.sleep(0.1)


@pytest.fixture
def submitted() -> Iterator[list[str]]:
    """Jobs that are cancelled at the test's end."""
    jobs: list[str] = []
    yield jobs
    subprocess.run(["scancel", *jobs], check=True)


def submit(script: str, words: list[str], cwd: Path, submitted: list[str], *options: str) -> str:
    path = cwd / "job.sh"
    path.write_text(script)
    done = subprocess.run(
        ["sbatch", "--parsable", *options, str(path), *words], cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    submitted.append(done.stdout.strip())
    return submitted[-1]


def state(job: str) -> str:
    return slurm("squeue", "--noheader", "--jobs", job, "--format=%T")


def array_of(tmp_path: Path) -> str:
    """The number of the array that a sweep's trials are."""
    [first] = (tmp_path / "sweep" / ".submitit").glob("*_0")
    return first.name.removesuffix("_0")


def begin_now(job: str) -> None:
    """Slurm lets two minutes pass before a job that was queued again; its credentials take a second."""
    wait_until(lambda: state(job) == "PENDING", job)
    slurm("scontrol", "update", f"job={job}", "StartTime=now+3")


@pytest.mark.parametrize("how", ["asked", "killed elsewhere"])
def test_a_job_that_is_queued_again_goes_on_bit_for_bit(
    how: str, tiny: list[str], tmp_path: Path, submitted: list[str]
) -> None:
    if how == "killed elsewhere" and (os.geteuid() != 0 or shutil.which("unshare") is None):
        pytest.skip("another host's name wants root and unshare")
    recipe = ["trainer.max_epochs=4", "data.batch_size=4", "augment=light", "checkpoint.every_n_steps=5"]
    words = last_wins([*tiny, *recipe])
    assert call(train.main, *words, f"hydra.run.dir={tmp_path / 'unbroken'}") == 0

    before = ELSEWHERE if how == "killed elsewhere" else ""
    assert ASKS_FOR in TRAIN_SH
    script = TRAIN_SH.replace(ASKS_FOR, "").replace("gesture train", f"{before} {sys.executable} -m gesture.train")
    job = submit(script, [*words, "name=one"], tmp_path, submitted, "--output=job.out")
    runs = tmp_path / "logs" / "one"
    wait_until(lambda: list(runs.glob("*/checkpoints/previous.ckpt")), job)
    [run] = runs.iterdir()
    first = json.loads((run / "result.json").read_text())
    assert first["status"] == "running"
    if how == "asked":
        slurm("scontrol", "requeue", job)
    else:
        os.kill(first["process"]["pid"], signal.SIGKILL)
        wait_until(lambda: "Killed" in (tmp_path / "job.out").read_text(), job)
        slurm("scontrol", "requeue", job)
        assert json.loads((run / "result.json").read_text())["status"] == "running"
    begin_now(job)
    wait_until(lambda: state(job) == "", job)

    assert [path.name for path in runs.iterdir()] == [run.name]
    record = json.loads((run / "result.json").read_text())
    assert record["status"] == "done"
    assert len(record["resumed"]) == 1
    assert record["process"]["job"] == {"id": f"slurm {job}", "beginnings": 2}
    assert (record["process"]["host"] != first["process"]["host"]) == (how == "killed elsewhere")
    assert (run / "predictions.csv").read_bytes() == (tmp_path / "unbroken" / "predictions.csv").read_bytes()


def test_a_sweeps_trials_are_jobs_that_end_each_for_itself(tiny: list[str], tmp_path: Path) -> None:
    words = ["launcher=slurm", "launcher.minutes=20", "launcher.at_once=3", "seed=1,2,3", "trainer.max_epochs=6"]
    process = start(tmp_path, tiny, *words)
    killed, preempted = tmp_path / "sweep" / "0-seed-1", tmp_path / "sweep" / "1-seed-2"
    wait_for_epochs(tmp_path, process, trials=2)
    os.kill(json.loads((killed / "result.json").read_text())["process"]["pid"], signal.SIGKILL)
    job = array_of(tmp_path)
    slurm("scancel", "--signal=TERM", f"{job}_1")  # as before it is preempted
    begin_now(f"{job}_1")
    output, _ = process.communicate(timeout=300)

    assert process.returncode == 0, output
    assert [row["status"] for row in table_of(tmp_path)] == ["done", "done", "done"]
    assert output.count("was lost") == 1
    assert "Requeued job" in (preempted / "train.log").read_text()
    assert "stopped in epoch" in (preempted / "train.log").read_text()


def test_a_trial_that_somebody_cancels_is_not_queued_again(tiny: list[str], tmp_path: Path) -> None:
    process = start(tmp_path, tiny, "launcher=slurm", "launcher.minutes=20", "seed=1,2", "trainer.max_epochs=2000")
    wait_for_epochs(tmp_path, process, trials=1)
    job = array_of(tmp_path)
    slurm("scancel", job)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert statuses(tmp_path)["0-seed-1"] == "interrupted"
    assert "Requeued job" not in (tmp_path / "sweep" / "0-seed-1" / "train.log").read_text()
    assert state(job) == ""


def test_jobs_that_slurm_refuses_are_refused_in_a_sentence(tiny: list[str], tmp_path: Path) -> None:
    done = sweep(tmp_path, tiny, "launcher=slurm", "launcher.partition=nowhere", "seed=1,2")
    assert done.returncode == 2
    [sentence] = [line for line in done.stderr.splitlines() if line.startswith("gesture: ")]
    assert "Slurm takes no such jobs (error: invalid partition specified: nowhere): change launcher.*" in sentence
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_takes_its_jobs_from_the_queue(
    signum: signal.Signals, tiny: list[str], tmp_path: Path
) -> None:
    words = ["launcher=slurm", "launcher.minutes=20", "launcher.at_once=1", "seed=1,2", "trainer.max_epochs=2000"]
    process = start(tmp_path, tiny, *words)
    wait_for_epochs(tmp_path, process, trials=1)
    job = array_of(tmp_path)
    process.send_signal(signum)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signum, output
    assert statuses(tmp_path) == {"0-seed-1": "interrupted"}
    assert (tmp_path / "sweep" / "0-seed-1" / "checkpoints" / "last.ckpt").is_file()
    assert state(job) == ""


def test_two_tasks_of_srun_make_one_run(tiny: list[str], tmp_path: Path) -> None:
    words = last_wins([*tiny, "trainer.strategy=ddp", "data.batch_size=2", "hydra.run.dir=run"])
    tasks = ["srun", "--ntasks-per-node=2", "--time=10", sys.executable, "-m", "gesture.train", *words]
    done = subprocess.run(tasks, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "done"
    assert sum(map(sum, result["confusion_matrix"])) == result["split_sizes"]["test"]
    assert (tmp_path / "run" / "metrics.csv").read_text().splitlines()[1].split(",")[1] == "30"


def test_one_process_trains_whatever_tasks_its_job_has(tiny: list[str], tmp_path: Path) -> None:
    script = f'#!/bin/bash\n{shlex.quote(sys.executable)} -m gesture.train "$@"\n'
    words = last_wins([*tiny, "hydra.run.dir=run"])
    (tmp_path / "job.sh").write_text(script)
    waiting = ["sbatch", "--wait", "--output=job.out", "--ntasks-per-node=2", "job.sh", *words]
    done = subprocess.run(waiting, cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode == 0, (tmp_path / "job.out").read_text()
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "done"


def test_a_searchs_worker_that_is_preempted_goes_on_where_it_stopped(
    tiny: list[str], tmp_path: Path, submitted: list[str]
) -> None:
    own = tmp_path / "own" / "sweep"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text(SPACE.replace("trials: 4", "trials: 100"))
    assert ASKS_FOR in SEARCH_SH
    documented = "gesture train -m sweep=optuna sweep.trials=100 "
    assert documented in SEARCH_SH
    script = SEARCH_SH.replace(ASKS_FOR, "").replace(
        documented, f'{sys.executable} -m gesture.train -m --config-dir=own sweep=mine sweep.trials=6 "$@" '
    )
    words = last_wins([*(word for word in tiny if not word.startswith("data.batch_size")), "trainer.max_epochs=20"])
    array = submit(script, words, tmp_path, submitted, "--array=0-1", "--output=job-%a.out")
    found = tmp_path / "logs" / "search"
    wait_until(lambda: len(list(found.glob("*/metrics.csv"))) == 2, array)
    identity = f"slurm {slurm('squeue', '--noheader', '--jobs', f'{array}_0', '--format=%A')}"
    [preempted] = [
        path.parent
        for path in found.glob("*/result.json")
        if json.loads(path.read_text())["process"]["job"]["id"] == identity
    ]
    slurm("scancel", "--signal=TERM", f"{array}_0")  # as before it is preempted
    begin_now(f"{array}_0")
    wait_until(lambda: state(array) == "", array)

    records = [json.loads(path.read_text()) for path in found.glob("*/result.json")]
    assert [record["status"] for record in records] == ["done"] * 6
    assert "stopped in epoch" in (preempted / "train.log").read_text()
    assert sum(len(record["resumed"]) for record in records) == 1
    storage = JournalStorage(JournalFileBackend(str(found / "study.journal")))
    study = optuna.load_study(study_name="gesture", storage=storage)
    assert sorted(trial.user_attrs["position"] for trial in study.trials) == list(range(6))
    assert (found / "experiment" / "best.yaml").is_file()
