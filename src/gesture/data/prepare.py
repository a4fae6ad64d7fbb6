"""Everything known about the data before a network sees it; needs no torch, so that bad data are refused at once."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from gesture.config.names import PARTS
from gesture.config.refusals import ConfigError
from gesture.config.schema import DataConfig, Folder, FolderSplit, LeapGestRecog, SplitConfig, Synthetic
from gesture.data.cache import Cache, open_cache
from gesture.data.dealing import Split
from gesture.data.decode import Images
from gesture.data.exclusion import excluded
from gesture.data.files import counted
from gesture.data.manifest import Manifest
from gesture.data.samples import UNKNOWN, Indices, Samples, every_nth_frame
from gesture.data.sources import folder, leapgestrecog, synthetic
from gesture.data.splits import check_split, folder_note, from_record, make_split, untrained
from gesture.data.thumbnails import thumbnails
from gesture.data.views import sequences, views_of

log = logging.getLogger(__name__)

LISTED_BAD_IMAGES = 20
LISTED_PAIRS = 3
LISTED_NAMES = 10
LOADERS: dict[type[DataConfig], Callable[[Any], Samples]] = {
    LeapGestRecog: leapgestrecog.load,
    Folder: folder.load,
    Synthetic: synthetic.load,
}


@dataclass(frozen=True)
class Data:
    """The samples that could be decoded, their images and their split."""

    samples: Samples
    images: Images
    """[N, height, width]"""
    copies: Indices
    split: Split
    bad: dict[str, str]
    fingerprint: str
    excluded: int = 0
    """Images left out because data.exclude names them."""
    use: FileLock | None = None
    """While it exists the images stay on disk."""
    digests: tuple[str, ...] = ()
    """[N] of the images' pixels at their original size; none where only names are known."""

    @cached_property
    def views(self) -> Indices:
        """[N] which of two interleaved views each image shows, or UNKNOWN; guessed when first asked for."""
        pixels = thumbnails(self.images, np.arange(len(self.samples)))
        return views_of(self.samples, sequences(self.samples, pixels, self.copies))

    def describe(self) -> dict[str, Any]:
        """The `dataset` entry of result.json."""
        return {
            "name": self.samples.dataset,
            "fingerprint": self.fingerprint,
            "images": len(self.samples),
            "subjects": len(self.samples.subject_names),
            "gestures": len(self.samples.class_names),
            "identical_images": int(len(self.copies) - len(np.unique(self.copies))),
            "taken_once": self.samples.taken_once,
            "bad_images": len(self.bad),
            "excluded_images": self.excluded,
        }


def prepare(data: DataConfig, split: SplitConfig) -> Data:
    """Find, decode and split the images of a configuration.

    Raises:
        ConfigError: no images, bad images, or a split the data do not allow.
    """
    _check_people(data, split)
    table = load_samples(data)
    _check_own_split(data, split, table)
    kept = _without_excluded(table, data.exclude)
    check_split(split, kept)
    cache = _cache(data, kept)
    if cache.bad and data.on_bad_image == "error":
        raise ConfigError(_list_bad(cache.bad))
    samples = _without_empty(kept.take(cache.rows), "none of whose images can be decoded")
    made = make_split(split, samples, cache.copies)
    _warn(samples, cache, made, split)
    return _joined(samples, cache, made, len(table) - len(kept))


def prepare_listed(data: DataConfig, split: SplitConfig, manifest: Path) -> Data:
    """The files of a manifest in place of images: their split, and by their sums which are identical; no pixels.

    Subjects and folds are a training's. A random split is, too, if it does not keep copies together; else it is another
    draw of the same kind, since a training draws groups of identical pixels.

    Raises:
        ConfigError: no manifest, one of images that this data set would not have, or a split they do not allow.
    """
    if isinstance(data, Synthetic):
        raise ConfigError("audit.manifest lists files that are there, not rendered ones: give data=leapgestrecog.")
    listed = Manifest(manifest)
    listed.paths()  # what is no manifest is told as such before it is taken for a data set
    table = load_samples(replace(data, root=str(manifest)))
    samples = _without_excluded(table, data.exclude)
    copies = listed.copies(samples.paths)
    no_pixels = np.empty((len(samples), 0, 0), dtype=np.uint8)
    made = make_split(split, samples, copies)
    return Data(samples, no_pixels, copies, made, {}, listed.fingerprint(samples.paths), len(table) - len(samples))


