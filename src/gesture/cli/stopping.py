"""How a sweep stops whose trials train in a launcher's processes: each of them in good order."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gesture.process import Interrupted, StopRequest, handled_by, is_first_process
from gesture.runs.collection import collect, training_in
from gesture.runs.directory import RunDirectory
from gesture.runs.files import read_text, write_atomically

LONGEST_STOP_S = 120.0
"""For a step, its checkpoint and the record."""
LONGEST_DEATH_S = 5.0
POLL_S = 0.1


def marker(sweep_dir: Path) -> Path:
    """The file that keeps trials which wait in a launcher's queue from starting; it holds the signal's number."""
    return sweep_dir / ".stopping"


def begin_no_more(marker: Path) -> None:
    """Let the trial of this process go without a trace if its sweep stops.

    Raises:
        Interrupted: it stops.
    """
    if marker.exists():
        RunDirectory.of_hydra().leave()
        raise Interrupted(int(read_text(marker)))


class SweepStop(StopRequest):
    """Passes a signal on to the processes that train, and raises `Interrupted` when they have ended.

    A launcher would kill them. Whoever asks a second time does not wait.
    """

    def __init__(self, sweep_dir: Path) -> None:
        super().__init__()
        self.sweep_dir = sweep_dir

    def first(self, signum: int) -> None:
        with suppress(OSError):  # a full disk
            write_atomically(marker(self.sweep_dir), str(signum))
        told: set[Path] = set()

        def all_have_ended() -> bool:
            training = training_in(self.sweep_dir)
            for folder in training.keys() - told:
                with suppress(OSError):  # it has ended meanwhile
                    os.kill(training[folder], signum)
                told.add(folder)
            return not training

        wait_until(all_have_ended, LONGEST_STOP_S)
        raise Interrupted(signum)


@contextmanager
def stopped_in_good_order(sweep_dir: Path) -> Iterator[None]:
    """After a signal inside the block no trial is left that says it is running."""
    if not is_first_process():  # of a distributed sweep; the others keep no record
        yield
        return
    marker(sweep_dir).unlink(missing_ok=True)  # of a sweep that was killed
    try:
        with handled_by(SweepStop(sweep_dir)):
            yield
    except Interrupted as interruption:
        wait_until(lambda: not training_in(sweep_dir), LONGEST_DEATH_S)
        for trial in collect(sweep_dir):
            if trial.status == "died":  # killed by the launcher
                RunDirectory(trial.path).note_end("interrupted", str(interruption))
        raise
    finally:
        marker(sweep_dir).unlink(missing_ok=True)


def wait_until(condition: Callable[[], bool], longest_s: float = math.inf) -> None:
    deadline = time.monotonic() + longest_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(POLL_S)
