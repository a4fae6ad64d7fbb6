"""An audit from its configuration to what it leaves: audit.json, pictures of pairs, and tables."""

import logging
import shlex
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from gesture.config.names import PARTS
from gesture.config.refusals import Crossed
from gesture.config.schema import AuditConfig, Folder
from gesture.console import track
from gesture.data.pixels import resize, to_gray
from gesture.data.prepare import Data, prepare, prepare_listed
from gesture.data.samples import Indices
from gesture.data.thumbnails import thumbnails
from gesture.data.whom import describe_split
from gesture.evaluation.audit import Audit, audit
from gesture.report import findings, plots
from gesture.runs.files import to_json, write_atomically

log = logging.getLogger(__name__)

VERSION = 1
"""Of audit.json."""
IN_SECONDS = 4000
"""Images up to which looking up takes no two seconds and shows no bar."""


def run(config: AuditConfig, folder: Path) -> Audit:
    """Audit the data and the split of a configuration, and leave what was found in a folder.

    Raises:
        ConfigError: no images, bad images, or a split the data do not allow.
        Crossed: audit.strict, and something stands on several sides.
    """
    data = _prepared(config)
    has_pixels = data.images.size > 0
    found = audit(
        data.samples,
        data.copies,
        data.split,
        thumbnails(data.images, np.arange(len(data.samples))) if has_pixels else None,
        _numbers_frames(config),
        config.audit.queries,
        config.split.seed,
        list if len(data.samples) <= IN_SECONDS else _shown,
    )
    split = describe_split(config.split, data)
    record = {"version": VERSION, "dataset": data.describe(), "split": split, **found.to_record()}
    write_atomically(folder / "audit.json", to_json(record))
    if has_pixels:
        _draw(folder / "plots", data, found, config)
    log.info("%s", findings.summary(found, split["identical_images_that_would_have_crossed"]))
    log.info("%s", split["note"])
    log.info("audit: %s", shlex.quote(str(folder)))
    if config.audit.strict and found.crosses:
        raise Crossed(f"the split is crossed by {'; '.join(found.crosses)}: audit.json in '{folder}' lists them.")
    return found


def _prepared(config: AuditConfig) -> Data:
    if config.audit.manifest is None:
        return prepare(config.data, config.split)
    return prepare_listed(config.data, config.split, Path(config.audit.manifest).expanduser())


def _numbers_frames(config: AuditConfig) -> bool:
    """Whether frames have numbers of their own, not only places in the order of their names."""
    return not isinstance(config.data, Folder) or "(?P<frame>" in (config.data.pattern or "")


def _shown(blocks: Sequence[Indices]) -> Iterator[Indices]:
    """The blocks of images that are looked up, with a bar."""
    return track(blocks, "comparing images, by blocks", len(blocks))


def _draw(folder: Path, data: Data, found: Audit, config: AuditConfig) -> None:
    """A picture of pairs of each kind that was found."""
    assert found.near is not None
    assert found.labels is not None
    kinds = {
        "identical": [(group.paths[0], group.paths[1], "identical") for group in found.identical.groups],
        "near_across_sides": [_apart(pair.path, pair.other, pair.distance) for pair in found.near.across_sides],
        "near_across_subjects": [
            _apart(pair.path, pair.other, pair.distance) for pair in found.near.across_subjects or ()
        ],
        "likely_wrong": [_apart(one.path, one.nearest, one.distance) for one in found.labels.suspects],
    }
    folder.mkdir(exist_ok=True)
    drawn = plots.Publisher(folder, ())
    for name, pairs in kinds.items():
        if pairs:
            drawn.publish(name, partial(_pairs, data, _spread(pairs, config.audit.pairs), config.data.depth))


def _spread(pairs: Sequence[tuple[str, str, str]], most: int) -> list[tuple[str, str, str]]:
    """Some of the pairs, from the nearest to those just below the limit."""
    places = np.unique(np.linspace(0, len(pairs) - 1, min(most, len(pairs))).astype(int))
    return [pairs[place] for place in places]


def _apart(path: str, other: str, distance: float) -> tuple[str, str, str]:
    return path, other, f"{distance:.1f} apart"


def _pairs(data: Data, pairs: Sequence[tuple[str, str, str]], depth: int) -> plots.Drawn:
    """Each pair's two images beside each other, as they are on disk, under what they are."""
    row_of = {path: row for row, path in enumerate(data.samples.paths)}
    shown = [(path, relation) for one, other, relation in pairs for path, relation in ((one, ""), (other, relation))]
    images = [to_gray(data.samples.files.read(path), depth) for path, _ in shown]
    shape = max(1, round(plots.PAIR * images[0].height / images[0].width)), plots.PAIR
    titles = [", ".join(filter(None, (_named(data, row_of[path]), relation))) for path, relation in shown]
    return plots.pairs(np.stack([resize(image, shape) for image in images]), titles)


def _named(data: Data, row: int) -> str:
    """Whose image of what, and where it stands."""
    samples = data.samples
    person = f"{samples.subject_names[samples.subjects[row]]} " if samples.knows_subjects else ""
    side = next((part for part in PARTS if row in data.split[part]), "left out")
    return f"{person}{samples.class_names[samples.gestures[row]]} {samples.frames[row]}, {side}"
