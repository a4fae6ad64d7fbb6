"""The same work on many items, on several cores: in processes that end with this one."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from types import ModuleType
from typing import Any, TypeVar

from gesture.process import SIGNALS

Item = TypeVar("Item")
Done = TypeVar("Done")
Mapped = Callable[[Iterable[Item]], Iterator[Done]]

_work: Callable[[Any], Any]
"""Of a worker: sent to it once, since what it holds, an open archive for instance, may be dear to make."""


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def on_processes(work: Callable[[Item], Done], processes: int, chunk: int = 1) -> Iterator[Mapped[Item, Done]]:
    """`work` on each item, results in order, `chunk` items at a time; one process is this one.

    At the end of the block, also after Ctrl-C, nobody works any more.

    Raises:
        RuntimeError: a worker was killed.
    """
    if processes <= 1:
        yield lambda items: map(work, items)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _start, (work,))

    def mapped(items: Iterable[Item]) -> Iterator[Done]:
        with _starting_workers():
            return pool.map(_do, items, chunksize=chunk)

    try:
        yield mapped
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a worker process was killed, perhaps for want of memory: free some and start again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _starting_workers() -> Iterator[None]:
    """Signals wait, here and for ever in the workers that start now; these leave out the program's main module.

    A signal between a worker's start and its entry in the pool's books would make the pool wait for it for ever, and so
    would a main module that asks for this same work wherever it is run.
    """
    program = sys.modules["__main__"]
    if sys.platform != "win32":
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    for signum in SIGNALS:  # they reach every process of a terminal; the parent stops its workers
        signal.signal(signum, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _do(item: Any) -> Any:
    return _work(item)


def _end_with_parent() -> None:
    """Workers of a killed parent would otherwise wait for work for ever."""
    if parent := parent_process():
        parent.join()
        os._exit(1)
