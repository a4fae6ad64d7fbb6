"""Name the gestures in image files: a line each on the console and, where asked for, in a file."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from gesture.console import has_reader, printable
from gesture.data.decode import BadImage, Pixels
from gesture.data.files import counted
from gesture.inference.recogniser import Prediction, Recogniser
from gesture.runs.output import Output

log = logging.getLogger(__name__)


def predict_files(recogniser: Recogniser, paths: Sequence[Path], batch_size: int, output: Output | None) -> int:
    """Print what the network says of each image, write it to `output` whole at the end; how many were not readable.

    Where the output is standard output, nothing else is printed there. Without an output it ends when nobody reads
    what is printed any more.
    """
    lines, named = [], 0
    for path, prediction in _predictions(recogniser, paths, batch_size):
        if output is None or output.path:
            print(f"{printable(str(path))}\t{prediction.gesture}\t{prediction.probability:.4f}")
        named += 1
        if output:
            lines.append(json.dumps({"path": str(path), **asdict(prediction)}) + "\n")
        elif not has_reader():
            return 0
    if output:
        output.write("".join(lines))
    if named < len(paths):
        log.error("%d of %s could not be read", len(paths) - named, counted(len(paths), "image"))
    return len(paths) - named


def _predictions(recogniser: Recogniser, paths: Sequence[Path], batch_size: int) -> Iterator[tuple[Path, Prediction]]:
    """Each readable image with its prediction, in order."""
    for start in range(0, len(paths), batch_size):
        batch = list(_readable(recogniser, paths[start : start + batch_size]))
        if batch:
            predictions = recogniser.predict_pixels([pixels for _, pixels in batch])
            yield from zip((path for path, _ in batch), predictions, strict=True)


def _readable(recogniser: Recogniser, paths: Sequence[Path]) -> Iterator[tuple[Path, Pixels]]:
    """The images that can be read; the others are passed over with a message."""
    for path in paths:
        try:
            yield path, recogniser.prepare(path)
        except BadImage as error:
            log.error("%s: %s", printable(str(path)), error)
        except OSError as error:
            log.error("%s: %s", printable(str(path)), error.strerror or error)
