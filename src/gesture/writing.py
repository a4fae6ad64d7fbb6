"""How files are replaced: whole or not at all, whatever ends the writer."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = ".unfinished"
FREE_SOME = "free some"
"""The remedy in every sentence that tells of a full disk."""
NO_ROOM = tuple(getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name))
"""A disk that is full, a quota that is used up, a file larger than may be."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Inside, the system's errors say that they are about `path` where they do not say about what, as writing's do."""
    try:
        yield
    except OSError as error:
        if error.strerror and not error.filename:
            error.filename = str(path)
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new name beside `path`, whose file takes the place of `path` when the block ends well.

    It is beside, since only there renaming is one step on every file system. Whoever writes it syncs it.
    """
    unfinished = path.with_name(f".{path.name}{UNFINISHED}")
    try:
        with naming(path):
            yield unfinished
        unfinished.replace(path)
        _sync_names(path.parent)
    finally:
        with suppress(OSError):  # it is there after a failure only
            unfinished.unlink()


def _sync_names(folder: Path) -> None:
    """Have the disk remember what its files are called; Windows and some network disks cannot."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
