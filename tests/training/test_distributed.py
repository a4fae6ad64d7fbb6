"""Two processes, as torchrun starts them: one record, and figures over all images, each counted once."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest


def test_two_processes_make_one_run(tiny: list[str], tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29571"]
    words = ["-m", "gesture.train", *tiny, "trainer.devices=2", "trainer.strategy=ddp", "data.batch_size=2"]
    done = subprocess.run([*launcher, *words], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "logs").rglob("result.json")
    result = json.loads(path.read_text())
    assert result["status"] == "done"
    assert np.sum(result["confusion_matrix"]) == result["split_sizes"]["test"]
    rows = list(csv.DictReader((path.parent / "predictions.csv").open()))
    assert (
        len(rows) == len({row["path"] for row in rows}) == result["split_sizes"]["val"] + result["split_sizes"]["test"]
    )
    [epoch] = csv.DictReader((path.parent / "metrics.csv").open())  # 30 steps, fewer than Lightning is told at
    assert any(name.startswith("lr-") for name in epoch)
    names = result["class_names"]
    tested = [row for row in rows if row["split"] == "test"]
    hits = [row["gesture"] == names[np.argmax([float(row[name]) for name in names])] for row in tested]
    assert np.mean(hits) == pytest.approx(result["metrics"]["test/accuracy"])


def test_a_process_leaves_its_group_before_it_ends(tiny: list[str], tmp_path: Path) -> None:
    """Two in a hundred that did not leave were aborted at their end by a thread of gloo's."""
    program = """
import atexit
import torch
atexit.register(lambda: print("initialized:", torch.distributed.is_initialized()))  # the first to register runs last
from gesture.train import main
main()
"""
    command = [sys.executable, "-c", program, *tiny, "trainer.strategy=ddp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("initialized: False\n")


def test_a_signal_to_the_first_of_two_processes_stops_both(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*tiny, "trainer.devices=2", "trainer.strategy=ddp", "trainer.max_epochs=2000", f"hydra.run.dir={run}"]
    command = [sys.executable, "-m", "gesture.train", *words]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not (run / "metrics.csv").is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)  # returns when the last process that holds the pipe is gone
    assert process.returncode == 143
    assert json.loads((run / "result.json").read_text())["status"] == "interrupted"
    assert (run / "checkpoints" / "last.ckpt").is_file()
