"""Files that are known by a list of their names, sizes and SHA-256 sums alone: a CSV file `path,bytes,sha256`."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from gesture.config.refusals import ConfigError
from gesture.data.files import State, read_regular
from gesture.data.samples import Indices

SUFFIX = ".csv"
COLUMNS = ["path", "bytes", "sha256"]
EXPECTED = f"expected a first line {','.join(COLUMNS)}, then a path, a number and 64 hexadecimal digits in each"
SUM = re.compile(r"[0-9a-f]{64}")


class Manifest:
    """A tree of files of which there is only a list."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def _files(self) -> dict[str, tuple[int, str]]:
        try:
            head, *rows = csv.reader(io.StringIO(read_regular(self.root).decode("utf-8"), newline=""))
            if head != COLUMNS:
                raise ValueError("other columns")
            files = {path: (int(size), checksum.lower()) for path, size, checksum in rows}
        except OSError as error:
            raise ConfigError(
                f"audit.manifest='{self.root}' cannot be read ({error.strerror}): give a CSV file."
            ) from error
        except ValueError as error:  # no text, no numbers, other columns
            raise ConfigError(f"audit.manifest='{self.root}' is none: {EXPECTED}.") from error
        if not all(SUM.fullmatch(checksum) for _, checksum in files.values()):
            raise ConfigError(f"audit.manifest='{self.root}' is none: {EXPECTED}.")
        if len(files) < len(rows):
            raise ConfigError(f"'{self.root}' lists {len(rows) - len(files)} of its files twice: leave one line each.")
        return files

    def paths(self) -> list[str]:
        """Every file, sorted."""
        return sorted(self._files)

    def read(self, path: str) -> bytes:
        """Raises OSError: the file is elsewhere."""
        raise OSError(f"the manifest {self.root} lists files and holds none")

    def state(self, path: str) -> State:
        """The size of a file, and nothing that changes."""
        return self._files[path][0], 0, 0

    def copies(self, paths: Sequence[str]) -> Indices:
        """[N] files with the same number have the same sum."""
        _, numbers = np.unique(np.array([self._files[path][1] for path in paths]), return_inverse=True)
        return numbers.astype(np.int64)

    def fingerprint(self, paths: Sequence[str]) -> str:
        """What the files' own fingerprint would be."""
        return fingerprint_of(self._files[path][1] for path in paths)


def fingerprint_of(sums: Iterable[str]) -> str:
    """Of the SHA-256 sums of all files: the same wherever and whenever a data set lies on disk."""
    return hashlib.sha256("\n".join(sorted(sums)).encode()).hexdigest()[:16]
