"""Which of two interleaved views each frame shows, guessed from the pixels of its sequence.

Where a camera with two lenses wrote its left and right pictures in turn (LeapGestRecog very probably did), a frame is
far from the next one and near to the next but one. Frames may repeat and may be missing, so parity does not tell: each
frame belongs to the view whose last frame it is nearer to.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from gesture.data.decode import Images
from gesture.data.samples import UNKNOWN, Indices, Samples

LEAST_FRAMES = 4
"""Frames of a sequence, repeats dropped, below which nothing is guessed: two of each view."""
LEAST_SHARE = 0.5
"""Of the change from frame to frame that switching views must explain; in LeapGestRecog it explains 0.97 and more."""
SMALLEST = 1e-9
"""A change that is none, squared gray levels."""
LEAST_SWITCHES = 0.5
"""Share of the steps from frame to frame that switch; views that stay are no interleaved ones."""


@dataclass(frozen=True)
class FrameSequence:
    """The frames of one person's one gesture in their order, and what switching between two views explains of them."""

    subject: int
    gesture: int
    rows: Indices
    """[T] of the table."""
    repeats: int
    """Frames that are identical to the one before them."""
    explained: float | None
    """1 less the mean square of the change within a view over that from frame to frame; None: it does not alternate."""
    views: Indices
    """[T] 0 or 1, or UNKNOWN where the views do not alternate."""

    @property
    def alternates(self) -> bool:
        return bool((self.views != UNKNOWN).any())


def sequences(samples: Samples, pixels: Images, copies: Indices) -> list[FrameSequence]:
    """Every sequence with its views; none where it is not known whose image is whose.

    View 0 is the one in which what is bright lies further left, so that it is the same camera in every sequence.

    Args:
        samples: N images.
        pixels: their thumbnails, [N, height, width].
        copies: [N] images with the same number are identical.
    """
    return [_viewed(samples, rows, pixels, copies) for rows in rows_of_sequences(samples)]


def views_of(samples: Samples, found: list[FrameSequence]) -> Indices:
    """[N] the view of each image: 0, 1 or UNKNOWN."""
    views = np.full(len(samples), UNKNOWN, dtype=np.int64)
    for sequence in found:
        views[sequence.rows] = sequence.views
    return views


def rows_of_sequences(samples: Samples) -> list[Indices]:
    """The rows of each person's each gesture by frame number; none where people are not known."""
    if not samples.knows_subjects or len(samples) == 0:
        return []
    order = np.lexsort((samples.frames, samples.gestures, samples.subjects)).astype(np.int64)
    numbers = samples.subjects[order] * len(samples.class_names) + samples.gestures[order]
    return np.split(order, np.flatnonzero(np.diff(numbers)) + 1)


def _viewed(samples: Samples, rows: Indices, pixels: Images, copies: Indices) -> FrameSequence:
    is_new = np.diff(copies[rows], prepend=-1) != 0
    frames = pixels[rows[is_new]].astype(np.float64)
    explained, views = _two_views(frames)
    of_each = np.repeat(views, np.diff(np.flatnonzero(np.append(is_new, True))))
    first, repeats = rows[0], int((~is_new).sum())
    return FrameSequence(int(samples.subjects[first]), int(samples.gestures[first]), rows, repeats, explained, of_each)


def _two_views(frames: Float64[np.ndarray, "t height width"]) -> tuple[float | None, Indices]:
    """The share explained and the view of each of the frames, of which none repeats the one before."""
    unknown = np.full(len(frames), UNKNOWN, dtype=np.int64)
    if len(frames) < LEAST_FRAMES:
        return None, unknown
    steps = ((frames[1:] - frames[:-1]) ** 2).mean(axis=(1, 2))
    start = int(np.flatnonzero(steps >= np.median(steps))[0])  # the first two that differ as frames of two views do
    views, within = unknown.copy(), []
    views[start : start + 2] = 0, 1
    for places in (range(start + 2, len(frames)), range(start - 1, -1, -1)):
        last = [start, start + 1]
        for place in places:
            near = [float(((frames[place] - frames[other]) ** 2).mean()) for other in last]
            view = int(near[1] < near[0])
            views[place], last[view] = view, place
            within.append(near[view])
    explained = 1 - float(np.mean(within)) / max(float(steps.mean()), SMALLEST)
    if explained < LEAST_SHARE or (np.diff(views) != 0).mean() < LEAST_SWITCHES:
        return None, unknown
    columns = np.array([_bright_column(frames[views == view]) for view in (0, 1)])
    return explained, views if columns[0] <= columns[1] else 1 - views


def _bright_column(frames: Float64[np.ndarray, "t height width"]) -> float:
    """Where, across, the light of the frames has its middle."""
    light = frames.sum(axis=(0, 1))
    return float((light * np.arange(len(light))).sum() / max(light.sum(), 1.0))
