"""Rendered hands: a data set to try everything on, made in minutes and free of anyone's rights.

    render_dataset(Path("data"), subjects=10, frames=40, seed=0, workers=2)

Its folder has the layout of LeapGestRecog, and its people differ as that data set's do: in proportions, in how they
hold each gesture and where, in brightness, sleeves and rooms. Every frame is a pure function of the seed, the subject,
the gesture, its number and the length of its sequence; fewer frames sample the same motion more coarsely.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gesture.console import track
from gesture.synthetic.background import clutter
from gesture.synthetic.hand import POSES, Build, Cones, Pose, posed_cones
from gesture.synthetic.render import HEIGHT, WIDTH, Scene, expose, render
from gesture.workers import on_processes

GESTURES: tuple[str, ...] = tuple(POSES)
VERSION = 1
"""Raised whenever the same seed gives other pixels, so that folders of older renderers are left alone."""
FRAME_BYTES = 65_000
"""The largest file of a frame."""
FRAMES_AT_A_TIME = 8
"""Half a second's work of a process: as much as one that lost its parent may still do."""
REPEAT_SHARE = 0.02
"""Share of frames that are exact copies of the frame before, as LeapGestRecog has them."""
HOLDING_SHARE = 0.2
"""Share of sequences in which the hand is held still."""
NEAREST_MM = 70.0
"""A hand that would come nearer to the camera, or through it, is held back."""

Array = NDArray[np.float64]
FrameKey = tuple[int, int, int]
"""Subject, gesture and the frame's number."""
FANNED = np.array([1.0, 0.3, -0.4, -1.0])
"""How the fingers, index first, share in a wider or narrower spread."""


@dataclass(frozen=True)
class Subject:
    """A person: hand, place above the camera, room, and habits common to all gestures."""

    build: Build
    scene: Scene
    wrist: Array
    """[3] usual position of the wrist, mm."""
    forearm: Array
    """[3] direction from the wrist to the elbow."""
    habit: Pose
    """Offsets from every gesture's pose."""


def _rng(purpose: str, *numbers: int) -> np.random.Generator:
    """A generator of its own for each thing it is for."""
    return np.random.default_rng([int.from_bytes(purpose.encode(), "little"), *map(int, numbers)])


def _offsets(rng: np.random.Generator, size: float) -> Pose:
    """Random differences of a pose; with size 1 about what one person's gesture differs from another's."""
    return Pose(
        flexion=size * (rng.normal(0, 7) + rng.normal(0, 5, (4, 3))),
        spread=size * (rng.normal(0, 4) * FANNED + rng.normal(0, 2, 4)),
        thumb=size * rng.normal(0, 9, (3, 2)),
        turn=size * rng.normal(0, [12.0, 10.0, 9.0]),
    )


@lru_cache(maxsize=4)
def make_subject(seed: int, subject: int) -> Subject:
    """The person with this number; the same for the same seed."""
    rng = _rng("subject", seed, subject)
    dressed, adorned = rng.random() < 0.55, rng.random() < 0.25
    build = Build(
        size=rng.normal(1.0, 0.06),
        finger_length=rng.normal(1.0, 0.05),
        finger_thickness=rng.normal(1.0, 0.08),
        palm_width=rng.normal(1.0, 0.06),
        forearm_thickness=rng.normal(1.0, 0.08),
        sleeve_start=rng.uniform(5, 70) if dressed else None,
        sleeve_looseness=rng.uniform(1.0, 1.3),
        sleeve_albedo=rng.uniform(0.15, 0.9),
        bracelet_albedo=rng.choice([0.15, 1.3]) if adorned else None,
    )
    scene = Scene(
        background=clutter(rng),
        gain=float(np.exp(rng.uniform(np.log(1.0), np.log(3.5)))),
        beam=rng.uniform(1.5, 5),
        ghost=rng.uniform(0.03, 0.12) if rng.random() < 0.5 else 0.0,
        ghost_column=int(rng.choice([rng.integers(-80, 20), rng.integers(540, 620)])),
        noise=rng.uniform(0.8, 1.6),
    )
    wrist = np.array([rng.normal(-35, 25), rng.normal(85, 18), rng.uniform(145, 245)])
    forearm = np.array([rng.normal(-0.1, 0.35), 1.0, rng.normal(0.3, 0.25)])
    return Subject(build, scene, wrist, forearm, _offsets(rng, 0.5))


class _Drift:
    """Slow motion: a few sine waves of random size and phase, and an offset that dies down after the start."""

    CYCLES = np.array([[0.5], [1.3], [3.1]])
    """Periods of each wave in a sequence."""

    def __init__(self, rng: np.random.Generator, count: int, size: float) -> None:
        self.waves = size * rng.normal(0, 1, (3, count)) / np.array([[1.0], [1.6], [2.5]])
        self.phases = rng.uniform(0, 2 * np.pi, (3, count))
        self.arrival = 1.5 * size * rng.normal(0, 1, count)
        self.arrival_time = rng.uniform(0.02, 0.12)

    def at(self, time: float) -> Array:
        """[count] displacements at a time from 0 (first frame) to 1 (last frame)."""
        waves = (self.waves * np.sin(2 * np.pi * self.CYCLES * time + self.phases)).sum(axis=0)
        return np.asarray(waves + self.arrival * np.exp(-time / self.arrival_time))


