"""The rendered data set: its files, its determinism, and what its pictures are like."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gesture.synthetic import dataset as synthetic
from gesture.synthetic.dataset import GESTURES, render_dataset, render_empty, render_frame
from gesture.synthetic.hand import POSES, THUMB_BONES, Build, finger_joints, thumb_joints


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def render_small(root: Path) -> Path:
    return render_dataset(root, subjects=1, frames=2, seed=3, workers=1)


@pytest.mark.parametrize("gesture", range(len(GESTURES)), ids=GESTURES)
def test_every_gesture_is_a_bright_hand_on_a_dark_ground(gesture: int) -> None:
    for subject in range(3):
        image = render_frame(0, subject, gesture, 5, 10)
        assert image.shape == (240, 640)
        assert image.dtype == np.uint8
        assert 0.01 < (image > 100).mean() < 0.5
        assert np.median(image) < 40


def test_the_ok_gesture_is_a_ring_of_thumb_and_index_finger() -> None:
    pose = POSES["07_ok"]
    for build in (Build(), Build(finger_length=0.85), Build(finger_length=1.15, palm_width=1.1)):
        index_tip = finger_joints(pose, build)[0, 3]
        thumb = thumb_joints(pose, build, index_tip)
        assert np.linalg.norm(thumb[3] - index_tip) < 10
        assert np.linalg.norm(np.diff(thumb[1:], axis=0), axis=1) == pytest.approx(
            THUMB_BONES[1:] * build.finger_length
        )


def test_files_lie_and_are_named_as_in_leapgestrecog(tmp_path: Path) -> None:
    folder = render_dataset(tmp_path, subjects=2, frames=2, seed=0, workers=1)
    files = read_all(folder)
    assert len(files) == 2 * len(GESTURES) * 2
    assert "00/01_palm/frame_00_01_0001.png" in files
    assert "01/10_down/frame_01_10_0002.png" in files
    with Image.open(folder / "01/10_down/frame_01_10_0002.png") as image:
        assert (image.size, image.mode) == ((640, 240), "L")


def test_the_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    alone = render_dataset(tmp_path / "alone", subjects=1, frames=2, seed=0, workers=1)
    together = render_dataset(tmp_path / "together", subjects=1, frames=2, seed=0, workers=2)
    assert read_all(alone) == read_all(together)


def test_a_frame_is_the_same_whatever_was_rendered_before() -> None:
    expected = render_frame(0, 1, 4, 7, 20)
    render_frame(5, 2, 3, 1, 9)
    assert np.array_equal(render_frame(0, 1, 4, 7, 20), expected)


def test_seeds_subjects_and_gestures_give_different_pictures() -> None:
    pictures = [render_frame(*key, 1, 10) for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_a_sequence_moves_smoothly_and_repeats_some_neighbouring_frames() -> None:
    frames = [render_frame(0, 0, 1, frame, 200).astype(float) for frame in range(1, 201)]
    steps = np.array([np.abs(after - before).mean() for before, after in pairwise(frames)])
    assert 1 <= (steps == 0).sum() <= 15
    assert np.median(steps) < 0.5 * np.abs(frames[0] - frames[100]).mean() + 2


def test_a_complete_data_set_is_returned_without_rendering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = render_small(tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(synthetic, "render_frame", refuse)
    assert render_small(tmp_path) == folder


def test_what_a_data_set_lacks_is_rendered_again_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = render_small(tmp_path)
    before = read_all(folder)
    (folder / "00/02_l/frame_00_02_0002.png").unlink()
    shutil.rmtree(folder / "00/03_fist")
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    assert render_small(tmp_path) == folder
    assert read_all(folder) == before
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in kept.items())
    assert "rendering missing frames: 3 in" in caplog.text
    assert list(tmp_path.iterdir()) == [folder]


def test_other_parameters_and_other_renderers_have_their_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [render_small(tmp_path), render_dataset(tmp_path, subjects=1, frames=1, seed=3, workers=1)]
    monkeypatch.setattr(synthetic, "VERSION", synthetic.VERSION + 1)
    folders.append(render_small(tmp_path))
    assert len(set(folders)) == 3


def start_rendering(root: Path, workers: int) -> subprocess.Popen[bytes]:
    """A process that renders for minutes, has written its first frames, and leads its own process group."""
    call = f"render_dataset(Path({str(root)!r}), subjects=50, frames=200, seed=0, workers={workers})"
    imports = "from pathlib import Path; from gesture.process import raised_at_once; "
    imports += "from gesture.synthetic.dataset import render_dataset"
    code = f"{imports}\nwith raised_at_once(): {call}"
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=pipe, stderr=pipe)
    while not list(root.rglob("*.png")):
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(tmp_path: Path, workers: int, signum: signal.Signals) -> None:
    process = start_rendering(tmp_path, workers)
    os.killpg(process.pid, signum)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers in Linux's /proc")
def test_a_killed_worker_ends_the_rendering_in_a_sentence_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = start_rendering(tmp_path, workers=2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(workers[-1]), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert b"A worker process was killed by SIGKILL" in said
    assert list(tmp_path.iterdir()) == []


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    process = start_rendering(tmp_path, workers=2)
    process.kill()
    process.communicate(timeout=60)  # returns when the last process that holds the pipes is gone


def test_two_processes_that_render_at_once_both_get_the_complete_data_set(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        folders = pool.map(render_small, [tmp_path, tmp_path], chunksize=1)
    assert folders[0] == folders[1]
    assert list(tmp_path.iterdir()) == [folders[0]]
    assert len(read_all(folders[0])) == 2 * len(GESTURES)


def test_importing_the_renderer_does_not_import_torch() -> None:
    code = "import sys, gesture.synthetic.dataset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_empty_room_is_its_persons_and_has_no_hand_in_it() -> None:
    empty = [render_empty(0, person) for person in range(3)]
    assert (render_empty(0, 1) == empty[1]).all()
    assert not (empty[0] == empty[1]).all()
    for person, room in enumerate(empty):
        shown = render_frame(0, person, 0, 5, 10)
        assert room.shape == shown.shape
        assert (room > 100).mean() < 0.01 < (shown > 100).mean()
