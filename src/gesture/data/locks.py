"""Who may do what only one process at a time should do, and what a running process uses."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

USE = "use-*.lock"


@contextmanager
def exclusive(path: Path, doing: str) -> Iterator[None]:
    """The block runs in one process at a time; whoever has to wait says once for whom.

    Args:
        path: the lock's file, which stays; beside it stands who holds it.
        doing: what the holder does, as "decoding images".
    """
    lock, holder = FileLock(path), path.with_suffix(".holder")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for %s, which is %s (%s)", _who(holder), doing, path)
        lock.acquire()
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether the block has what this lock stands for to itself; whoever comes second is told so and does not wait."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _who(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8") or "another process"
    except OSError:
        return "another process"


def use(folder: Path) -> FileLock:
    """Say that this process uses a folder, for as long as what is returned exists or until the process ends."""
    lock = FileLock(folder / USE.replace("*", uuid4().hex), thread_local=False)  # whichever thread lets go of it
    lock.acquire()
    return lock


def is_used(folder: Path) -> bool:
    """Whether a running process uses a folder; what processes that ended left behind is cleared away."""
    marks = list(folder.glob(USE))
    return sum(_cleared(mark) for mark in marks) < len(marks)


def _cleared(mark: Path) -> bool:
    lock = FileLock(mark)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    with suppress(OSError):
        mark.unlink()
    return True
