"""Checkpoints: what they say of their network, written so that no crash leaves half a file, and read with suspicion."""

import dataclasses
import errno
import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from gesture.config.recorded import VERSION, VERSION_KEY
from gesture.config.refusals import ConfigError
from gesture.config.schema import TrainConfig
from gesture.data.decode import MOST_PIXELS
from gesture.data.files import opened_zip
from gesture.model.files import REMEDY, check_file
from gesture.model.hardware import Hardware
from gesture.model.network import UNNORMALISED, GestureNetwork
from gesture.writing import FREE_SOME, NO_ROOM, UNFINISHED, replacing

CHECKPOINT_FORMAT = 2
"""Raised when the `gesture` entry of checkpoints changes; 2 added the hardware and its precision."""

Content = dict[str, Any]

ENTRY = "gesture"
NETWORK_PREFIX = "network."
"""Where the network stands in the LightningModule whose state a checkpoint holds."""
ENTRY_TYPES = {"class_names": list, "image_size": list, "config": dict}
"""What every format has in its `gesture` entry."""
CONFIG_GROUPS = ("backbone", "data")
"""What a recogniser reads of the configuration."""

ZIP_ENDS = b"PK\x05\x06"
"""Begins the last part of an archive without a comment."""
END_LENGTH = 18
"""Bytes of that part behind its beginning."""
COMMENT_LENGTH = 2
"""Bytes that say how long a comment is, before it."""
BESIDE_TENSORS = 2**20
"""Bytes of a file that are no tensor's, at most."""


class DiskFull(OSError):
    """A checkpoint has no room; the text is one sentence with the remedy."""

    def __init__(self, folder: Path, needed: int) -> None:
        free = shutil.disk_usage(folder).free
        why = f"{free / 1e6:.0f} MB free" if free < needed else "a quota, or a limit of file sizes"
        super().__init__(
            f"'{folder}' has no room for a checkpoint of {needed / 1e6:.0f} MB ({why}): {FREE_SOME}; what "
            "was saved before is whole."
        )
        self.errno = errno.ENOSPC


def describe(config: TrainConfig, class_names: Sequence[str], hardware: Hardware) -> Content:
    """The `gesture` entry of a checkpoint: all that is needed to predict as the run did, as plain data."""
    return {
        "format": CHECKPOINT_FORMAT,
        "class_names": list(class_names),
        "image_size": list(config.data.image_size),
        "preprocessing": "8-bit gray, Pillow bilinear resize, divided by 255 and normalised inside the network",
        "hardware": dataclasses.asdict(hardware),
        "config": {VERSION_KEY: VERSION, **dataclasses.asdict(config)},
    }


