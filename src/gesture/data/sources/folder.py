"""Anybody's images: a tree with one folder per gesture, which may stand in folders train/, val/ and test/."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from gesture.config.refusals import ConfigError
from gesture.config.schema import Folder
from gesture.data.files import Archive, FileTree, images_among, without_litter
from gesture.data.samples import Row, Samples, table
from gesture.data.sources.leapgestrecog import FRAME
from gesture.data.trees import open_tree

log = logging.getLogger(__name__)

GROUPS = {"subject", "frame", "gesture"}
SIDES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "dev": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Which part of a split a folder below the root holds, by its name in lower case."""


def load(config: Folder) -> Samples:
    """The table of all images below a root.

    The gesture is the first folder below the root, or the second where the first ones are train/, val/ and test/,
    unless the pattern has a group `gesture`. The pattern is searched in each image's path; its groups `subject` and
    `frame` tell whose image it is and where in a sequence it stands. An archive's one outermost folder is no gesture.

    Raises:
        ConfigError: no images, images outside of gesture folders, or a pattern that does not fit them all.
    """
    root = Path(config.root).expanduser()
    if not root.exists():
        raise ConfigError(f"data.root '{root}' does not exist: give the folder that holds one folder per gesture.")
    files = open_tree(root)
    present = without_litter(files)
    paths = images_among(present, root)
    if not paths:
        raise ConfigError(
            f"data.root '{root}' holds no images: expected <gesture>/*.png, .jpg, .bmp, .tif or .webp below it."
        )
    expression = _compiled(config.pattern)
    wrapping = _wrapping(files, paths)
    names_gestures = "gesture" in expression.groupindex
    is_split = _is_split(paths, wrapping, whole=names_gestures)
    if not names_gestures:
        if not is_split:
            _refuse_sides(paths, wrapping, root)
        _refuse_people(paths, root)
        _name_empty(present, paths, wrapping + is_split)
    rows = [_row(path, order, expression, wrapping, is_split) for order, path in enumerate(paths)]
    return table("folder", files, rows)


def _compiled(pattern: str | None) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern or "")
    except re.error as error:
        raise ConfigError(f"data.pattern {pattern!r} is no regular expression: {error}.") from error
    if unknown := set(expression.groupindex) - GROUPS:
        raise ConfigError(f"data.pattern has unknown groups {sorted(unknown)}: it may have subject, frame and gesture.")
    if pattern and not set(expression.groupindex) & GROUPS:
        raise ConfigError(f"data.pattern {pattern!r} names nothing: give it a group such as (?P<subject>...).")
    return expression


def _wrapping(files: FileTree, paths: Sequence[str]) -> int:
    """How many outermost folders of an archive hold everything, and folders only."""
    parts = [PurePosixPath(path).parts for path in paths]
    depth = 0
    while isinstance(files, Archive) and all(len(one) > depth + 2 for one in parts):
        if len({one[depth] for one in parts}) > 1:
            break
        depth += 1
    return depth


def _is_split(paths: Sequence[str], wrapping: int, whole: bool) -> bool:
    """Whether the folders below the root are training and validation or test; with `whole` these alone."""
    parts = [PurePosixPath(path).parts for path in paths]
    sides = {SIDES.get(one[wrapping].lower()) if len(one) > wrapping + 1 else None for one in parts}
    return "train" in sides and len(sides - {None}) > 1 and not (whole and None in sides)


def _refuse_sides(paths: Sequence[str], wrapping: int, root: Path) -> None:
    """Folders called val/ and test/ alone are hardly gestures."""
    first = {parts[wrapping] for path in paths if len(parts := PurePosixPath(path).parts) > wrapping + 1}
    if len(first) > 1 and all(name.lower() in SIDES for name in first):
        raise ConfigError(
            f"data.root '{root}' has {', '.join(sorted(first))} and no folder train: give the folder that has it, or "
            "say with data.pattern='(?P<gesture>...)' what the gestures are."
        )


def _refuse_people(paths: Sequence[str], root: Path) -> None:
    """LeapGestRecog's folders of gestures stand in people's, and its own source knows that."""
    found = [(PurePosixPath(path).parts[-3:-2], FRAME.fullmatch(PurePosixPath(path).name)) for path in paths]
    if all(name and person == (name["subject"],) for person, name in found):
        raise ConfigError(
            f"data.root '{root}' holds LeapGestRecog, whose outer folders are people, not gestures: read it with "
            r"data=leapgestrecog, or say so with data.pattern='(?P<subject>\d+)/(?P<gesture>\w+)/'."
        )


def _name_empty(present: Sequence[str], paths: Sequence[str], depth: int) -> None:
    """Warn of gestures' folders that hold files but no image."""

    def gestures(some: Sequence[str]) -> set[str]:
        parts = (PurePosixPath(path).parts for path in some)
        return {one[depth] for one in parts if len(one) > depth + 1}

    if empty := sorted(gestures(present) - gestures(paths)):
        log.warning("no gesture: %s, whose files are no images by their names", ", ".join(empty))


def _row(path: str, order: int, expression: re.Pattern[str], wrapping: int, is_split: bool) -> Row:
    found = expression.search(path)
    if found is None:
        raise ConfigError(f"data.pattern {expression.pattern!r} does not fit '{path}': every image must match it.")
    groups = found.groupdict()
    if missing := [name for name, text in groups.items() if not text]:
        raise ConfigError(f"data.pattern finds no {missing[0]} in '{path}': every image must have one.")
    *folders, _ = PurePosixPath(path).parts[wrapping:]
    side = SIDES.get(folders.pop(0).lower()) if is_split and folders else None
    if is_split and side is None:
        raise ConfigError(f"'{path}' stands beside the folders of a split, train/ and others: move it elsewhere.")
    gesture = groups.get("gesture") or (folders[0] if folders else None)
    if gesture is None:
        where = f"{side}/<gesture>/..." if side else "<gesture>/..."
        raise ConfigError(f"'{path}' lies in no gesture's folder: expected {where} below data.root.")
    frame = groups.get("frame")
    if frame is not None and not frame.isdecimal():
        raise ConfigError(f"data.pattern finds frame {frame!r} in '{path}': the group frame must match digits.")
    return Row(path, groups.get("subject"), gesture, int(frame) if frame is not None else order, side)
