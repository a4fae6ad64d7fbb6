"""Rendered hands, made when they are first asked for."""

import shutil
from dataclasses import replace
from pathlib import Path

from gesture.config.schema import Synthetic
from gesture.data.files import FEWER_IMAGES, Folder, check_room, make_writable
from gesture.data.locks import exclusive
from gesture.data.samples import Row, Samples, table
from gesture.data.sources import leapgestrecog
from gesture.synthetic import dataset
from gesture.workers import cores
from gesture.writing import naming


def load(config: Synthetic) -> Samples:
    """The table of all frames; those that are not there are rendered first.

    Raises:
        ConfigError: no right to write below the root, or no room.
    """
    frames = folder(config)
    if not is_rendered(config):
        make_writable(frames.parent, "data.root")
        with exclusive(frames.parent / ".lock", "rendering hands"):  # two runs that start at once render once
            _render(config, frames.parent)
    return replace(leapgestrecog.read(frames), dataset="synthetic")


def is_rendered(config: Synthetic) -> bool:
    """Whether all frames are there already."""
    return not _missing(config)


def _missing(config: Synthetic) -> list[dataset.FrameKey]:
    return dataset.missing_frames(folder(config), config.subjects, config.frames)


def folder(config: Synthetic) -> Path:
    """Where the frames are, or would be rendered."""
    root = Path(config.root).expanduser()
    return dataset.folder_of(root, config.subjects, config.frames, config.seed)


def _render(config: Synthetic, root: Path) -> None:
    for unfinished in root.glob(".synthetic-*"):  # of a run that was killed: the lock says nobody is rendering
        shutil.rmtree(unfinished)
    check_room(root, len(_missing(config)) * dataset.FRAME_BYTES, "data.root", FEWER_IMAGES)
    with naming(root):
        dataset.render_dataset(root, subjects=config.subjects, frames=config.frames, seed=config.seed, workers=cores())


def planned(config: Synthetic) -> Samples:
    """The same table before anything is rendered."""
    rows = [
        Row(dataset.path_of(key), f"{key[0]:02d}", dataset.GESTURES[key[1]], key[2])
        for key in dataset.keys_of(config.subjects, config.frames)
    ]
    return table("synthetic", Folder(Path(config.root)), rows)