def write(content: Content, path: Path, keep: Path | None = None) -> None:
    """Replace a checkpoint, whose old content `keep` gets; a crash, a kill or a full disk leaves an old one whole.

    The new one is written beside its target, since only there renaming is one step on every file system.

    Raises:
        DiskFull: there is no room.
        OSError: the folder cannot be written to.
    """
    needed = size_of(content)
    _remove_left(path)
    with replacing(path) as unfinished:
        if shutil.disk_usage(path.parent).free < needed:
            raise DiskFull(path.parent, needed)
        try:
            with unfinished.open("w+b") as file:
                torch.save(content, file)
                _seal(file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:  # torch hides an OSError behind a RuntimeError of its own
            cause = error if isinstance(error, OSError) else error.__context__
            if isinstance(cause, OSError) and cause.errno in NO_ROOM:
                raise DiskFull(path.parent, needed) from error
            raise
        if keep is not None and path.exists():
            path.replace(keep)


def size_of(content: Content) -> int:
    """Bytes that writing this takes, at most."""
    storages = [tensor.untyped_storage() for tensor in _tensors(content)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values()) + BESIDE_TENSORS


def read(path: Path) -> Content:
    """What `write` wrote, of this version of gesture or an earlier one; nothing in it is executed.

    Raises:
        ConfigError: no such file, a damaged one, one of another program or of a later version, weights that are not
            numbers any more.
    """
    check_file(path)
    try:
        _check_seal(path)
        content: Content = load(path)
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read ({error.strerror or error}): give another checkpoint.") from error
    except zipfile.BadZipFile as error:
        raise ConfigError(f"'{path}' is damaged, {error}: {REMEDY}.") from error
    except Exception as error:  # foreign bytes make zipfile and unpickling raise anything
        raise ConfigError(f"'{path}' is no checkpoint of plain data and is not loaded: {REMEDY}.") from error
    check(content, path)
    return content


def load(path: Path) -> Any:
    """The plain data and tensors of a file that torch saved, whoever made it.

    Nothing in it is executed, and it takes no more memory than it says by its size.

    Raises:
        OSError: it cannot be read.
        zipfile.BadZipFile: it is damaged.
        Exception: anything else, of foreign bytes.
    """
    if zipfile.is_zipfile(path):
        with opened_zip(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise ValueError("a decompression bomb")  # torch compresses nothing
            if archive.testzip() is not None:  # torch does not look at checksums
                raise zipfile.BadZipFile("its checksums do not hold")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if any(tensor.is_meta or tensor.nbytes > tensor.untyped_storage().nbytes() for tensor in _tensors(content)):
        raise ValueError("a tensor of which the most is not there")
    return content


def check(content: Content, path: Path) -> None:
    """Raises ConfigError unless unpickled content is a sound checkpoint of this version or an earlier one."""
    entry = content.get(ENTRY) if isinstance(content, dict) else None
    if not isinstance(entry, dict) or not isinstance(format_ := entry.get("format"), int):
        raise ConfigError(f"'{path}' is a checkpoint of another program: {REMEDY}.")
    if format_ > CHECKPOINT_FORMAT:
        raise ConfigError(f"'{path}' is of a later version of gesture: install that one to read it.")
    lacks = [name for name, kind in ENTRY_TYPES.items() if not isinstance(entry.get(name), kind)]
    lacks = lacks or [name for name in CONFIG_GROUPS if not isinstance(entry["config"].get(name), dict)]
    lacks = lacks or ([] if _is_size(entry["image_size"]) else ["a possible image_size"])
    state = content.get("state_dict")
    if lacks or not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"'{path}' is damaged, it lacks {', '.join(lacks or ['state_dict'])}: {REMEDY}.")
    if not all(bool(value.isfinite().all()) for value in state.values()):
        raise ConfigError(f"'{path}' is of a training that diverged, its weights are not finite: give another one.")


def network_of(content: Content, path: Path) -> GestureNetwork:
    """The trained network in what `read` gave of `path`.

    Raises:
        ConfigError: its weights are of another network than it says.
    """
    ours, state = content[ENTRY], content["state_dict"]
    state = {key.removeprefix(NETWORK_PREFIX): state[key] for key in state if key.startswith(NETWORK_PREFIX)}
    try:
        kind = ours["config"]["backbone"]["name"], len(ours["class_names"])
        _check_shapes(kind, state)
        with torch.random.fork_rng(devices=[]):  # the random weights it begins with are nobody's business
            network = GestureNetwork(*kind)
        network.load_state_dict(state)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"'{path}' is damaged, its weights are not of the network it describes: {REMEDY}.") from error
    return network


def _seal(file: IO[bytes]) -> None:
    """Make the digest of an archive's table of contents its comment; zip has checksums of all the rest."""
    with zipfile.ZipFile(file) as archive:
        digest = _digest(file, archive)
    file.seek(-COMMENT_LENGTH, os.SEEK_END)
    file.write(len(digest).to_bytes(COMMENT_LENGTH, "little") + digest)


def _check_seal(path: Path) -> None:
    """Raises zipfile.BadZipFile where an archive's table of contents is not as it was written."""
    if zipfile.is_zipfile(path):
        with opened_zip(path) as archive:
            assert archive.fp is not None
            if not _is_sealed(archive.fp, archive):
                raise zipfile.BadZipFile("its checksums do not hold")


def _is_sealed(file: IO[bytes], archive: zipfile.ZipFile) -> bool:
    """Whether the table of contents is as it was written."""
    if archive.comment:
        return archive.comment == _digest(file, archive)
    file.seek(-len(ZIP_ENDS) - END_LENGTH, os.SEEK_END)  # earlier versions made no digest
    return file.read(len(ZIP_ENDS)) == ZIP_ENDS


def _digest(file: IO[bytes], archive: zipfile.ZipFile) -> bytes:
    file.seek(archive.start_dir)
    contents = file.read()
    return hashlib.sha256(contents[: len(contents) - COMMENT_LENGTH - len(archive.comment)]).hexdigest().encode()


def _check_shapes(kind: tuple[str, int], state: dict[str, Tensor]) -> None:
    """Raises LookupError or ValueError for weights of another network, of which none is made in memory."""
    with torch.device("meta"):
        described = GestureNetwork(*kind).state_dict()
    for name, value in described.items():
        if name not in UNNORMALISED and state[name].shape != value.shape:
            raise ValueError(name)


def _remove_left(path: Path) -> None:
    """Give back the room that checkpoints beside this one take, left unfinished by writers that were killed."""
    for left in path.parent.glob(f".*{path.suffix}{UNFINISHED}"):
        left.unlink(missing_ok=True)


def _tensors(content: Any) -> Iterator[Tensor]:
    """The tensors in dictionaries and lists, each of which is looked at once however often it is referred to."""
    seen, waiting = set[int](), [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value


def _is_size(size: list[Any]) -> bool:
    """Whether this is the height and width of a picture."""
    is_pair = len(size) == 2 and all(isinstance(length, int) and length > 0 for length in size)
    return is_pair and size[0] * size[1] <= MOST_PIXELS
