"""Name the gesture in each image of a file or folder.

python -m gesture.predict run=logs/resnet18/<run> input=hand.png
python -m gesture.predict run=logs/resnet18/<run>/checkpoints/last.ckpt input=images/ output=predictions.jsonl
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gesture.command import RunFailed, entry_point
from gesture.config import ConfigError, PredictConfig
from gesture.data.files import is_image, make_writable

if TYPE_CHECKING:
    from gesture.data.decode import Pixels
    from gesture.recogniser import Prediction, Recogniser

log = logging.getLogger(__name__)


@entry_point("predict")
def main(config: PredictConfig) -> None:
    paths = find_images(Path(config.input).expanduser())
    if config.output:
        make_writable(Path(config.output).expanduser().absolute().parent, "output")

    import gesture  # load() imports torch, which a mistyped path need not wait for

    recogniser = gesture.load(config.run, config.accelerator)
    with ExitStack() as stack:
        file = stack.enter_context(Path(config.output).expanduser().open("w")) if config.output else None
        named = 0
        for path, prediction in predict_files(recogniser, paths, config.batch_size):
            print(f"{path}\t{prediction.gesture}\t{prediction.probability:.4f}")
            named += 1
            if file:
                file.write(json.dumps({"path": str(path), **asdict(prediction)}) + "\n")
    if named < len(paths):
        log.error("%d of %d images could not be read", len(paths) - named, len(paths))
        raise RunFailed


def find_images(source: Path) -> list[Path]:
    """The image itself, or all images below a folder.

    Raises:
        ConfigError: there are none.
    """
    if source.is_file():
        return [source]
    found = sorted(path for path in source.rglob("*") if path.is_file() and is_image(path.name))
    if not found:
        state = "holds no images (.png, .jpg, .bmp, .webp)" if source.is_dir() else "does not exist"
        raise ConfigError(f"input='{source}' {state}: give an image or a folder of images.")
    return found


def predict_files(
    recogniser: "Recogniser", paths: Sequence[Path], batch_size: int
) -> Iterator[tuple[Path, "Prediction"]]:
    """Each readable image with its prediction, in order; the others are passed over with a message."""
    import numpy as np

    from gesture.data.decode import strict_decoding

    with strict_decoding():
        for start in range(0, len(paths), batch_size):
            batch = list(_readable(recogniser, paths[start : start + batch_size]))
            if batch:
                pixels = np.stack([pixels for _, pixels in batch])
                yield from zip((path for path, _ in batch), recogniser.predict_pixels(pixels), strict=True)


def _readable(recogniser: "Recogniser", paths: Sequence[Path]) -> Iterator[tuple[Path, "Pixels"]]:
    from gesture.data.decode import BadImage

    for path in paths:
        try:
            yield path, recogniser.prepare(path)
        except (BadImage, OSError) as error:
            log.error("%s: %s", path, error)


if __name__ == "__main__":
    main()
