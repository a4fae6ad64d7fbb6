"""Decoded images on disk: one memory-mapped uint8 array per data set and size, rebuilt when a file changed."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from gesture.data.decode import BadImage, Pixels, decode, resize, strict_decoding
from gesture.data.files import FileTree, check_room, make_writable
from gesture.data.samples import Indices, Samples
from gesture.progress import track
from gesture.workers import cores, on_processes

FORMAT = 1
"""Raised when what is stored changes, so that older caches are built anew."""
IMAGES_WORTH_A_PROCESS = 2000
"""Two seconds' work; starting a process takes half a second."""
IMAGES_AT_A_TIME = 32

IMAGES, INDEX = "images.npy", "index.json"


@dataclass(frozen=True)
class Cache:
    """The decoded images of a table of samples."""

    images: NDArray[np.uint8]
    """[N, height, width], memory-mapped, of the N samples that could be decoded."""
    rows: Indices
    """[N] which row of the table each image belongs to."""
    copies: Indices
    """[N] images with the same number have identical pixels at their original size."""
    bad: dict[str, str]
    """The images that could not be decoded, with the reasons."""
    fingerprint: str
    """Of the content of all files: the same wherever and whenever the data set lies on disk."""


@dataclass(frozen=True)
class Decoded:
    """One image on its way into the cache; without pixels it is bad."""

    pixels: Pixels | None
    content_digest: str
    pixel_digest: str
    reason: str


def open_cache(samples: Samples, image_size: Sequence[int], cache_dir: Path) -> Cache:
    """The cache of these samples, built if it is not there or no longer true.

    Two runs that start at once build it once: the second waits for the first.

    Raises:
        ConfigError: not enough room on the disk, or no right to write there.
    """
    folder = cache_dir / _folder_name(samples, image_size)
    make_writable(folder.parent, "data.cache_dir")
    with FileLock(folder.with_suffix(".lock")):
        index = _read_index(folder, samples, image_size)
        if index is None:
            index = _build(folder, samples, image_size)
        return _open(folder, index)


def _folder_name(samples: Samples, image_size: Sequence[int]) -> str:
    """One folder for each root, selection of its files, and size."""
    key = [str(samples.files.root.resolve()), *samples.paths]
    height, width = image_size
    return f"{samples.dataset}-{_digest(chr(0).join(key).encode())[:12]}-{height}x{width}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_index(folder: Path, samples: Samples, image_size: Sequence[int]) -> dict[str, Any] | None:
    """What the cache says of itself if that still holds, else None.

    A file whose state changed but whose content did not (it was copied, or touched) leaves the cache as it is.
    """
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError):
        return None
    if index.get("format") != FORMAT or index["size"] != list(image_size) or not _is_complete(folder, index):
        return None
    states = _states(samples.files, samples.paths)
    changed = [row for row, state in enumerate(states) if state != index["states"][row]]
    if any(_digest(samples.files.read(samples.paths[row])) != index["content"][row] for row in changed):
        return None
    if changed:
        index["states"] = states
        _write_index(folder, index)
    return index


def _is_complete(folder: Path, index: dict[str, Any]) -> bool:
    try:
        shape = np.load(folder / IMAGES, mmap_mode="r").shape
    except (OSError, ValueError):
        return False
    return list(shape) == [len(index["rows"]), *index["size"]]


def _states(files: FileTree, paths: Iterable[str]) -> list[list[int]]:
    return [list(files.state(path)) for path in paths]


def _build(folder: Path, samples: Samples, image_size: Sequence[int]) -> dict[str, Any]:
    """Decode every image on all cores into a new folder and put that in place once it is complete."""
    height, width = image_size
    check_room(folder.parent, len(samples) * height * width, "data.cache_dir")
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed: the lock says nobody is building
    unfinished.mkdir()
    try:
        states = _states(samples.files, samples.paths)  # before reading: a change meanwhile makes the cache stale
        index = _decode_all(unfinished / IMAGES, samples, image_size)
        index |= {"format": FORMAT, "size": list(image_size), "states": states}
        _write_index(unfinished, index)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return index


def _decode_all(path: Path, samples: Samples, image_size: Sequence[int]) -> dict[str, Any]:
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(samples), *image_size))
    rows: list[int] = []
    content, pixels, bad = [], [], {}
    processes = min(cores(), 1 + len(samples) // IMAGES_WORTH_A_PROCESS)
    with on_processes(partial(_decode, samples.files, image_size), processes, IMAGES_AT_A_TIME) as decoded:
        for row, item in enumerate(track(decoded(samples.paths), "decoding images", len(samples))):
            content.append(item.content_digest)
            if item.pixels is None:
                bad[samples.paths[row]] = item.reason
            else:
                images[len(rows)] = item.pixels
                rows.append(row)
                pixels.append(item.pixel_digest)
    images.flush()
    if bad:
        _shorten(path, images, len(rows))
    return {"rows": rows, "content": content, "pixels": pixels, "bad": bad}


def _shorten(path: Path, images: NDArray[np.uint8], length: int) -> None:
    """Leave the unused end of the array out of the file."""
    shorter = path.with_suffix(".shorter")
    with shorter.open("wb") as file:
        np.lib.format.write_array(file, images[:length])
    shorter.replace(path)


def _decode(files: FileTree, image_size: Sequence[int], path: str) -> Decoded:
    content = b""
    try:
        content = files.read(path)
        with strict_decoding():
            image = decode(content)
    except (BadImage, OSError) as error:
        return Decoded(None, _digest(content), "", str(error))
    original = np.asarray(image)
    shape = np.array(original.shape, dtype=np.int64).tobytes()
    return Decoded(resize(image, image_size), _digest(content), _digest(shape + original.tobytes()), "")


def _write_index(folder: Path, index: dict[str, Any]) -> None:
    unfinished = folder / "index.unfinished"
    unfinished.write_text(json.dumps(index))
    unfinished.replace(folder / INDEX)


def _open(folder: Path, index: dict[str, Any]) -> Cache:
    # Copy-on-write: PyTorch wants writable memory, and nothing written to it can reach the file.
    images = np.load(folder / IMAGES, mmap_mode="c")
    _, copies = np.unique(np.array(index["pixels"], dtype=str), return_inverse=True)
    return Cache(
        images=images,
        rows=np.array(index["rows"], dtype=np.int64),
        copies=copies.astype(np.int64),
        bad=index["bad"],
        fingerprint=_digest("\n".join(sorted(index["content"])).encode())[:16],
    )
