"""Signals to real processes: a checkpoint between two steps, an honest status, the right exit code."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
import torch
from benchmarks.words import last_wins

from gesture.runs.result import status_of

LONG = ["trainer.max_epochs=2000"]


def start(words: list[str], cwd: Path, **streams: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "gesture.train", *last_wins(words)], cwd=cwd, **streams)  # type: ignore[call-overload, no-any-return]


def wait_for(path: Path, process: subprocess.Popen[bytes], lines: int = 1) -> None:
    deadline = time.monotonic() + 90
    while not path.is_file() or len(path.read_text().splitlines()) < lines:
        assert process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_stopped_run_keeps_a_checkpoint_and_says_so(signum: int, code: int, tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start([*tiny, *LONG, f"hydra.run.dir={run}"], tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(run / "metrics.csv", process, lines=3)
    process.send_signal(signum)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in output
    assert b"stopped in epoch" in output
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "interrupted"
    assert result["error"] == f"stopped by {signal.Signals(signum).name}"
    assert result["epochs"] >= 2
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["epoch"] >= 2  # not the one saved at the end of an epoch before
    assert checkpoint["gesture"]["class_names"]
    assert set(checkpoint["optimizer_states"][0]["state"])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_killed_run_has_recorded_every_epoch_that_it_told_of(tiny: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start([*tiny, *LONG, f"hydra.run.dir={run}"], tmp_path, stdout=subprocess.DEVNULL)
    wait_for(run / "metrics.csv", process, lines=3)
    process.kill()
    process.wait(timeout=60)
    record = json.loads((run / "result.json").read_text())
    assert record["status"] == "running"
    assert status_of(record) == "died"
    assert record["epochs"] >= 2
    assert record["best_epoch"] < record["epochs"]
    assert 0 <= record["score"] <= 1


def test_a_signal_while_data_are_prepared_ends_at_once(tmp_path: Path) -> None:
    words = ["data=synthetic", "data.frames=200", "accelerator=cpu"]
    process = start(words, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    process.stdout.readline()  # it began to render
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert b"Traceback" not in output
    assert not list(tmp_path.rglob("*.png"))


def test_a_signal_ends_a_whole_sweep(tiny: list[str], tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    words = ["-m", *tiny, *LONG, "seed=1,2", f"hydra.sweep.dir={sweep}"]
    process = start(words, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 90
    while not list(sweep.glob("0-*/metrics.csv")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(next(sweep.glob("0-*/result.json")).read_text())["status"] == "interrupted"
    assert not list(sweep.glob("1-*/metrics.csv"))


def read_terminal(process: subprocess.Popen[bytes], terminal: int) -> str:
    """Everything a terminal was sent, until its program ends."""
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other side was closed
            break
        if not piece:
            break
        shown += piece
    process.wait(timeout=60)
    return shown.decode(errors="replace")


def test_a_terminal_shows_a_live_bar_and_a_file_a_line_an_epoch(tiny: list[str], tmp_path: Path) -> None:
    words = [*tiny, "trainer.max_epochs=2"]
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = start([*words, f"hydra.run.dir={tmp_path / 'terminal'}"], tmp_path, stdout=its, stderr=its)
    os.close(its)
    shown = read_terminal(process, ours)
    assert process.returncode == 0
    assert "━" in shown
    assert "\x1b[" in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)
    assert "epoch   2/2" in plain
    assert "epoch 2/2 ━" in plain
    assert re.search(r"loss: \d+\.\d+ accuracy: \d+\.\d+ images/s: \d+", plain)
    process = start([*words, f"hydra.run.dir={tmp_path / 'file'}"], tmp_path, stdout=subprocess.PIPE)
    output = process.communicate(timeout=90)[0].decode()
    epochs = [line for line in output.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 2
    assert "\x1b" not in output
