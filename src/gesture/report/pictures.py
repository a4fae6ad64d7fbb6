"""Small pictures inside the page: the images that predictions name, and an evaluation's sheet of them. Few, capped."""

import base64
import io
import zipfile
from pathlib import Path

from PIL import Image

from gesture.config.refusals import ConfigError
from gesture.config.schema import DataConfig, Synthetic
from gesture.data.decode import BadImage
from gesture.data.files import FileTree, read_regular
from gesture.data.pixels import to_gray
from gesture.data.sources import synthetic
from gesture.data.sources.leapgestrecog import ARCHIVE_NAME
from gesture.data.trees import open_tree

SIDE = 192
"""Most pixels of a small picture's width and height."""
MOST_BYTES = 10_000
"""Of one picture's file; one that is larger at the lowest quality is left out."""
QUALITIES = (75, 50, 25)
"""Of JPEG, the first that is small enough."""
JPEG_BEGINS = b"\xff\xd8"
MOST_SHEET_BYTES = 200_000


class Pictures:
    """The images of a run's data, where they can still be read."""

    def __init__(self, data: DataConfig) -> None:
        root = Path(data.root).expanduser()
        roots = [synthetic.folder(data)] if isinstance(data, Synthetic) else [root, root / ARCHIVE_NAME]
        self._trees: list[FileTree] = [open_tree(one) for one in roots if one.exists()]
        self._depth = data.depth

    def of(self, path: str) -> str | None:
        """A small gray picture as a data: URI; None where the image is not there or no image any more."""
        for tree in self._trees:
            try:
                return _uri(to_gray(tree.read(path), self._depth))
            except (OSError, KeyError, BadImage, ConfigError, zipfile.BadZipFile):
                continue  # the next place, or no picture: a report is none the worse without
        return None


def sheet(path: Path) -> str | None:
    """A JPEG picture as a data: URI; None where it is not there, none, or larger than MOST_SHEET_BYTES."""
    try:
        content = read_regular(path)
    except OSError:
        return None
    if not content.startswith(JPEG_BEGINS) or len(content) > MOST_SHEET_BYTES:
        return None
    return _as_uri(content)


def _uri(picture: Image.Image) -> str | None:
    picture.thumbnail((SIDE, SIDE))
    for quality in QUALITIES:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, optimize=True)
        if file.tell() <= MOST_BYTES:
            return _as_uri(file.getvalue())
    return None


def _as_uri(content: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")
