"""Random splits: each gesture's images dealt to train, val and test, identical images together."""

from dataclasses import dataclass

import numpy as np

from gesture.config.names import PARTS
from gesture.data.samples import Indices


@dataclass(frozen=True)
class Split:
    """Disjoint, sorted row numbers of a table of samples."""

    train: Indices
    val: Indices
    test: Indices
    left_out: Indices
    """Copies of images on another side, used nowhere."""

    def __getitem__(self, part: str) -> Indices:
        rows: Indices = getattr(self, part)
        return rows


def random_split(
    gestures: Indices, copies: Indices | None, val_fraction: float, test_fraction: float, seed: int
) -> Split:
    """A seeded shuffle of each gesture's images, cut by the fractions; one image of each stays to train on.

    That gives way only where a part would have no image at all. Sizes are exact as long as single images are left to
    fill up with: 20,000 images give 16,000, 2,000 and 2,000.

    Args:
        gestures: [N]
        copies: [N] whole groups of identical images are dealt, each as of the gesture of its first image.
        val_fraction: part of the images that validates.
        test_fraction: part that tests.
        seed: of the shuffle.
    """
    groups = np.arange(len(gestures)) if copies is None else copies
    _, first, group_of_row, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(sizes))
    fractions = {"test": test_fraction, "val": val_fraction}
    rooms = {part: _shares(np.bincount(gestures), fraction, rng) for part, fraction in fractions.items()}
    dealt = _Dealt(gestures[first], sizes)
    dealt.deal(order, gestures[first], rooms)
    # What was too large for its gesture's room leaves some, which any gesture's images fill.
    left = {part: np.array([room.sum()]) for part, room in rooms.items()}
    dealt.deal(order, np.zeros_like(first), left)
    empty = {part: room for part, room in left.items() if not (dealt.side == PARTS.index(part)).any()}
    dealt.deal(order, np.zeros_like(first), empty, at_any_price=True)
    return by_side(dealt.side[group_of_row])


class _Dealt:
    """Groups of identical images on their way from training to validation and test."""

    def __init__(self, gestures: Indices, sizes: Indices) -> None:
        self.gestures, self.sizes = gestures.tolist(), sizes.tolist()
        self.side = np.full(len(sizes), PARTS.index("train"))
        self.trained = np.bincount(gestures)

    def deal(self, order: Indices, kinds: Indices, rooms: dict[str, Indices], at_any_price: bool = False) -> None:
        """Move each group to the first part that has room for its kind, but not a gesture's last from training.

        At any price that one too, and then each part gets no more than one.
        """
        for group, kind in zip(order.tolist(), kinds[order].tolist(), strict=True):
            gesture, size = self.gestures[group], self.sizes[group]
            if self.side[group] != PARTS.index("train") or (self.trained[gesture] == 1 and not at_any_price):
                continue
            part = next((part for part, room in rooms.items() if size <= room[kind]), None)
            if part:
                self.side[group] = PARTS.index(part)
                rooms[part][kind] -= rooms[part][kind] if at_any_price else size
                self.trained[gesture] -= 1


def _shares(counts: Indices, fraction: float, rng: np.random.Generator) -> Indices:
    """Each gesture's part of the rounded whole: what is nearest to its own fraction, chance where that is a tie."""
    exact = counts * fraction
    shares: Indices = np.floor(exact + 1e-9).astype(np.int64)
    missing = round(float(exact.sum())) - int(shares.sum())
    order = np.lexsort((rng.random(len(counts)), shares - exact))
    shares[order[:missing]] += 1
    return shares


def by_side(side: Indices) -> Split:
    """The split that says of each row which of `PARTS` it is in."""
    train, val, test = (np.flatnonzero(side == i) for i in range(len(PARTS)))
    return Split(train, val, test, left_out=np.array([], dtype=np.int64))
