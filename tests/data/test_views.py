"""Which of two interleaved views a frame shows, and how small an image is made to compare it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import SHARED, images_of, needs_shared
from gesture.config.compose import compose
from gesture.data.files import Folder
from gesture.data.prepare import prepare
from gesture.data.samples import UNKNOWN, Row, Samples, table
from gesture.data.thumbnails import thumbnails
from gesture.data.views import sequences, views_of

LEFT, RIGHT = 4, 12
"""Columns of a bright bar in the two views."""


def recorded(
    bars: list[int], repeats: tuple[int, ...] = (), subject: str | None = "a"
) -> tuple[Samples, NDArray[np.uint8]]:
    """Frames of one sequence, each with a bar that also drifts down; those in `repeats` are the frame before."""
    pixels = np.zeros((len(bars), 16, 20), dtype=np.uint8)
    for frame, column in enumerate(bars):
        pixels[frame, frame // 4 :, column : column + 4] = 200
    for frame in repeats:
        pixels[frame] = pixels[frame - 1]
    rows = [Row(f"{frame:02d}.png", subject, "fist", frame) for frame in range(len(bars))]
    return table("test", Folder(Path()), rows), pixels


def guessed(samples: Samples, pixels: NDArray[np.uint8]) -> list[int]:
    _, copies = np.unique(pixels.reshape(len(pixels), -1), axis=0, return_inverse=True)
    return [int(view) for view in views_of(samples, sequences(samples, pixels, copies.astype(np.int64)))]


def test_views_in_turn_are_told_apart_and_numbered_from_the_left() -> None:
    assert guessed(*recorded([LEFT, RIGHT] * 6)) == [0, 1] * 6
    assert guessed(*recorded([RIGHT, LEFT] * 6)) == [1, 0] * 6


def test_a_repeated_or_missing_frame_turns_no_later_view_round() -> None:
    bars = [LEFT, LEFT, RIGHT, RIGHT, LEFT, RIGHT, RIGHT, LEFT, RIGHT, LEFT]
    assert guessed(*recorded(bars, repeats=(1, 3))) == [0, 0, 1, 1, 0, 1, 1, 0, 1, 0]


def test_a_hand_that_moves_shows_no_views() -> None:
    assert set(guessed(*recorded(list(range(12))))) == {UNKNOWN}
    assert set(guessed(*recorded([LEFT] * 6 + [RIGHT] * 6))) == {UNKNOWN}


def test_three_frames_and_frames_of_nobody_known_show_no_views() -> None:
    assert set(guessed(*recorded([LEFT, RIGHT, LEFT]))) == {UNKNOWN}
    assert set(guessed(*recorded([LEFT, RIGHT] * 6, subject=None))) == {UNKNOWN}


def test_a_pixel_of_a_thumbnail_is_the_mean_of_four_and_small_images_stay() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 60, 160), dtype=np.uint8)
    exact = images.reshape(5, 30, 2, 80, 2).astype(float).mean(axis=(2, 4))
    made = thumbnails(images, np.array([3, 1]))
    assert np.abs(made - exact[[3, 1]]).max() <= 0.5
    small = images[:, :30, :80]
    assert np.array_equal(thumbnails(np.ascontiguousarray(small), np.arange(5)), small)


@needs_shared
@pytest.mark.parametrize(("person", "alternates"), [("00", True), ("01", False), ("02", True), ("03", True)])
def test_leapgestrecogs_people_but_one_show_two_views(person: str, alternates: bool, tmp_path: Path) -> None:
    root = SHARED / "leapgestrecog" / person
    config = images_of("leapgestrecog", root, cache_dir=str(tmp_path), image_size=[48, 96])
    data = prepare(config, compose("train").split)
    pixels = thumbnails(data.images, np.arange(len(data.samples)))
    long = [one for one in sequences(data.samples, pixels, data.copies) if len(one.rows) > 9]
    assert long
    assert {one.alternates for one in long} == {alternates}
    if alternates:
        assert min(one.explained or 0 for one in long) > 0.95
