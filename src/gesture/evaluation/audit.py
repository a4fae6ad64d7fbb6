"""What a data set and a split of it really hold: one pure function of samples, identical images, split and pixels."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gesture.config.names import PARTS
from gesture.data.dealing import Split
from gesture.data.decode import Images
from gesture.data.files import counted
from gesture.data.samples import Indices, Samples
from gesture.data.views import sequences
from gesture.evaluation.copies import (
    NOWHERE,
    OUTLIER,
    STRANGERS,
    Identical,
    NearCopies,
    Pair,
    identical,
    limit_of,
    mutual,
    nearer,
    pairs,
    sides_of,
)
from gesture.evaluation.labels import NEIGHBOURS, Labels, alone, likely_wrong
from gesture.evaluation.leak import Leak, drawn, leak_of
from gesture.evaluation.neighbours import Neighbours, Progress, nearest
from gesture.evaluation.recorded import Cut, Gap, Views, counted_by, cut, gaps, viewed


@dataclass(frozen=True)
class Audit:
    """What was found. What was not looked at, or cannot be told, is None."""

    counts: dict[str, dict[str, int]]
    """Images by person and gesture; by "all" and gesture where people are not known."""
    gaps: tuple[Gap, ...] | None
    """Missing frames; None where nothing numbers frames, or nothing tells whose they are."""
    identical: Identical
    cut: tuple[Cut, ...] | None
    """Sequences on several sides; None where people are not known."""
    views: tuple[Views, ...] | None
    near: NearCopies | None
    labels: Labels | None
    leak: Leak | None
    looked_up: int
    """Images that were compared with all others."""

    @property
    def crosses(self) -> tuple[str, ...]:
        """What stands on several sides of the split, each kind with its number."""
        groups, cuts = self.identical.across_sides, len(self.cut or ())
        near = 0 if self.near is None else len(self.near.across_sides)
        found = {
            f"{counted(groups, 'group')} of identical images on several sides": groups,
            f"{counted(near, 'image')} of val and test with a near copy on an earlier side": near,
            f"{counted(cuts, 'sequence')} cut by the split": cuts,
        }
        return tuple(sentence for sentence, count in found.items() if count)

    def to_record(self) -> dict[str, Any]:
        """audit.json, but for what the data set and the split are."""
        leak = None if self.leak is None else self.leak.to_record()
        return {**asdict(self), "leak": leak, "crosses": list(self.crosses)}


def audit(
    samples: Samples,
    copies: Indices,
    split: Split,
    pixels: Images | None,
    is_numbered: bool,
    most: int,
    seed: int,
    progress: Progress = list,
) -> Audit:
    """Everything that can be said before any training.

    Args:
        samples: N images.
        copies: [N] images with the same number are identical.
        split: who stands where.
        pixels: [N, height, width] thumbnails; None where there are only names and sums of files.
        is_numbered: whether the frames' numbers are those they were recorded with.
        most: images looked up among all others, drawn by seed.
        seed: of what is drawn.
        progress: shows how far looking up is.
    """
    sides = sides_of(split, len(samples))
    knows = samples.knows_subjects
    seen = None if pixels is None else _Seen(samples, copies, sides, pixels, most, seed, progress)
    return Audit(
        counts=counted_by(samples),
        gaps=gaps(samples) if knows and is_numbered else None,
        identical=identical(samples, copies, sides),
        cut=cut(samples, sides) if knows else None,
        views=viewed(samples, sequences(samples, pixels, copies)) if knows and pixels is not None else None,
        near=None if seen is None else seen.near_copies(),
        labels=None if seen is None else seen.labels(),
        leak=None if seen is None else seen.leak(),
        looked_up=0 if seen is None else len(seen.queries),
    )


class _Seen:
    """Images beside their nearest of several kinds, all found at once."""

    def __init__(
        self,
        samples: Samples,
        copies: Indices,
        sides: Indices,
        pixels: Images,
        most: int,
        seed: int,
        progress: Progress,
    ) -> None:
        self.samples, self.copies, self.sides, self.pixels = samples, copies, sides, pixels
        self.rows = np.arange(len(samples))
        self.queries = drawn(self.rows, most, seed)
        self.has_people = len(samples.subject_names) > 1
        self.things = samples.subjects if self.has_people else samples.gestures
        """What two images that are no copies of each other differ in."""
        self.shared = self._identical_elsewhere()
        self.alone = alone(samples)
        wanted = {
            "own": (self._own, NEIGHBOURS),
            "alike": (self._alike, 1),
            "other": (self._other, STRANGERS),
            "earlier": (self._earlier, 1),
            "train": (self._training, 1),
        }
        self.found = nearest(pixels, self.queries, self.rows, wanted, progress)

    def near_copies(self) -> NearCopies:
        """Pairs across sides and across people."""
        others = self.found["other"]
        limit = limit_of(others.distances)
        of_whom = "person" if self.has_people else "gesture"
        source = (
            f"each image's distance to the nearest of another {of_whom}: the median of their logarithms less "
            f"{OUTLIER} standard deviations, by the median absolute deviation, of images that have no likely copy"
        )
        across_sides = nearer(self.samples, self.queries, self.found["earlier"], limit)
        return NearCopies(limit, source, across_sides, self._across_people(others, limit))

    def _across_people(self, others: Neighbours, limit: float | None) -> tuple[Pair, ...] | None:
        if limit is None or not self.has_people:
            return None
        places = np.flatnonzero(others.distances[:, 0] < limit)
        places = places[np.argsort(others.distances[places, 0], kind="stable")]
        ours, theirs = self.queries[places], others.rows[places, 0]
        back = nearest(self.pixels, theirs, self.rows, {"other": (self._other, 1)})["other"]
        kept = mutual(ours, theirs, back)
        return pairs(self.samples, ours[kept], theirs[kept], others.distances[places[kept], 0])

    def labels(self) -> Labels:
        """Likely wrong ones."""
        return likely_wrong(self.samples, self.queries, self.found["own"], self.found["alike"])

    def leak(self) -> Leak | None:
        """The meter over the images of the test that were looked up."""
        test = self.sides == PARTS.index("test")
        asked = np.flatnonzero(test[self.queries])
        if len(asked) == 0:
            return None
        gestures = self.samples.gestures
        named = gestures[self.found["train"].rows[asked, 0]]
        return leak_of(named, gestures[self.queries[asked]], gestures[test])

    def _identical_elsewhere(self) -> NDArray[np.bool_]:
        """[N] images that have an identical one under another name, whose neighbours in time are no news."""
        most, least = (np.full(self.copies.max() + 1, start) for start in (-1, len(self.samples)))
        np.maximum.at(most, self.copies, self.things)
        np.minimum.at(least, self.copies, self.things)
        shared: NDArray[np.bool_] = (most != least)[self.copies]
        return shared

    def _own(self, ones: Indices, others: Indices) -> NDArray[np.bool_]:
        people = self.samples.subjects
        own: NDArray[np.bool_] = (ones != others) & (people[ones] == people[others]) & ~self.alone[ones]
        return own

    def _alike(self, ones: Indices, others: Indices) -> NDArray[np.bool_]:
        gestures = self.samples.gestures
        alike: NDArray[np.bool_] = self._own(ones, others) & (gestures[ones] == gestures[others])
        return alike

    def _other(self, ones: Indices, others: Indices) -> NDArray[np.bool_]:
        allowed: NDArray[np.bool_] = (
            (self.things[ones] != self.things[others]) & ~self.shared[ones] & ~self.shared[others]
        )
        return allowed

    def _earlier(self, ones: Indices, others: Indices) -> NDArray[np.bool_]:
        earlier = (self.sides[others] < self.sides[ones]) & (self.sides[ones] != NOWHERE)
        allowed: NDArray[np.bool_] = earlier & (self.copies[ones] != self.copies[others])
        return allowed

    def _training(self, ones: Indices, others: Indices) -> NDArray[np.bool_]:
        test, train = PARTS.index("test"), PARTS.index("train")
        allowed: NDArray[np.bool_] = (self.sides[ones] == test) & (self.sides[others] == train)
        return allowed
