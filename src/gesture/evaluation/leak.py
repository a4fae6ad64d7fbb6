"""The leak meter: how much of a test is named by a lookup that learns nothing."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gesture.data.dealing import Split
from gesture.data.decode import Images
from gesture.data.samples import Indices, Samples
from gesture.data.thumbnails import thumbnails
from gesture.evaluation.neighbours import NOBODY, nearest

QUERIES = 500
"""Images of the test that are asked for in a training; a share of them is within 0.045 of all images' (95 %)."""


@dataclass(frozen=True)
class Leak:
    """What naming each image of the test by its nearest training image comes to.

    Near 1 the test shows what training showed, and says nothing of anybody else.
    """

    share: float
    """Of the images looked up, those named rightly."""
    queries: int
    """Images looked up."""
    chance: float
    """What always naming the test's commonest gesture comes to: a tenth of ten gestures shown alike."""

    @property
    def sentence(self) -> str:
        """The meter in words."""
        return f"a lookup that learns nothing names {self.share:.1%} of this test".replace("%", " %")

    def to_record(self) -> dict[str, Any]:
        """The `leak` entry of result.json and audit.json."""
        return {**asdict(self), "sentence": self.sentence}


def leak_of(named: Indices, shown: Indices, test: Indices) -> Leak:
    """The meter of images named by their nearest training image, [Q], which show what they show, [Q].

    Args:
        named: gestures.
        shown: gestures.
        test: gestures of all images of the test.
    """
    return Leak(float((named == shown).mean()), len(shown), float(np.bincount(test).max() / len(test)))


def measure_leak(samples: Samples, images: Images, split: Split, seed: int, queries: int = QUERIES) -> Leak:
    """Look up images of the test, drawn by seed, among those of training.

    Args:
        samples: N images.
        images: [N, height, width]
        split: who trains and who tests.
        seed: of what is drawn.
        queries: how many are looked up, or all of the test if it has fewer.
    """
    asked = drawn(split.test, queries, seed)
    rows = np.concatenate([split.train, asked])
    references, questions = np.arange(len(split.train)), np.arange(len(split.train), len(rows))
    found = nearest(thumbnails(images, rows), questions, references, {"train": (anybody, 1)})["train"]
    named = samples.gestures[rows[found.rows[:, 0]]]
    assert (found.rows != NOBODY).all()
    return leak_of(named, samples.gestures[asked], samples.gestures[split.test])


def drawn(rows: Indices, most: int, seed: int) -> Indices:
    """`most` of the rows, by seed, in their order; all if there are fewer."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def anybody(queries: Indices, references: Indices) -> NDArray[np.bool_]:
    """Every reference may be a neighbour."""
    return np.ones((len(queries), references.shape[1]), dtype=np.bool_)
