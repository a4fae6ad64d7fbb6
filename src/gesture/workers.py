"""The same work on many items, on several cores: in processes that end with this one."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")
Mapped = Callable[[Iterable[Item]], Iterator[Done]]

_work: Callable[[Any], Any]
"""Of a worker: sent to it once, since what it holds, an open archive for instance, may be dear to make."""


@contextmanager
def on_processes(work: Callable[[Item], Done], processes: int, chunk: int = 1) -> Iterator[Mapped[Item, Done]]:
    """`work` on each item, results in order, `chunk` items at a time; one process is this one.

    At the end of the block, also after Ctrl-C, nobody works any more.
    """
    if processes <= 1:
        yield lambda items: map(work, items)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _start, (work,))
    try:
        yield lambda items: pool.map(_do, items, chunksize=chunk)
    finally:
        pool.shutdown(cancel_futures=True)


def _start(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    # Ctrl-C reaches every process of a terminal; the workers leave it to the parent to stop them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _do(item: Any) -> Any:
    return _work(item)


def _end_with_parent() -> None:
    """Workers of a killed parent would otherwise wait for work for ever."""
    if parent := parent_process():
        parent.join()
        os._exit(1)