def _arm_at(seed: int, subject: int, gesture: int, time: float) -> Cones:
    """The arm at a time from 0 to 1 of a sequence."""
    person = make_subject(seed, subject)
    rng = _rng("sequence", seed, subject, gesture)
    pose = POSES[GESTURES[gesture]].shifted(person.habit).shifted(_offsets(rng, 0.9))
    place = person.wrist + rng.normal(0, [20.0, 12.0, 20.0])
    liveliness = 0.1 if rng.random() < HOLDING_SHARE else rng.uniform(0.4, 1.0)
    sway = _Drift(rng, 9, liveliness).at(time)
    moved = Pose(
        flexion=np.full((4, 3), 5.0 * sway[0]),
        spread=3.0 * sway[1] * FANNED,
        thumb=np.full((3, 2), 5.0 * sway[2]),
        turn=np.array([8.0, 6.0, 5.0]) * sway[3:6],
    )
    place = place + np.array([12.0, 8.0, 18.0]) * sway[6:9]
    return kept_away(posed_cones(pose.shifted(moved), person.build, place, person.forearm))


def kept_away(cones: Cones) -> Cones:
    """The same arm, moved back by what its nearest part lacks of `NEAREST_MM`."""
    to_start = np.linalg.norm(cones.start, axis=1) - cones.start_radius
    to_end = np.linalg.norm(cones.end, axis=1) - cones.end_radius
    back = np.array([0.0, 0.0, max(NEAREST_MM - float(min(to_start.min(), to_end.min())), 0.0)])
    return replace(cones, start=cones.start + back, end=cones.end + back)


def _source_frame(seed: int, subject: int, gesture: int, frame: int) -> int:
    """The frame whose picture this frame shows: itself, or for a repeated frame one before it."""
    while frame > 1 and _rng("repeat", seed, subject, gesture, frame).random() < REPEAT_SHARE:
        frame -= 1
    return frame


def render_frame(seed: int, subject: int, gesture: int, frame: int, frames: int) -> NDArray[np.uint8]:
    """[240, 640] frame number `frame` (1 to `frames`) of a subject's sequence of a gesture (index into `GESTURES`)."""
    frame = _source_frame(seed, subject, gesture, frame)
    arm = _arm_at(seed, subject, gesture, (frame - 1) / max(frames - 1, 1))
    return render(arm, make_subject(seed, subject).scene, _rng("noise", seed, subject, gesture, frame))


def render_empty(seed: int, subject: int) -> NDArray[np.uint8]:
    """[240, 640] what the camera sees where a subject sits, before any hand is there."""
    nothing = np.zeros((HEIGHT, WIDTH), np.float32)
    return expose(nothing, make_subject(seed, subject).scene, _rng("empty", seed, subject))


def folder_of(root: Path, subjects: int, frames: int, seed: int) -> Path:
    """The folder of this data set below `root`."""
    return root / f"synthetic-v{VERSION}-{subjects}x{frames}-seed{seed}"


def render_dataset(root: Path, *, subjects: int, frames: int, seed: int, workers: int) -> Path:
    """Return the folder of this data set below `root`, rendering first what is not there.

    The folder appears only when it is complete, and two processes may render it at once. The files do not depend on
    `workers`, nor on what was there before.
    """
    folder = folder_of(root, subjects, frames, seed)
    missing = missing_frames(folder, subjects, frames)
    if not missing:
        return folder
    doing = "rendering missing frames" if folder.is_dir() else "rendering frames"
    root.mkdir(parents=True, exist_ok=True)
    with _temporary_sibling(folder) as unfinished:
        write = partial(_write_frame, unfinished, seed, frames)
        with on_processes(write, min(workers, len(missing)), FRAMES_AT_A_TIME) as mapped:
            for _ in track(mapped(missing), doing, len(missing)):
                pass
        _publish(unfinished, folder)
    return folder


def keys_of(subjects: int, frames: int) -> list[FrameKey]:
    """Every frame of a data set, in the order of its paths."""
    return list(product(range(subjects), range(len(GESTURES)), range(1, frames + 1)))


def missing_frames(folder: Path, subjects: int, frames: int) -> list[FrameKey]:
    """The frames that a data set's folder, which need not exist, lacks."""
    return [key for key in keys_of(subjects, frames) if not (folder / path_of(key)).is_file()]


def path_of(key: FrameKey) -> str:
    """Where a frame lies in its data set's folder: `00/01_palm/frame_00_01_0001.png`."""
    subject, gesture, frame = key
    name = GESTURES[gesture]
    return f"{subject:02d}/{name}/frame_{subject:02d}_{name[:2]}_{frame:04d}.png"


@contextmanager
def _temporary_sibling(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`; whatever is still there at the end is removed, also after Ctrl-C."""
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    unfinished.chmod(0o755)  # mkdtemp's folders are private, a data set is not
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _publish(unfinished: Path, folder: Path) -> None:
    """Give the finished data set its name, or its frames to the folder that has it already."""
    try:
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        for path in unfinished.rglob("*.png"):
            target = folder / path.relative_to(unfinished)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


def _write_frame(root: Path, seed: int, frames: int, key: FrameKey) -> None:
    path = root / path_of(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(render_frame(seed, *key, frames))
    # Noise has no repeated strings to look for, and Z_RLE looks for none: faster and smaller.
    image.save(path, compress_level=1, compress_type=zlib.Z_RLE)
