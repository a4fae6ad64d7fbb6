"""How the files of a run are written and read: whole or not at all, and damage said in a sentence."""

import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from gesture.config.refusals import ConfigError
from gesture.data.files import read_regular
from gesture.writing import UNFINISHED, naming, replacing

ANY_NAME = "surrogateescape"
"""How a text keeps bytes of file names that are no UTF-8."""
MOST_BYTES = 2**26
"""Of a JSON file, such as the split of a million images."""


def write_atomically(path: Path, text: str) -> None:
    """Replace a file; a reader, also after a crash, sees the old one or the new one, whole."""
    with replacing(path) as unfinished:
        _write_synced(unfinished, text)


def make_atomically(path: Path, text: str) -> None:
    """Make a file, which only one process can; it is whole from its first moment on.

    Raises:
        FileExistsError: it is there already.
    """
    own = path.with_name(f".{path.name}.{uuid4().hex}{UNFINISHED}")
    try:
        with naming(path):
            _write_synced(own, text)
        try:
            os.link(own, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links: it is empty for a moment
            path.touch(exist_ok=False)
            own.replace(path)
    finally:
        with suppress(OSError):
            own.unlink()


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", errors=ANY_NAME, newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def to_json(value: Any) -> str:
    """JSON with a setting a line, a matrix's row a line, and null for what is not a finite number."""
    lines = [f" {json.dumps(key)}: {_nested(item, 1)}" for key, item in _finite(value).items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _nested(value: Any, depth: int) -> str:
    """Dictionaries and lists of them over several lines, lists of numbers or words in one."""
    indent = " " * (depth + 1)
    if isinstance(value, dict) and value:
        lines = [
            f"{indent}{json.dumps(key, ensure_ascii=False)}: {_nested(item, depth + 1)}" for key, item in value.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return "[\n" + ",\n".join(indent + _nested(item, depth + 1) for item in value) + "\n" + " " * depth + "]"
    return json.dumps(value, ensure_ascii=False)


def _finite(value: Any) -> Any:
    """NaN and infinities as null, since JSON has none."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """A file of a run.

    Raises:
        ConfigError: it is not there, cannot be read, or is larger than any that a run writes.
    """
    try:
        if path.stat().st_size > most:
            raise ConfigError(f"'{path}' is damaged: it is larger than any that a run writes.")
        return read_regular(path).decode("utf-8", errors=ANY_NAME).replace("\r\n", "\n")
    except FileNotFoundError as error:
        raise ConfigError(
            f"'{path.parent}' has no {path.name}, so it is no run directory: give logs/<name>/<run>."
        ) from error
    except OSError as error:
        raise ConfigError(f"'{path}' cannot be read ({error.strerror or error}): give another run.") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of a run.

    Raises:
        ConfigError: it is not there, or damaged.
    """
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"'{path}' is damaged: it was not written or copied to its end.") from error
    if not isinstance(content, dict):
        raise ConfigError(f"'{path}' is damaged: it holds something else than a record.")
    return content
