"""Anybody's images: a tree with one folder per gesture."""

import re
from pathlib import Path, PurePosixPath

from gesture.config import ConfigError
from gesture.data.files import is_image, open_tree
from gesture.data.samples import Row, Samples, table

GROUPS = {"subject", "frame", "gesture"}


def load(root: Path, pattern: str | None) -> Samples:
    """The table of all images below a root.

    The gesture is the first folder below the root unless the pattern has a group `gesture`. The pattern is searched in
    each image's path; its groups `subject` and `frame` tell whose image it is and where in a sequence it stands.

    Raises:
        ConfigError: no images, images outside of gesture folders, or a pattern that does not fit them all.
    """
    if not root.exists():
        raise ConfigError(f"data.root '{root}' does not exist: give the folder that holds one folder per gesture.")
    files = open_tree(root)
    paths = [path for path in files.paths() if is_image(path)]
    if not paths:
        raise ConfigError(
            f"data.root '{root}' holds no images: expected <gesture>/*.png, .jpg, .bmp or .webp below it."
        )
    expression = _compiled(pattern)
    return table("folder", files, [_row(path, order, expression) for order, path in enumerate(paths)])


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


def _row(path: str, order: int, expression: re.Pattern[str]) -> Row:
    found = expression.search(path)
    if found is None:
        raise ConfigError(f"data.pattern {expression.pattern!r} does not fit '{path}': every image must match it.")
    groups = found.groupdict()
    parts = PurePosixPath(path).parts
    gesture = groups.get("gesture") or (parts[0] if len(parts) > 1 else None)
    if gesture is None:
        raise ConfigError(f"'{path}' lies in no gesture's folder: expected <gesture>/... below data.root.")
    frame = groups.get("frame")
    if frame is not None and not frame.isdecimal():
        raise ConfigError(f"data.pattern finds frame {frame!r} in '{path}': the group frame must match digits.")
    return Row(path, groups.get("subject"), gesture, int(frame) if frame is not None else order)
