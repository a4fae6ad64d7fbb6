"""Worker processes: from any program, and gone whatever happens to it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gesture.workers import WorkerLost, on_processes

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


def _large(number: int) -> bytes:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return bytes(1_000_000)  # more than a pipe holds


def test_a_killed_worker_is_told_in_a_sentence_though_the_others_results_fill_their_pipes() -> None:
    with (
        pytest.raises(WorkerLost, match=r"^A worker process was killed by SIGKILL, perhaps for want of memory, before"),
        on_processes(_large, 3) as mapped,
    ):
        for _ in mapped(range(1000)):
            pass
    assert multiprocessing.active_children() == []


def _killed_in_the_middle_of_a_message(number: int) -> bytes:
    if number == 3:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return bytes(50_000_000 if number == 3 else 10)


def test_a_worker_killed_while_it_sends_is_told_too() -> None:
    with on_processes(_killed_in_the_middle_of_a_message, 2) as mapped, pytest.raises(WorkerLost):
        list(map(_late, mapped(range(10))))


def _late(result: bytes) -> None:
    time.sleep(0.3)  # so that what is sent waits in a full pipe


def test_a_worker_that_ends_by_itself_is_told() -> None:
    with pytest.raises(WorkerLost, match="A worker process ended before its work"), on_processes(os._exit, 2) as mapped:
        list(mapped([1]))


def test_what_the_work_raises_is_raised_here_with_the_place_where_it_was() -> None:
    with pytest.raises(ZeroDivisionError) as raised, on_processes(_inverse, 2) as mapped:
        list(mapped([1, 2, 0]))
    assert "in _inverse" in raised.value.__notes__[0]


def _inverse(number: int) -> float:
    return 1 / number


@pytest.mark.parametrize("processes", [1, 2, 5])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_results_come_in_order_whoever_is_fast(processes: int, chunk: int) -> None:
    with on_processes(_slow_if_early, processes, chunk) as mapped:
        assert list(mapped(range(20))) == [number * number for number in range(20)]


def _slow_if_early(number: int) -> int:
    time.sleep(0.2 if number < 2 else 0)
    return number * number


def test_two_lots_of_work_can_follow_each_other() -> None:
    with on_processes(_inverse, 2) as mapped:
        assert list(mapped([1, 2])) == [1, 0.5]
        assert list(mapped([4])) == [0.25]


ORPHANED = """
import os, time
from gesture.workers import on_processes

with on_processes(time.sleep, 2) as mapped:
    for number, _ in enumerate(mapped([0.01] * 10**6)):
        if number == 10:
            os.kill(os.getpid(), 9)
"""


def test_workers_of_a_killed_parent_end() -> None:
    process = subprocess.Popen([sys.executable, "-c", ORPHANED], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.communicate(timeout=30)  # returns when the last process that holds the pipes is gone
    assert process.returncode == -signal.SIGKILL
