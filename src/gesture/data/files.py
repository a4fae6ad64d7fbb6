"""The files below a root, which is a folder or a zip archive; and room for files of our own."""

import logging
import os
import shutil
import stat
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Protocol, runtime_checkable

from gesture.config.refusals import ConfigError
from gesture.writing import FREE_SOME

log = logging.getLogger(__name__)

State = tuple[int, int, int]
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".pgm", ".ppm", ".pnm")
SYSTEM_NAMES = {"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"}
"""Folders that systems make by themselves, in lower case; so are files and folders that begin with a dot."""
SYSTEM_FILES = {"thumbs.db", "desktop.ini"}
READABLE_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those that Python unpacks piece by piece; of bzip2 and LZMA a few bytes may fill all memory."""
DEFLATE64, ENCRYPTED = 9, 1
"""A zip member's method of compression, and a bit of its flags."""
MOST_ENTRIES = 1_000_000
"""Of an archive; each takes memory before the first is read."""
ENTRY_BEGINS = b"PK\x01\x02"
MOST_BYTES = 2**29
"""Of an image's file; all of it is read at once."""


@runtime_checkable
class FileTree(Protocol):
    """Files by their path relative to a root, with forward slashes. Another process can be sent them."""

    root: Path

    def paths(self) -> list[str]:
        """Every file, sorted."""
        ...

    def read(self, path: str) -> bytes:
        """A file's bytes; raises OSError where it cannot be read."""
        ...

    def state(self, path: str) -> State:
        """Numbers that differ when the file may have changed; found without reading it. Raises OSError."""
        ...


class Folder:
    """Files of a folder, at any depth, each once: links are followed where they lead to what is not below the root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def paths(self) -> list[str]:
        seen: set[str] = set()
        found: list[str] = []
        links, again = self._walk(self.root, seen, found), 0
        for link in links:  # what lies below the root by itself comes first; the list grows while links are followed
            target = os.path.realpath(link)
            if target in seen:
                again += 1
            elif Path(target).is_dir():
                links += self._walk(link, seen, found)
            else:
                found.append(self._relative(link))
        if again:
            log.info("%s: not followed: %s to what is taken already", self.root, counted(again, "link"))
        return sorted(found)

    def _walk(self, start: Path, seen: set[str], found: list[str]) -> list[Path]:
        """Enter what lies below `start` without following links; return these."""
        links, folders = [], [start]
        for folder in folders:
            real = os.path.realpath(folder)
            seen.add(real)
            for entry in _entries(folder):
                path = folder / entry.name
                if entry.is_symlink():
                    links.append(path)
                elif entry.is_dir():
                    folders.append(path)
                else:
                    found.append(relative := self._relative(path))
                    if not is_litter(relative):  # a link into a hidden store is the only way to what lies there
                        seen.add(f"{real}{os.sep}{entry.name}")
        return sorted(links)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def read(self, path: str) -> bytes:
        return read_regular(self.root / path)

    def state(self, path: str) -> State:
        found = (self.root / path).stat()
        # The change time cannot be set back, as a modification time can.
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError as error:
        log.warning("%s cannot be read (%s) and is left out", folder, error.strerror)
        return []


class Archive:
    """Files of a zip archive."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __reduce__(self) -> tuple[type["Archive"], tuple[Path]]:
        return Archive, (self.root,)  # every process opens it anew

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            return opened_zip(self.root)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ConfigError(f"{self.root} is no readable zip archive ({error}): download it again.") from error

    def paths(self) -> list[str]:
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        for member in members:
            if _leads_out(member):
                raise ConfigError(
                    f"{self.root} has what leads out of it ('{member.filename}'): do not trust it, or make it anew."
                )
            if member.flag_bits & ENCRYPTED:
                raise ConfigError(f"{self.root} is encrypted ('{member.filename}'): unpack it and name its folder.")
            if member.compress_type not in READABLE_METHODS:
                method = "Deflate64" if member.compress_type == DEFLATE64 else f"method {member.compress_type}"
                raise ConfigError(
                    f"{self.root} is compressed by {method} ('{member.filename}'), which is not read: unpack it and "
                    "name its folder, or compress it anew."
                )
        return sorted({member.filename for member in members})

    def read(self, path: str) -> bytes:
        size = self._zip.getinfo(path).file_size
        check_bytes(size)
        try:
            with self._zip.open(path) as file:
                return file.read(size)  # without a number, damaged members are unpacked to whatever they hold
        except Exception as error:  # zlib.error, BadZipFile, EOFError, LZMAError, ... as the damage is
            raise OSError(f"damaged in the archive: {error}") from error

    def state(self, path: str) -> State:
        info = self._zip.getinfo(path)
        return info.file_size, info.CRC, info.compress_size


