"""Decoded images on disk: one memory-mapped uint8 array a data set and size; no content is decoded twice."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from gesture.console import track
from gesture.data.decode import BadImage, Images, Pixels, decode
from gesture.data.decoded import INDEX, LOCK, Index, Known, prune
from gesture.data.files import FEWER_IMAGES, FileTree, check_room, make_writable
from gesture.data.locks import exclusive, is_used, use
from gesture.data.manifest import fingerprint_of
from gesture.data.pixels import resize
from gesture.data.samples import Indices, Samples
from gesture.workers import cores, on_processes
from gesture.writing import naming

IMAGES_WORTH_A_PROCESS = 2000
"""Two seconds' work; starting a process takes half a second."""
IMAGES_AT_A_TIME = 32


@dataclass(frozen=True)
class Cache:
    """The decoded images of a table of samples."""

    images: Images
    """[N, height, width], memory-mapped, of the N samples that could be decoded."""
    rows: Indices
    """[N] which row of the table each image belongs to."""
    copies: Indices
    """[N] images with the same number have identical pixels at their original size."""
    digests: tuple[str, ...]
    """[N] of the pixels at their original size: the same in every data set of the same depth."""
    bad: dict[str, str]
    """The images that could not be decoded, with the reasons."""
    fingerprint: str
    """Of the content of all files: the same wherever and whenever the data set lies on disk."""
    use: FileLock
    """While it exists the images are not removed to make room for others."""


@dataclass(frozen=True)
class Decoded:
    """One file on its way into the cache; without pixels it is bad, or known already by its content."""

    content: str
    pixels: Pixels | None = None
    pixel_digest: str = ""
    reason: str = ""


def open_cache(
    samples: Samples, image_size: Sequence[int], cache_dir: Path, depth: int = 8, limit_gb: float = float("inf")
) -> Cache:
    """The cache of these samples; what is not there or no longer true is decoded.

    Two runs that start at once build it once: the second waits for the first.

    Args:
        samples: the table.
        image_size: height and width.
        cache_dir: the folder of all caches.
        depth: bits of a gray level that the camera used in 16-bit images.
        limit_gb: caches used longest ago are removed beyond so much, but none in use.

    Raises:
        ConfigError: not enough room on the disk, or no right to write there.
    """
    folder = cache_dir / _folder_name(samples, image_size, depth)
    make_writable(cache_dir, "data.cache_dir")
    with exclusive(folder.with_suffix(LOCK), "decoding images"):
        make_writable(folder, "data.cache_dir")
        index = _current(folder, samples) or _build(folder, samples, image_size, depth)
        (folder / INDEX).touch()  # the time of the last use
        is_used(folder)  # clears away the marks of processes that ended
        cache = _open(folder, index)
    prune(cache_dir, limit_gb)
    return cache


def _folder_name(samples: Samples, image_size: Sequence[int], depth: int) -> str:
    """One folder for each root, selection of its files, size, and depth where that matters."""
    key = [str(samples.files.root.resolve()), *samples.paths]
    height, width = image_size
    deep = f"-{depth}bit" if depth > 8 else ""
    return f"{samples.dataset}-{_digest(chr(0).join(key).encode())[:12]}-{height}x{width}{deep}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _current(folder: Path, samples: Samples) -> Index | None:
    """What the cache says of itself if that still holds, else None.

    A file whose state changed but whose content did not (it was copied, or touched) leaves the cache as it is.
    """
    index = Index.read(folder)
    if index is None or index.paths != list(samples.paths):
        return None
    states = _states(samples.files, samples.paths)
    changed = [row for row, state in enumerate(states) if state != index.states[row]]
    if any(_content(samples.files, samples.paths[row]) != index.content[row] for row in changed):
        return None
    if changed:
        index.states = states
        index.write(folder)
    return index


def _states(files: FileTree, paths: Iterable[str]) -> list[list[int]]:
    """Numbers that differ when a file may have changed; none where even that cannot be said."""
    return [_state(files, path) for path in paths]


def _state(files: FileTree, path: str) -> list[int]:
    try:
        return list(files.state(path))
    except OSError:
        return []


