"""This process: its place in a distributed run; Ctrl-C and SIGTERM as one exception, at once or between two steps."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def is_first_process() -> bool:
    """Whether this process keeps the run's record; the others of a distributed run only compute."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


class Interrupted(BaseException):
    """The process was asked to stop. No `Exception`, so that a sweep ends too instead of starting its next run."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, as shells count."""
        return 128 + self.signum


def _raise(signum: int, frame: FrameType | None) -> None:
    raise Interrupted(signum)


class StopRequest:
    """Remembers a signal until somebody asks at a moment when the state is consistent."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:  # asked a second time: the person will not wait for the step to end
            raise Interrupted(signum)
        self.signum = signum

    def listen(self) -> None:
        """Take both signals, also back from whoever has taken them since."""
        for signum in SIGNALS:
            signal.signal(signum, self)


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """SIGINT and SIGTERM go to `handler` inside the block."""
    before = {signum: signal.signal(signum, handler) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)


@contextmanager
def raised_at_once() -> Iterator[None]:
    """Both signals raise `Interrupted` where the program stands."""
    with handled_by(_raise):
        yield


@contextmanager
def deferred() -> Iterator[StopRequest]:
    """Both signals wait in the `StopRequest`; a second one raises at once."""
    request = StopRequest()
    with handled_by(request):
        yield request
