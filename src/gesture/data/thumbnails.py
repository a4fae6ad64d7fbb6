"""Images so small that every one can be compared with every other."""

import numpy as np
from jaxtyping import Int64, UInt8

from gesture.data.decode import Images
from gesture.data.samples import Indices

HEIGHT, WIDTH = 30, 80
"""Pixels of a thumbnail; smaller images keep theirs."""
PLACES = (0.25, 0.75)
"""Where in a thumbnail's pixel, across and down, the image is looked at: the mean of four of its pixels."""
IMAGES_AT_A_TIME = 64
"""Whose pixels stay in the processor's cache from one step to the next."""


def thumbnails(images: Images, rows: Indices) -> UInt8[np.ndarray, "rows down across"]:
    """The images of these rows, [N, HEIGHT, WIDTH] or smaller."""
    height, width = images.shape[1:]
    down, across = _places(height, HEIGHT), _places(width, WIDTH)
    made = np.empty((len(rows), down.shape[1], across.shape[1]), dtype=np.uint8)
    for start in range(0, len(rows), IMAGES_AT_A_TIME):
        some = images[rows[start : start + IMAGES_AT_A_TIME]]
        lines = sum(np.take(some, places, axis=1).astype(np.uint16) for places in down)
        flat = np.asarray(lines).reshape(-1, width)
        sums = np.asarray(sum(np.take(flat, places, axis=1) for places in across))
        made[start : start + len(some)] = ((sums + 2) >> 2).reshape(-1, *made.shape[1:])
    return made


def _places(size: int, most: int) -> Int64[np.ndarray, "places pixels"]:
    """Which of `size` pixels each pixel of a thumbnail looks at."""
    count = min(size, most)
    return np.stack([((np.arange(count) + place) * size / count).astype(np.int64) for place in PLACES])