def _content(files: FileTree, path: str) -> str:
    try:
        return _digest(files.read(path))
    except OSError:
        return ""


def _build(folder: Path, samples: Samples, image_size: Sequence[int], depth: int) -> Index:
    """Put every image into a new array, decoded on all cores or taken from an earlier one, and then its index."""
    height, width = image_size
    check_room(folder, len(samples) * height * width, "data.cache_dir", FEWER_IMAGES)
    name = f"images-{uuid4().hex[:8]}.npy"
    before = [path for path in folder.iterdir() if path.name.startswith("images")]
    root, paths = str(samples.files.root.resolve()), list(samples.paths)
    states = _states(samples.files, paths)  # before reading: a change meanwhile makes the cache stale
    try:
        index = Index(root, [height, width], depth, name, paths, states)
        with naming(folder):
            _fill(folder / name, index, samples.files, Known(folder.parent, index.root, index.size, depth))
            index.write(folder)
    except BaseException:
        (folder / name).unlink(missing_ok=True)
        raise
    for path in before:  # also of a build that was killed: the lock says that nobody else builds
        with suppress(OSError):  # Windows keeps what another process has mapped; the next build removes it
            path.unlink()
    return index


def _fill(path: Path, index: Index, files: FileTree, known: Known) -> None:
    """Write all good images to `path`, and into the index what was found.

    Only files and images that no earlier set knows are read and decoded.
    """
    contents = [known.content_of(path, state) for path, state in zip(index.paths, index.states, strict=True)]
    new = [path for path, content in zip(index.paths, contents, strict=True) if content is None]
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(index.paths), *index.size))
    processes = min(cores(), 1 + len(new) // IMAGES_WORTH_A_PROCESS)
    work = partial(_decode, files, index.size, index.depth, known.contents)
    with on_processes(work, processes, IMAGES_AT_A_TIME) as mapped:
        decoded = track(mapped(new), "decoding images", len(new)) if new else iter(())
        for row, content in enumerate(contents):
            item = next(decoded) if content is None else Decoded(content)
            _enter(index, images, row, item if item.pixels is not None or item.reason else _recalled(item, known))
        next(decoded, None)  # says how long it took
    images.flush()
    if index.bad:
        _shorten(path, images, len(index.rows))


def _enter(index: Index, images: Images, row: int, item: Decoded) -> None:
    index.content.append(item.content)
    if item.pixels is None:
        index.bad[index.paths[row]] = item.reason
    else:
        images[len(index.rows)] = item.pixels
        index.rows.append(row)
        index.pixels.append(item.pixel_digest)


def _recalled(item: Decoded, known: Known) -> Decoded:
    """What an earlier set knows of this content."""
    if image := known.image(item.content):
        return Decoded(item.content, *image)
    return Decoded(item.content, reason=known.bad(item.content) or "")


def _decode(files: FileTree, image_size: Sequence[int], depth: int, known: frozenset[str], path: str) -> Decoded:
    try:
        content = files.read(path)
    except OSError as error:
        return Decoded("", reason=error.strerror or str(error))
    digest = _digest(content)
    if digest in known:
        return Decoded(digest)
    try:
        image = decode(content, depth)
    except BadImage as error:
        return Decoded(digest, reason=str(error))
    original = np.asarray(image)
    shape = np.array(original.shape, dtype=np.int64).tobytes()
    return Decoded(digest, resize(image, image_size), _digest(shape + original.tobytes()))


def _shorten(path: Path, images: NDArray[np.uint8], length: int) -> None:
    """Leave the unused end of the array out of the file."""
    shorter = path.with_suffix(".shorter")
    with shorter.open("wb") as file:
        np.lib.format.write_array(file, images[:length])
    shorter.replace(path)


def _open(folder: Path, index: Index) -> Cache:
    _, copies = np.unique(np.array(index.pixels, dtype=str), return_inverse=True)
    return Cache(
        images=index.open(folder),
        rows=np.array(index.rows, dtype=np.int64),
        copies=copies.astype(np.int64),
        digests=tuple(index.pixels),
        bad=index.bad,
        fingerprint=fingerprint_of(index.content),
        use=use(folder),
    )
