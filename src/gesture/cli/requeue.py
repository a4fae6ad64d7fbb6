"""What a cluster's queue is asked and told, where there is one."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from gesture.process import REQUEUE, Interrupted

ANSWER_S = 30
"""For a busy controller."""


@contextmanager
def handed_to_submitit() -> Iterator[None]:
    """A request to stop that ended the block comes to submitit, if this is a job of its, to queue the job again."""
    try:
        yield
    except Interrupted as interruption:
        if _means_again(signal.Signals(interruption.signum).name):
            signal.raise_signal(signal.Signals[REQUEUE])
        raise


def _means_again(name: str) -> bool:
    """Whether a signal says that a job of submitit's shall go on later.

    Slurm sends SIGTERM to a job that it cancels, and to one that it will preempt, which goes on running until then.
    """
    executor = os.environ.get("SUBMITIT_EXECUTOR")
    if executor == "slurm" and name == "SIGTERM":
        return queue("--jobs", os.environ["SLURM_JOB_ID"], "--format=%T") == ["RUNNING"]
    return executor is not None and name == REQUEUE


def queue(*options: str) -> list[str] | None:
    """What Slurm's queue holds; None when it does not answer."""
    command = ["squeue", "--noheader", *options]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=ANSWER_S).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
