"""LeapGestRecog (T. Mantecón et al., 2016; Kaggle gti-upm/leapgestrecog): 10 people, 10 gestures, 20,000 frames."""

import logging
import re
from pathlib import Path, PurePosixPath

from gesture.config.refusals import ConfigError
from gesture.config.schema import LeapGestRecog
from gesture.data.files import FileTree, counted, without_litter
from gesture.data.samples import Row, Samples, table
from gesture.data.trees import open_tree

log = logging.getLogger(__name__)

KAGGLE_NAME = "gti-upm/leapgestrecog"
ARCHIVE_NAME = "archive.zip"
FRAME = re.compile(r"frame_(?P<subject>\d+)_(?P<gesture>\d+)_(?P<frame>\d+)\.png")


def load(config: LeapGestRecog) -> Samples:
    """The table of all frames below a root, whatever level of the data set's tree it names; fetched first if wished.

    Raises:
        ConfigError: no frames there and no download asked for, or one frame's two files differ.
    """
    root = Path(config.root).expanduser()
    if config.download and not _find(root)[1]:
        root = _download(root)
    return read(root)


def read(root: Path) -> Samples:
    """The table of all frames below a root.

    Kaggle's archive holds the whole tree twice, one inside the other; each frame is taken once.

    Raises:
        ConfigError: no frames there, or one frame's two files differ.
    """
    files, rows = _find(root)
    if not rows:
        raise ConfigError(_missing(root))
    unique = _take_once(files, rows)
    if len(unique) < len(rows):
        twice = counted(len(rows) - len(unique), "frame")
        log.info("%s holds %s twice (Kaggle's doubled folder); each is taken once", root, twice)
    return table("leapgestrecog", files, unique, taken_once=len(rows) - len(unique))


def _find(root: Path) -> tuple[FileTree, list[Row]]:
    """The frames in a folder or archive, or else in the archive that lies in the folder."""
    if not root.exists():
        return open_tree(root), []
    files = open_tree(root)
    rows = _rows(files)
    if not rows and (root / ARCHIVE_NAME).is_file():
        files = open_tree(root / ARCHIVE_NAME)
        rows = _rows(files)
    return files, rows


def _rows(files: FileTree) -> list[Row]:
    rows = []
    for path in without_litter(files):
        name = PurePosixPath(path).name
        if found := FRAME.fullmatch(name):
            folder = PurePosixPath(path).parent.name or files.root.name
            rows.append(Row(path, found["subject"], folder, int(found["frame"])))
    return rows


def _take_once(files: FileTree, rows: list[Row]) -> list[Row]:
    """The first file of each frame, which is the one highest in the tree."""
    first: dict[tuple[str | None, str, int], Row] = {}
    for row in sorted(rows, key=lambda row: (row.path.count("/"), row.path)):
        kept = first.setdefault((row.subject, row.gesture, row.frame), row)
        if files.state(kept.path)[0] != files.state(row.path)[0]:
            raise ConfigError(
                f"{kept.path} and {row.path} below {files.root} are different images of one name: {_LEVEL}"
            )
    return list(first.values())


_LEVEL = "name the one data set to use with data.root."


def _download(root: Path) -> Path:
    try:
        import kagglehub
    except ImportError as error:
        raise ConfigError("data.download=true needs the extra 'data': pip install kagglehub==1.0.2.") from error
    log.info("fetching %s from Kaggle to %s (about 2 GB)", KAGGLE_NAME, root)
    try:
        return Path(kagglehub.dataset_download(KAGGLE_NAME, output_dir=str(root)))
    except Exception as error:  # whatever goes wrong on the way, the remedy is the same
        raise ConfigError(f"Kaggle's {KAGGLE_NAME} could not be fetched ({error}). {_missing(root)}") from error


def _missing(root: Path) -> str:
    found = sum(1 for path in root.rglob("*") if path.is_file()) if root.is_dir() else 0
    state = "no such path"
    if root.exists():
        state = f"expected <subject>/<gesture>/frame_*.png below it, found {counted(found, 'file')}"
    return (
        f"data.root '{root}' holds no LeapGestRecog images: {state}. Get the data set with data.download=true, or from "
        f"Kaggle ({KAGGLE_NAME}) with data.root=<its folder or archive.zip>, or go on now with data=synthetic."
    )