def opened_zip(path: Path) -> zipfile.ZipFile:
    """A zip archive, of at most MOST_ENTRIES.

    Raises:
        zipfile.BadZipFile: it is none, or has more.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        end: Any = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # the one reader of both kinds of ends
        if end:
            file.seek(max(0, end[zipfile._ECD_LOCATION] - end[zipfile._ECD_SIZE]))  # type: ignore[attr-defined]
            entries, tail = 0, b""
            while piece := file.read(2**20):
                entries += (tail + piece).count(ENTRY_BEGINS)
                tail = piece[1 - len(ENTRY_BEGINS) :]
            if entries > MOST_ENTRIES:
                raise zipfile.BadZipFile(f"more than {MOST_ENTRIES:,} files")
    return zipfile.ZipFile(path)


def _leads_out(member: zipfile.ZipInfo) -> bool:
    """Whether a member's name or content is a path to what lies elsewhere: absolute, through `..`, a link."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    return is_link or path.is_absolute() or ".." in path.parts or bool(PureWindowsPath(member.filename).drive)


def read_regular(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        OSError: it cannot be read, is larger than any image, or is a pipe or a device, which could keep us waiting for
            ever.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError("a pipe or a device, no file")
    check_bytes(found.st_size)
    return path.read_bytes()


def check_bytes(size: int) -> None:
    """Raises OSError for a file larger than an image's could be."""
    if size > MOST_BYTES:
        raise OSError(f"a file of {in_words(size)}, no image")


def is_image(path: str) -> bool:
    """Whether a file is an image by its name."""
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def is_litter(path: str) -> bool:
    """Whether a relative path leads through a hidden folder, or one that a system makes, or to such a file."""
    parts = PurePosixPath(path).parts
    return any(part.startswith(".") or part.lower() in SYSTEM_NAMES for part in parts) or (
        parts[-1].lower() in SYSTEM_FILES
    )


def without_litter(files: FileTree) -> list[str]:
    """Every file that somebody put there; says how many others there are."""
    paths = files.paths()
    litter = [path for path in paths if is_litter(path)]
    if litter:
        left = counted(len(litter), "file")
        log.info("%s: left out: %s of hidden or system folders (%s)", files.root, left, _few(litter))
    return [path for path in paths if not is_litter(path)]


def images_among(paths: Iterable[str], root: Path) -> list[str]:
    """Those that are images by their names; says how many are not, by kind."""
    paths = list(paths)
    others = Counter(PurePosixPath(path).suffix.lower() or "no suffix" for path in paths if not is_image(path))
    if others:
        kinds = ", ".join(f"{kind} {count}" for kind, count in others.most_common())
        left = counted(others.total(), "file")
        log.info("%s: left out: %s with no image's name (%s)", root, left, kinds)
    return [path for path in paths if is_image(path)]


def find_images(source: Path, setting: str = "input") -> list[Path]:
    """A file itself, or all images below a folder that a setting names, found as training finds them.

    Raises:
        ConfigError: there are none.
    """
    if source.exists() and not source.is_dir():
        return [source]
    found = images_among(without_litter(Folder(source)), source) if source.is_dir() else []
    if not found:
        state = f"holds no images ({', '.join(IMAGE_SUFFIXES)})" if source.is_dir() else "does not exist"
        raise ConfigError(f"{setting}='{source}' {state}: give an image or a folder of images.")
    return [source / path for path in found]


def _few(litter: Iterable[str]) -> str:
    """The first names that make paths litter."""
    names = list(dict.fromkeys(next(filter(is_litter, PurePosixPath(path).parts)) for path in litter))
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def make_writable(folder: Path, setting: str) -> None:
    """Make a folder that a setting names; raises ConfigError where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # which tells more than rights do: /proc grants them to root
            pass
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{setting} '{folder}' cannot be written to ({reason}): give another {setting}.") from error


FEWER_IMAGES = ", or take fewer or smaller images (data.stride, data.frames, data.image_size)"
"""What else helps where images need the room."""


def check_room(folder: Path, needed: int, setting: str, or_else: str = "") -> None:
    """Raises ConfigError where a disk is too full: writing to a memory map there would end a process without a word."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigError(
            f"{setting} '{folder}' has {in_words(free)} free and needs {in_words(needed)}: {FREE_SOME} room, or give "
            f"another {setting}{or_else}."
        )


def counted(number: int, thing: str) -> str:
    """A number of things as people say it."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def in_words(size: float) -> str:
    """A number of bytes as people say it."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
