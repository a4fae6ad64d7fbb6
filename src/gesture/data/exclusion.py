"""Images that a person left out: by path, by pattern, or by a file that lists them."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gesture.config.refusals import ConfigError
from gesture.data.samples import Samples

LISTED = 5


def excluded(samples: Samples, entries: Sequence[str], strict: bool) -> NDArray[np.bool_]:
    """[N] whether data.exclude names each sample.

    An entry is a path below the root, relative to it or absolute, a folder there, a pattern of these (`*`, `?`,
    `[...]`), or a .txt or .json file that lists such, one a line or as a list.

    Raises:
        ConfigError: with `strict`, an entry that names no image, or a list that cannot be read.
    """
    left_out = np.zeros(len(samples), dtype=bool)
    row_of_path = {path: row for row, path in enumerate(samples.paths)}
    unknown = []
    for entry in _entries(entries, strict):
        rows = _matching(_relative(entry, samples.files.root), row_of_path)
        left_out[rows] = True
        if not rows:
            unknown.append(entry)
    if strict and unknown:
        named = ", ".join(f"'{entry}'" for entry in unknown[:LISTED])
        more = f" and {len(unknown) - LISTED} more" if len(unknown) > LISTED else ""
        raise ConfigError(
            f"data.exclude names what is no image below '{samples.files.root}' ({named}{more}): mend it or leave it "
            "out."
        )
    return left_out


def _relative(entry: str, root: Path) -> str:
    """An entry as the table has paths, if it is an absolute one below the root, whose links may be followed."""
    path = Path(os.path.expanduser(entry))  # noqa: PTH111  # which lets a name be that begins with ~ and is nobody's
    base = next((base for base in (root.absolute(), root.resolve()) if path.is_relative_to(base)), None)
    return entry if base is None else path.relative_to(base).as_posix()


def _matching(entry: str, row_of_path: dict[str, int]) -> list[int]:
    if entry in row_of_path:
        return [row_of_path[entry]]
    folder = entry.rstrip("/") + "/"
    return [row for path, row in row_of_path.items() if path.startswith(folder) or fnmatchcase(path, entry)]


def _entries(given: Iterable[str], strict: bool) -> Iterator[str]:
    for entry in given:
        if entry.endswith((".txt", ".json")):
            yield from _listed(Path(entry).expanduser(), strict)
        else:
            yield entry


def _listed(path: Path, strict: bool) -> list[str]:
    """The entries of a file; none, unless `strict`, where it is gone."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            lines = (line.strip() for line in text.splitlines())
            return [line for line in lines if line and not line.startswith("#")]
        content = json.loads(text)
    except (OSError, ValueError) as error:
        if not strict:
            return []
        raise ConfigError(f"data.exclude: '{path}' cannot be read ({error}).") from error
    if not isinstance(content, list) or not all(isinstance(entry, str) for entry in content):
        raise ConfigError(f"data.exclude: '{path}' must hold a list of paths, such as [\"fist/007.png\"].")
    return content
