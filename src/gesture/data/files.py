"""The files below a root, which is a folder or a zip archive; and room for files of our own."""

import os
import shutil
import zipfile
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from gesture.config import ConfigError

State = tuple[int, int, int]
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


class FileTree(Protocol):
    """Files by their path relative to a root, with forward slashes. Another process can be sent them."""

    root: Path

    def paths(self) -> list[str]:
        """Every file, sorted."""
        ...

    def read(self, path: str) -> bytes: ...

    def state(self, path: str) -> State:
        """Numbers that differ when the file may have changed; found without reading it."""
        ...


class Folder:
    """Files of a folder, at any depth, links followed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def paths(self) -> list[str]:
        found = []
        for folder, _, names in os.walk(self.root, followlinks=True):
            relative = Path(folder).relative_to(self.root).as_posix()
            found += [name if relative == "." else f"{relative}/{name}" for name in names]
        return sorted(found)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def state(self, path: str) -> State:
        stat = (self.root / path).stat()
        # The change time cannot be set back, as a modification time can.
        return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


class Archive:
    """Files of a zip archive."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __reduce__(self) -> tuple[type["Archive"], tuple[Path]]:
        return Archive, (self.root,)  # every process opens it anew

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.root)
        except zipfile.BadZipFile as error:
            raise ConfigError(f"{self.root} is no readable zip archive ({error}): download it again.") from error

    def paths(self) -> list[str]:
        return sorted(name for name in self._zip.namelist() if not name.endswith("/"))

    def read(self, path: str) -> bytes:
        return self._zip.read(path)

    def state(self, path: str) -> State:
        info = self._zip.getinfo(path)
        return info.file_size, info.CRC, info.compress_size


def is_image(path: str) -> bool:
    """By its name."""
    return PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES


def open_tree(root: Path) -> FileTree:
    """The folder or archive at `root`."""
    return Archive(root) if root.is_file() else Folder(root)


def make_writable(folder: Path, setting: str) -> None:
    """Make a folder that a setting names; raises ConfigError where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError("no right to write there")
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{setting} '{folder}' cannot be written to ({reason}): give another {setting}.") from error


def check_room(folder: Path, needed: int, setting: str) -> None:
    """Raises ConfigError where a disk is too full: writing to a memory map there would end a process without a word."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigError(
            f"{setting} '{folder}' has {free / 1e9:.2f} GB free and needs {needed / 1e9:.2f} GB: free some room, give "
            f"another {setting}, or take fewer or smaller images (data.stride, data.frames, data.image_size)."
        )
