"""Sets of decoded images on disk: what each says of itself, what others take from it, which goes first."""

import dataclasses
import json
import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from gesture.data.decode import Images, Pixels
from gesture.data.files import in_words
from gesture.data.locks import is_used

log = logging.getLogger(__name__)

FORMAT = 2
"""Raised when what is stored changes, so that older sets are built anew."""
INDEX, LOCK = "index.json", ".lock"
OURS = ("index.", "images")
"""What the names of a set's files begin with; a folder that has others is somebody's."""


@dataclass
class Index:
    """What a set says of itself; paths, states and content are of N files, rows and pixels of the M that are good."""

    root: str
    size: list[int]
    """Height and width of the decoded images."""
    depth: int
    """Bits of a gray level that were taken for used in 16-bit images."""
    images: str
    """The name of the file of all images, beside the index."""
    paths: list[str]
    states: list[list[int]]
    """What `FileTree.state` said when the file was read; empty where it said nothing."""
    content: list[str] = field(default_factory=list)
    """Digests of the files' bytes; empty where they could not be read."""
    rows: list[int] = field(default_factory=list)
    """Which of the files each image is."""
    pixels: list[str] = field(default_factory=list)
    """Digests of the images' pixels at their original size."""
    bad: dict[str, str] = field(default_factory=dict)
    """Reasons by path."""

    @classmethod
    def read(cls, folder: Path) -> "Index | None":
        """The index of a whole set, or None."""
        try:
            plain = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            if plain.pop("format") != FORMAT:
                return None
            index = cls(**plain)
            whole = len(index.paths) == len(index.states) == len(index.content) and (
                index.open(folder).shape == (len(index.rows), *index.size) and len(index.pixels) == len(index.rows)
            )
        except (OSError, ValueError, TypeError, AttributeError, KeyError):  # damaged, or of another version
            return None
        return index if whole else None

    def write(self, folder: Path) -> None:
        """Replace the index; a reader sees the old one or the new one, whole."""
        unfinished = folder / "index.unfinished"
        plain = {"format": FORMAT, **dataclasses.asdict(self)}
        unfinished.write_text(json.dumps(plain), encoding="utf-8")
        unfinished.replace(folder / INDEX)

    def open(self, folder: Path) -> Images:
        """[M, height, width], memory-mapped.

        Copy-on-write: PyTorch wants writable memory, and nothing written to it can reach the file.
        """
        images: Images = np.load(folder / self.images, mmap_mode="c")
        return images


class Known:
    """What sets decoded earlier, at the same size and depth, know of files by their state and of images by content."""

    def __init__(self, cache_dir: Path, root: str, size: list[int], depth: int) -> None:
        self._content: dict[tuple[str, tuple[int, ...]], str] = {}
        self._images: dict[str, tuple[Pixels, int, str]] = {}
        self._bad: dict[str, str] = {}
        for folder in sets(cache_dir):
            index = Index.read(folder)
            if index and (index.size, index.depth) == (size, depth):
                with suppress(OSError, ValueError):  # another process removes it now
                    self._learn(index, index.open(folder), of_root=index.root == root)

    def _learn(self, index: Index, images: Images, of_root: bool) -> None:
        for position, (row, pixels) in enumerate(zip(index.rows, index.pixels, strict=True)):
            self._images[index.content[row]] = (images, position, pixels)
        for path, state, content in zip(index.paths, index.states, index.content, strict=True):
            if content and path in index.bad:
                self._bad[content] = index.bad[path]
            if of_root and content and state:
                self._content[path, tuple(state)] = content

    def content_of(self, path: str, state: list[int]) -> str | None:
        """The digest of a file that has not changed since a set was made of it."""
        return self._content.get((path, tuple(state)))

    def image(self, content: str) -> tuple[Pixels, str] | None:
        """The decoded image and the digest of its original pixels."""
        if content not in self._images:
            return None
        images, position, pixels = self._images[content]
        return images[position], pixels

    def bad(self, content: str) -> str | None:
        return self._bad.get(content)

    @property
    def contents(self) -> frozenset[str]:
        """The digests of all files that need not be decoded."""
        return frozenset(self._images) | frozenset(self._bad)


def sets(cache_dir: Path) -> list[Path]:
    """The folders of a cache that hold decoded images, whole or not."""
    return sorted({file.parent for pattern in (f"*/{INDEX}", "*/images*.npy") for file in cache_dir.glob(pattern)})


def prune(cache_dir: Path, limit_gb: float) -> None:
    """Remove the sets used longest ago until the others need no more than the limit; what is in use stays."""
    sizes = {folder: _size(folder) for folder in sets(cache_dir)}
    surplus = sum(sizes.values()) - limit_gb * 1e9
    for folder in sorted(sizes, key=_last_use):
        if surplus <= 0:
            return
        if _removed(folder):
            log.info("data.cache_gb=%g: removed %s (%s), used longest ago", limit_gb, folder, in_words(sizes[folder]))
            surplus -= sizes[folder]


def _size(folder: Path) -> int:
    with suppress(OSError):  # another process removes it now
        return sum(file.stat().st_size for file in folder.iterdir())
    return 0


def _last_use(folder: Path) -> float:
    """Seconds; a set without an index is of a build that was killed."""
    with suppress(OSError):
        return (folder / INDEX).stat().st_mtime
    return 0.0


def _removed(folder: Path) -> bool:
    with suppress(Timeout, OSError), FileLock(folder.with_suffix(LOCK), timeout=0):
        if not is_used(folder) and all(file.name.startswith(OURS) for file in folder.iterdir()):
            shutil.rmtree(folder)
            return True
    return False
