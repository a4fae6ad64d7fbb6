"""Worker processes: from any program, and gone whatever happens to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gesture.workers import on_processes

SQUARE_ROOTS = """
import math
from gesture.workers import on_processes

with on_processes(math.sqrt, 2) as mapped:
    print(list(mapped([4, 9])))
"""


@pytest.mark.parametrize("given", ["file", "input"])
def test_a_program_that_does_not_guard_its_main_module_can_have_workers(given: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SQUARE_ROOTS)
    words, told = ([str(program)], None) if given == "file" else (["-"], SQUARE_ROOTS)
    done = subprocess.run([sys.executable, *words], input=told, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[2.0, 3.0]\n", "")


INTERRUPTED_AT_A_START = """
import os, signal, sys, threading, time
from multiprocessing.popen_spawn_posix import Popen
from gesture.process import Interrupted, raised_at_once
from gesture.workers import on_processes

signum, at_start, later = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "later"
starts, launch = [], Popen._launch

def launch_and_interrupt(self, process):
    launch(self, process)
    starts.append(process)
    if len(starts) == at_start:
        if later:  # while the workers import what they need
            threading.Timer(0.1, os.killpg, (os.getpgrp(), signum)).start()
        else:
            os.kill(os.getpid(), signum)
            time.sleep(0)

Popen._launch = launch_and_interrupt
try:
    with raised_at_once(), on_processes(time.sleep, 2) as mapped:
        list(mapped([0.1] * 100))
except Interrupted as interruption:
    print(interruption)
"""


@pytest.mark.parametrize("signum", ["2", "15"])
@pytest.mark.parametrize("moment", [("1", "at once"), ("2", "at once"), ("2", "later")])
def test_a_signal_while_workers_start_ends_all_without_a_traceback(signum: str, moment: tuple[str, str]) -> None:
    command = [sys.executable, "-c", INTERRUPTED_AT_A_START, signum, *moment]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, start_new_session=True)
    assert done.stdout.startswith("stopped by SIG")
    assert done.stderr == ""


def test_a_killed_worker_is_told_in_a_sentence() -> None:
    with pytest.raises(RuntimeError, match="a worker process was killed"), on_processes(os._exit, 2) as mapped:
        list(mapped([1]))
