"""What can be told of a checkpoint's file without torch, which a mistyped path need not wait for."""

import zipfile
from pathlib import Path

from gesture.config.refusals import ConfigError

ZIP_BEGINS = b"PK\x03\x04"
REMEDY = "give a run, or a checkpoint that gesture.train wrote"


def check_file(path: Path) -> None:
    """Raises ConfigError unless a file is there, whole, and of the kind that checkpoints are."""
    if not path.exists():
        raise ConfigError(f"'{path}' does not exist: {REMEDY}.")
    if not path.is_file():
        raise ConfigError(f"'{path}' is no file: {REMEDY}.")
    try:
        with path.open("rb") as file:
            begin = file.read(len(ZIP_BEGINS))
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read ({error.strerror}): give another checkpoint.") from error
    if not begin:
        raise ConfigError(f"'{path}' is empty: {REMEDY}.")
    if begin != ZIP_BEGINS:
        raise ConfigError(f"'{path}' is no checkpoint: {REMEDY}.")
    if not _has_contents(path):
        raise ConfigError(f"'{path}' is cut off, so it was not written or copied to its end: {REMEDY}.")


def _has_contents(path: Path) -> bool:
    """Whether an archive ends with its table of contents."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False
