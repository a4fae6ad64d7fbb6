"""The same work on many items, on several cores: in processes that end with this one.

Each worker has a pipe of its own and shares no lock with the others, so that one that is killed, at whatever moment,
is noticed at once and holds nobody up.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, get_start_method, resource_tracker, set_start_method
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any, TypeVar

from gesture.process import SIGNALS

Item = TypeVar("Item")
Done = TypeVar("Done")
Mapped = Callable[[Iterable[Item]], Iterator[Done]]

CHUNKS_EACH = 2
"""While a worker does one chunk the next waits in its pipe."""
CHUNKS_BEFORE_THE_NEXT = 8
"""Chunks of each worker that may be done before the one whose turn it is."""


class WorkerLost(ChildProcessError):
    """A worker process ended before its work, in one sentence."""


@dataclass(frozen=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection

    def send(self, message: Any) -> None:
        try:
            self.pipe.send(message)
        except OSError as error:
            raise self._lost() from error

    def receive(self) -> Any:
        try:
            return self.pipe.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error

    def _lost(self) -> WorkerLost:
        self.process.join(timeout=1)
        code = self.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}, perhaps for want of memory," if code < 0 else "ended"
        return WorkerLost(f"A worker process {how} before its work was done: free some memory and start again.")


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def on_processes(work: Callable[[Item], Done], processes: int, chunk: int = 1) -> Iterator[Mapped[Item, Done]]:
    """`work` on each item, results in order, `chunk` items at a time; one process is this one.

    At the end of the block, also after Ctrl-C, nobody works any more.

    Raises:
        WorkerLost: a worker was killed. What `work` raises is raised here too.
    """
    if processes <= 1:
        yield lambda items: map(work, items)
        return
    workers: list[_Worker] = []
    try:
        with _starting_workers():
            for _ in range(processes):
                workers.append(_started(work))
        yield lambda items: _in_order(workers, items, chunk)
    finally:
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.join()
            worker.pipe.close()


def _in_order(workers: Sequence[_Worker], items: Iterable[Any], chunk: int) -> Iterator[Any]:
    chunks = _chunks(items, chunk)
    free = list(workers) * CHUNKS_EACH
    done: dict[int, list[Any]] = {}
    sent = given = 0
    while True:
        while free and sent - given < CHUNKS_BEFORE_THE_NEXT * len(workers) and (batch := next(chunks, None)):
            free.pop(0).send((sent, batch))
            sent += 1
        if given == sent:
            return
        for worker, number, results in _received(workers):
            done[number] = results
            free.append(worker)
        while given in done:
            yield from done.pop(given)
            given += 1


def _received(workers: Sequence[_Worker]) -> Iterator[tuple[_Worker, int, list[Any]]]:
    """What has been done meanwhile; waits for the first."""
    ready = wait([worker.pipe for worker in workers])
    for worker in workers:
        if worker.pipe in ready:
            number, results = worker.receive()
            if isinstance(results, BaseException):
                raise results
            yield worker, number, results


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _started(work: Callable[[Any], Any]) -> _Worker:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs), daemon=True)
    try:
        process.start()
    finally:
        theirs.close()  # the worker's copy is then the only one, and its death the pipe's end
    return _Worker(process, ours)


@contextmanager
def _starting_workers() -> Iterator[None]:
    """Signals wait, here and for ever in the workers that start now; these leave out the program's main module.

    A signal between a worker's start and its entry in our books would leave it behind, and a main module that asks for
    this same work wherever it is run would start workers of its own in each. Nor do they hear of a start method that
    only a library knows which started this process, as joblib's loky does.
    """
    method = get_start_method(allow_none=True)
    program = sys.modules["__main__"]
    if sys.platform != "win32":
        resource_tracker.ensure_running()  # which a first start would begin, letting the signals through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    sys.modules["__main__"] = ModuleType("__main__")
    set_start_method("spawn", force=True)
    try:
        yield
    finally:
        set_start_method(method, force=True)
        sys.modules["__main__"] = program
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(work: Callable[[Any], Any], pipe: Connection) -> None:
    """What a worker does until its pipe ends, as it does when the parent dies."""
    for signum in SIGNALS:  # they reach every process of a terminal; the parent stops its workers
        signal.signal(signum, signal.SIG_IGN)
    try:
        while True:
            number, items = pipe.recv()
            pipe.send((number, _done(work, items)))
    except (EOFError, OSError):
        os._exit(1)


def _done(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any] | Exception:
    try:
        return [work(item) for item in items]
    except Exception as error:
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
        return error
