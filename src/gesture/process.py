"""This process: its place in a distributed run; requests to stop as one exception, at once or between two steps."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

REQUEUE = f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"
"""With which a cluster announces that a job's time is over; the variable is submitit's."""
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", REQUEUE) if hasattr(signal, name))
"""Ctrl-C, a polite kill, a terminal that was closed, a cluster's announcement; Windows has the first two."""
SAME_REQUEST_S = 1.0
"""A terminal signals every process, and a sweep passes that on to its trials: within this time it is one request."""
PARENT_POLL_S = 1.0


def is_first_process() -> bool:
    """Whether this process keeps the run's record; the others of a distributed run only compute."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def slurm_tasks() -> int:
    """How many processes srun has started with this one; 1 outside of it."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


class Interrupted(BaseException):
    """The process was asked to stop. No `Exception`, so that a sweep ends too instead of starting its next run."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    def __reduce__(self) -> tuple[type["Interrupted"], tuple[int]]:
        return Interrupted, (self.signum,)  # launchers send it from one process to another

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, 129 for a closed terminal, 140 for SIGUSR2, as shells count."""
        return 128 + self.signum


class StopRequest:
    """Remembers a signal until somebody asks at a moment when the state is consistent."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self.asked = 0.0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is None:
            self.signum, self.asked = signum, time.monotonic()
            self.first(signum)
        elif time.monotonic() - self.asked > SAME_REQUEST_S:  # the person will not wait for the step to end
            raise Interrupted(signum)

    def first(self, signum: int) -> None:
        """What else happens when it is asked for the first time."""


class StopAtOnce(StopRequest):
    """Raises `Interrupted` where the program stands."""

    def first(self, signum: int) -> None:
        raise Interrupted(signum)


def _is_left_running(signum: int) -> bool:
    """Whether somebody asked, with nohup, that a closed terminal should not end the process."""
    return signum == getattr(signal, "SIGHUP", None) and signal.getsignal(signum) == signal.SIG_IGN


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """The signals go to `handler` inside the block; only a main thread can take them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, handler) for signum in SIGNALS if not _is_left_running(signum)}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)


@contextmanager
def raised_at_once() -> Iterator[None]:
    """The signals raise `Interrupted` where the program stands."""
    with handled_by(StopAtOnce()):
        yield


@contextmanager
def deferred() -> Iterator[StopRequest]:
    """The signals wait in the `StopRequest`; a second one raises at once."""
    request = StopRequest()
    with handled_by(request):
        yield request


@contextmanager
def held_back() -> Iterator[None]:
    """The signals wait until the block ends: imports of compiled code may abort the process when something raises."""
    with deferred() as request:
        yield
    if request.signum is not None:
        raise Interrupted(request.signum)


def leave_signals_to_parent() -> None:
    """From now on, outside of `handled_by`, the signals do nothing here; whoever started this process ends it."""
    if threading.current_thread() is threading.main_thread():
        for signum in SIGNALS:
            if not _is_left_running(signum) and not _is_submitits(signum):
                signal.signal(signum, _do_nothing)


_followed = threading.Lock()
"""Held while something runs in `ended_with_parent`."""
_following: list[threading.Thread] = []


@contextmanager
def ended_with_parent() -> Iterator[None]:
    """From now on this process ends when the one that started it has, killed most of all; in the block as by SIGTERM.

    Joblib's processes would stay, and train what nobody waits for. Windows does not tell.
    """
    if not _following:
        _following.append(threading.Thread(target=_end_after, args=(os.getppid(),), daemon=True))
        _following[0].start()
    with _followed:
        yield


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    with _followed:  # the training has stopped in good order
        os._exit(128 + signal.SIGTERM)


def _is_submitits(signum: int) -> bool:
    """Whether submitit waits in this process for the signal to queue its job again."""
    return "SUBMITIT_EXECUTOR" in os.environ and signal.Signals(signum).name == REQUEUE


def _do_nothing(signum: int, frame: FrameType | None) -> None:
    """Unlike SIG_IGN this is not taken for nohup's wish."""
