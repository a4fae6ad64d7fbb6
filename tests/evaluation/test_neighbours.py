"""Nearest images: as brute force finds them; copies and labels: by rules that a few samples show."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gesture.data.dealing import by_side
from gesture.data.files import Folder
from gesture.data.samples import Row, table
from gesture.evaluation import neighbours
from gesture.evaluation.audit import audit
from gesture.evaluation.copies import limit_of, mutual
from gesture.evaluation.leak import anybody, drawn, measure_leak
from gesture.evaluation.neighbours import NOBODY, Neighbours, nearest


@given(st.integers(2, 40), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_neighbours_are_those_of_brute_force(count: int, wanted: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 3, 5), dtype=np.uint8)
    groups = rng.integers(0, 3, count)

    def other(ones: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(groups[ones] != groups[others])

    before = neighbours.QUERIES, neighbours.REFERENCES
    neighbours.QUERIES, neighbours.REFERENCES = 7, 5
    try:
        rows = np.arange(count)
        found = nearest(pixels, rows, rows, {"other": (other, wanted)})["other"]
    finally:
        neighbours.QUERIES, neighbours.REFERENCES = before
    far = np.sqrt(((pixels[:, None].astype(float) - pixels[None]) ** 2).mean(axis=(2, 3)))
    far[groups[:, None] == groups[None]] = np.inf
    exact = np.pad(np.sort(far, axis=1), ((0, 0), (0, wanted)), constant_values=np.inf)[:, :wanted]
    assert np.allclose(found.distances, exact, atol=0.1)
    for row in range(count):
        known = found.rows[row][found.rows[row] != NOBODY]
        assert len(known) == min(wanted, int(np.isfinite(far[row]).sum()))
        assert np.allclose(far[row, known], exact[row, : len(known)], atol=0.1)
        assert len(set(known.tolist())) == len(known)


def test_the_limit_is_an_outlier_s_and_copies_hardly_move_it() -> None:
    rng = np.random.default_rng(0)
    distances = np.exp(rng.normal(3, 0.2, (1000, 5))).astype(np.float32)
    limit = limit_of(distances)
    assert limit == pytest.approx(np.exp(3 - 3.5 * 0.2), rel=0.1)
    distances[:300, :4] = 0.5  # copies of their sequences' frames
    assert limit_of(distances) == pytest.approx(limit, rel=0.1)
    assert limit_of(np.full((5, 5), np.inf, dtype=np.float32)) is None


def test_only_pairs_that_are_each_others_nearest_count_and_once() -> None:
    ours, theirs = np.array([0, 5, 2]), np.array([5, 0, 5])
    back = Neighbours(np.array([[0], [5], [0]]), np.zeros((3, 1), dtype=np.float32))
    assert mutual(ours, theirs, back).tolist() == [0]


def test_the_meter_reads_what_the_lookup_names() -> None:
    rows = [Row(f"{i}.png", None, "fist" if i % 2 else "palm", i) for i in range(40)]
    samples = table("test", Folder(Path()), rows)
    images = np.repeat(samples.gestures.astype(np.uint8) * 100, 32 * 32).reshape(40, 32, 32)
    split = by_side(np.arange(40) % 3)
    assert measure_leak(samples, images, split, seed=0).share == 1
    mislabelled = images.copy()
    mislabelled[split.test] = 100 - images[split.test]
    leak = measure_leak(samples, mislabelled, split, seed=0, queries=5)
    assert (leak.share, leak.queries) == (0, 5)
    assert leak.chance == pytest.approx(0.5, abs=0.1)
    assert leak.sentence == "a lookup that learns nothing names 0.0 % of this test"


def test_what_is_looked_up_is_drawn_by_seed() -> None:
    rows = np.arange(100, 200)
    assert drawn(rows, 10, 0).tolist() == drawn(rows, 10, 0).tolist() != drawn(rows, 10, 1).tolist()
    assert drawn(rows, 100, 0).tolist() == rows.tolist()
    assert anybody(rows[:, None], rows[None, :]).shape == (100, 100)


def test_data_without_people_are_judged_by_gestures_and_know_no_sequences() -> None:
    rng = np.random.default_rng(0)
    rows = [Row(f"{gesture}/{i:02d}.png", None, gesture, i) for gesture in ("fist", "palm") for i in range(30)]
    samples = table("test", Folder(Path()), rows)
    bright = np.where(samples.gestures == 0, 60, 160)[:, None, None]
    pixels = np.clip(rng.normal(bright, 8, (60, 8, 8)), 0, 255).astype(np.uint8)
    split = by_side(np.where(np.arange(60) % 10 == 0, 2, np.where(np.arange(60) % 10 == 1, 1, 0)))
    wrong = 3  # which trains
    pixels[wrong] = pixels[44]
    found = audit(samples, np.arange(60), split, pixels, True, 1000, 0)
    assert (found.gaps, found.cut, found.views) == (None, None, None)
    assert found.labels is not None
    assert [one.path for one in found.labels.suspects] == [samples.paths[wrong]]
    assert found.near is not None
    assert found.near.across_subjects is None
    assert list(found.counts) == ["all"]
    assert found.leak is not None
    assert found.leak.share == 1