def prepare_recorded(data: DataConfig, record: dict[str, Any], class_names: Sequence[str]) -> Data:
    """The images of a run's recorded split, each with the gesture the run knew it by.

    Images and gestures that came since are in no part of it; what they are like does not matter.

    Args:
        data: the run's, with `root` and `cache_dir` as they are here.
        record: what `splits.to_record` made.
        class_names: the run's gestures, in the order of its network's outputs.

    Raises:
        ConfigError: an image of the record is missing or bad, or shows no gesture of the run's.
    """
    table = _load(data)
    kept = table.take(np.flatnonzero(~excluded(table, data.exclude, strict=False)))
    from_record(record, kept)
    cache = _cache(data, kept)
    recorded = {path for part in PARTS for path in record[part]}
    if bad := {path: reason for path, reason in cache.bad.items() if path in recorded}:
        raise ConfigError(_list_bad(bad))
    samples = kept.take(cache.rows).with_classes(class_names)
    split = from_record(record, samples)
    for part in PARTS:
        for row in split[part][samples.gestures[split[part]] == UNKNOWN]:
            raise ConfigError(f"'{samples.paths[row]}' shows no gesture of the run's: {', '.join(class_names)}.")
    return _joined(samples, cache, split, len(table) - len(kept))


def prepare_other(
    data: DataConfig, split: SplitConfig | None, class_names: Sequence[str]
) -> tuple[Data, dict[str, Indices]]:
    """Images that a finished run is to name, and the rows of each gesture that it does not know.

    The data's `test` is what the split tests, or all images where there is no split; gestures of the run's are numbered
    as it numbers them, and those of others are in no part.

    Args:
        data: where the images are.
        split: who tests; None: all.
        class_names: the run's gestures, in the order of its network's outputs.

    Raises:
        ConfigError: what `prepare` refuses, or no image shows a gesture of the run's.
    """
    if split is None:
        table = _load(data)
        kept = _without_excluded(table, data.exclude)
        cache = _cache(data, kept)
        if cache.bad and data.on_bad_image == "error":
            raise ConfigError(_list_bad(cache.bad))
        samples = kept.take(cache.rows)
        none = np.array([], dtype=np.int64)
        found = _joined(samples, cache, Split(none, none, np.arange(len(samples)), none), len(table) - len(kept))
    else:
        found = prepare(data, split)
    named, own = found.samples.with_classes(class_names), found.samples.class_names
    foreign = {
        name: np.flatnonzero(found.samples.gestures == index)
        for index, name in enumerate(own)
        if name not in class_names
    }
    test = found.split.test[named.gestures[found.split.test] != UNKNOWN]
    if not len(test):
        raise ConfigError(
            f"none of the images shows a gesture of the run's: they show {_few(own)}, and the run knows "
            f"{_few(class_names)}. Gestures are matched by their folders' names."
        )
    parts = replace(found.split, test=test)
    return replace(found, samples=named, split=parts), {name: rows for name, rows in foreign.items() if len(rows)}


def load_samples(config: DataConfig) -> Samples:
    """The table that a configuration names.

    Raises:
        ConfigError: no images, or fewer than two gestures.
    """
    samples = _load(config)
    if len(samples.class_names) < 2:
        raise ConfigError(
            f"data.root '{config.root}' shows only {samples.class_names[0]}: a classifier needs two gestures or more."
        )
    return samples


def _load(config: DataConfig) -> Samples:
    return every_nth_frame(LOADERS[type(config)](config), config.stride)


def _check_people(data: DataConfig, split: SplitConfig) -> None:
    """Refuse people and folds that rendering would not bring about, before it."""
    if isinstance(data, Synthetic) and not synthetic.is_rendered(data):
        check_split(split, synthetic.planned(data))


