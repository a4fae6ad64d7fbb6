"""Everything known about the data before a network sees it; needs no torch, so that bad data are refused at once."""

import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from gesture.config import ConfigError, DataConfig, SplitConfig
from gesture.data import folder, leapgestrecog, synthetic
from gesture.data.cache import Cache, open_cache
from gesture.data.files import check_room, make_writable
from gesture.data.samples import Indices, Samples, every_nth_frame
from gesture.data.splits import PARTS, Split, crossing, from_record, make_split, would_cross
from gesture.workers import cores

log = logging.getLogger(__name__)

LISTED_BAD_IMAGES = 20


@dataclass(frozen=True)
class Data:
    """The samples that could be decoded, their images and their split."""

    samples: Samples
    images: NDArray[np.uint8]
    """[N, height, width]"""
    copies: Indices
    split: Split
    bad: dict[str, str]
    fingerprint: str

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
        }


def prepare(data: DataConfig, split: SplitConfig) -> Data:
    """Find, decode and split the images of a configuration.

    Raises:
        ConfigError: no images, bad images, or a split the data do not allow.
    """
    samples, cache = _decoded(data)
    return _joined(samples, cache, make_split(split, samples, cache.copies))


def prepare_recorded(data: DataConfig, record: dict[str, Any]) -> Data:
    """The same with the split that a run recorded."""
    samples, cache = _decoded(data)
    return _joined(samples, cache, from_record(record, samples))


def describe_split(config: SplitConfig, data: Data) -> dict[str, Any]:
    """The `split` entry of result.json: what was done about identical images, and whom the test tells about."""
    return {
        "name": config.name,
        "seed": config.seed,
        "keeps_copies_together": config.keeps_copies_together,
        "identical_images_that_would_have_crossed": would_cross(config, data.samples, data.copies),
        "identical_images_that_crossed": crossing(data.split, data.copies),
        "subjects": {part: _people(data.samples, data.split[part]) for part in PARTS},
        "note": _note(data),
    }


def load_samples(config: DataConfig) -> Samples:
    """The table that a configuration names."""
    root = Path(config.root).expanduser()
    if config.name == "folder":
        samples = folder.load(root, config.pattern)
    elif config.name == "synthetic":
        samples = replace(leapgestrecog.load(_rendered(config, root), download=False), dataset="synthetic")
    else:
        samples = leapgestrecog.load(root, bool(config.download))
    samples = every_nth_frame(samples, config.stride)
    if len(samples.class_names) < 2:
        raise ConfigError(
            f"data.root '{root}' shows only {samples.class_names[0]}: a classifier needs two gestures or more."
        )
    return samples


def _rendered(config: DataConfig, root: Path) -> Path:
    assert config.subjects is not None
    assert config.frames is not None
    assert config.seed is not None
    make_writable(root, "data.root")
    with FileLock(root / ".lock"):  # two runs that start at once render once
        for unfinished in root.glob(".synthetic-*"):  # of a run that was killed: the lock says nobody is rendering
            shutil.rmtree(unfinished)
        check_room(root, config.subjects * config.frames * len(synthetic.GESTURES) * synthetic.FRAME_BYTES, "data.root")
        return synthetic.render_dataset(
            root,
            subjects=config.subjects,
            frames=config.frames,
            seed=config.seed,
            workers=cores(),
        )


def _decoded(config: DataConfig) -> tuple[Samples, Cache]:
    samples = load_samples(config)
    cache = open_cache(samples, config.image_size, Path(config.cache_dir).expanduser())
    if cache.bad and config.on_bad_image == "error":
        raise ConfigError(_list_bad(cache.bad))
    if cache.bad:
        log.warning("%d images cannot be decoded and are left out: %s", len(cache.bad), ", ".join(list(cache.bad)[:3]))
    return samples.take(cache.rows), cache


def _list_bad(bad: dict[str, str]) -> str:
    listed = "; ".join(f"{path} ({reason})" for path, reason in list(bad.items())[:LISTED_BAD_IMAGES])
    more = f"; and {len(bad) - LISTED_BAD_IMAGES} more" if len(bad) > LISTED_BAD_IMAGES else ""
    remedy = "Mend them, or leave them out with data.on_bad_image=skip."
    return f"{len(bad)} images cannot be decoded: {listed}{more}. {remedy}"


def _joined(samples: Samples, cache: Cache, split: Split) -> Data:
    return Data(samples, cache.images, cache.copies, split, cache.bad, cache.fingerprint)


def _people(samples: Samples, rows: Indices) -> list[str]:
    return [samples.subject_names[i] for i in np.unique(samples.subjects[rows])] if samples.knows_subjects else []


def _note(data: Data) -> str:
    """Whom the test figures tell about, in one line."""
    samples, split = data.samples, data.split
    if not samples.knows_subjects:
        return "It is not known whose images these are: people of the test may have been seen in training."
    people = np.unique(samples.subjects[split.test])
    seen = int(np.isin(people, samples.subjects[split.train]).sum())
    if seen:
        return f"{seen} of the {len(people)} people of the test were seen in training: this says little about others."
    return f"None of the {len(people)} people of the test was seen in training."