def _check_own_split(data: DataConfig, split: SplitConfig, samples: Samples) -> None:
    """A data set's own split is used, or the person has said what else the gestures are."""
    named = isinstance(data, Folder) and "(?P<gesture>" in (data.pattern or "")
    if samples.sides is not None and not named and not isinstance(split, FolderSplit):
        raise ConfigError(
            f"data.root '{data.root}' holds the folders of a split of its own, train/ and others: use it with "
            "split=folder, or name one of them with data.root."
        )


def _cache(config: DataConfig, samples: Samples) -> Cache:
    cache_dir = Path(config.cache_dir).expanduser()
    return open_cache(samples, config.image_size, cache_dir, config.depth, config.cache_gb)


def _without_excluded(samples: Samples, entries: Sequence[str]) -> Samples:
    """The table without what data.exclude names; says how much that is."""
    left_out = excluded(samples, entries, strict=True)
    if not left_out.any():
        return samples
    if left_out.all():
        raise ConfigError(f"data.exclude leaves no image below '{samples.files.root}': name fewer.")
    log.info("left out: %s by data.exclude", counted(int(left_out.sum()), "image"))
    kept = _without_empty(samples.take(np.flatnonzero(~left_out)), "all of whose images data.exclude leaves out")
    if len(kept.class_names) < 2:
        raise ConfigError(
            f"data.exclude leaves only {kept.class_names[0]}: a classifier needs two gestures or more, so name fewer."
        )
    return kept


def _without_empty(samples: Samples, why: str) -> Samples:
    """The table without gestures and people that have no image any more; says which gestures, and why."""
    some = samples.without_empty()
    if empty := [name for name in samples.class_names if name not in some.class_names]:
        log.warning("no gesture: %s, %s", ", ".join(empty), why)
    return some


def _warn(samples: Samples, cache: Cache, split: Split, config: SplitConfig) -> None:
    """Say what a person would want to know before training."""
    if cache.bad:
        some = ", ".join(list(cache.bad)[:3])
        log.warning("left out since they cannot be decoded: %s, %s", counted(len(cache.bad), "image"), some)
    if isinstance(config, FolderSplit) and (note := folder_note(samples)):
        log.info(note)
    if names := untrained(split, samples):
        log.warning("no image of %s is trained on: it cannot be learned", ", ".join(names))
    if pairs := _contradictions(samples, cache.copies):
        listed = "; ".join(f"{one} = {other}" for one, other in pairs[:LISTED_PAIRS])
        more = f"; and {len(pairs) - LISTED_PAIRS} more" if len(pairs) > LISTED_PAIRS else ""
        log.warning("under two gestures: %s: %s%s", counted(len(pairs), "picture"), listed, more)


def _contradictions(samples: Samples, copies: Indices) -> list[tuple[str, str]]:
    """Pairs of paths with one picture and two gestures: each with the first of its copies."""
    _, first, group_of_row = np.unique(copies, return_index=True, return_inverse=True)
    differs = np.flatnonzero(samples.gestures != samples.gestures[first[group_of_row]])
    return [(samples.paths[first[group_of_row[row]]], samples.paths[row]) for row in differs]


def _list_bad(bad: dict[str, str]) -> str:
    listed = "; ".join(f"{path} ({reason})" for path, reason in list(bad.items())[:LISTED_BAD_IMAGES])
    more = f"; and {len(bad) - LISTED_BAD_IMAGES} more" if len(bad) > LISTED_BAD_IMAGES else ""
    remedy = "Mend them, or leave them out with data.on_bad_image=skip."
    return f"{counted(len(bad), 'image')} cannot be decoded: {listed}{more}. {remedy}"


def _joined(samples: Samples, cache: Cache, split: Split, excluded: int) -> Data:
    return Data(
        samples, cache.images, cache.copies, split, cache.bad, cache.fingerprint, excluded, cache.use, cache.digests
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED_NAMES]) + (", ..." if len(names) > LISTED_NAMES else "")
